package client_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// decodeItem lists a single item. It returns the token and its invalid fields.
func decodeItem(t testing.TB, item string) (client.Token, []client.Field) {
	t.Helper()
	l, err := listPage(t, `{"data":[`+item+`],"pagination":{"total":1}}`)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Tokens) != 1 {
		t.Fatalf("%d tokens for one item: %s", len(l.Tokens), item)
	}
	var invalid []client.Field
	for _, u := range l.Examples {
		if u.ID != l.Tokens[0].ID {
			t.Errorf("%v is invalid, but the token is %q", u, l.Tokens[0].ID)
		}
		invalid = append(invalid, u.Field)
	}
	return l.Tokens[0], invalid
}

// at parses a time in RFC 3339 format.
func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func fields(f ...client.Field) []client.Field { return f }

// itemTest is a test of the token for an item with an ID and other members.
type itemTest struct {
	name    string
	members string
	// want sets the fields that differ from a token with only an ID.
	want    func(*client.Token)
	invalid []client.Field
}

func runItemTests(t *testing.T, tests []itemTest) {
	t.Helper()
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			item := `{"id":"t-1"}`
			if tc.members != "" {
				item = `{"id":"t-1",` + tc.members + `}`
			}
			got, invalid := decodeItem(t, item)
			want := client.Token{ID: "t-1", Name: "t-1", Expiry: client.Expiry{Readable: true}}
			if tc.want != nil {
				tc.want(&want)
			}
			wantEqual(t, got, want)
			wantEqual(t, invalid, tc.invalid)
		})
	}
}

func TestATokenWithAllFields(t *testing.T) {
	got, invalid := decodeItem(t, `{
		"id": "cm1", "name": "ci", "type": "virtual-account", "tenantName": "acme", "accountId": "a1",
		"createdBySubject": {
			"subjectId": "u1", "subjectType": "user",
			"subjectSlug": "ci@acme.example", "subjectDisplayName": "CI", "subjectControllerName": "x"
		},
		"createdBy": "u-1",
		"createdAt": "2025-01-02T03:04:05.678Z", "updatedAt": "2025-02-01T00:00:00Z",
		"lastAccessedAt": "2025-06-01T10:00:00+02:00",
		"isExpired": false,
		"jwtId": "j2",
		"jwts": [
			{"id": "j1", "expiry": "2025-07-01T00:00:00Z", "createdAt": "2025-01-02T03:04:05Z", "tokenType": "jwt"},
			{"id": "j2", "expiry": "2026-06-01T00:00:00Z", "createdAt": "2025-06-01T00:00:00Z", "tokenType": "opaque",
			 "updatedAt": "2025-06-01T00:00:00Z", "subjectType": "serviceaccount", "subjectId": "s1", "metadata": {"a": [1, null]}}
		],
		"nextScheduledRotation": "2026-05-02T00:00:00Z",
		"manifest": {
			"name": "ci-manifest", "type": "virtual-account", "expiration_date": "2030-01-01", "token_type": "jwt",
			"auto_rotate": {"auto_rotate_interval": 360, "grace_period": 30, "notification_target": {}},
			"ownedBy": {"team": "platform", "account": "acme"},
			"permissions": [{"resource_fqn": "acme:x", "role_id": "r"}], "tags": {"a": "b"}
		},
		"somethingNew": {"id": "not-this", "jwts": 5}
	}`)
	no, interval, grace := false, int64(360), int64(30)
	wantEqual(t, got, client.Token{
		ID:                 "cm1",
		Name:               "ci",
		Tenant:             "acme",
		Team:               "platform",
		Type:               "opaque",
		Creator:            client.Subject{ID: "u1", Type: "user", Name: "ci@acme.example"},
		Created:            at("2025-01-02T03:04:05.678Z"),
		Issued:             at("2025-06-01T00:00:00Z"),
		Expiry:             client.Expiry{Readable: true, At: at("2026-06-01T00:00:00Z")},
		Expired:            &no,
		LastAccessed:       at("2025-06-01T08:00:00Z"),
		AutoRotateInterval: &interval,
		GracePeriod:        &grace,
		NextRotation:       at("2026-05-02T00:00:00Z"),
		PreviousJWTExpiry:  at("2025-07-01T00:00:00Z"),
	})
	wantEqual(t, invalid, fields())
}

func TestAbsentValuesAreNotInvalid(t *testing.T) {
	runItemTests(t, []itemTest{
		{name: "a token with only an ID never expires"},
		{name: "null is absent, in the item", members: `
			"name": null, "type": null, "tenantName": null, "createdBy": null, "createdBySubject": null, "createdAt": null,
			"lastAccessedAt": null, "isExpired": null, "jwtId": null, "jwts": null, "nextScheduledRotation": null, "manifest": null`},
		{name: "null is absent, in objects", members: `
			"createdBySubject": {
				"subjectId": null, "subjectType": null, "subjectSlug": null, "subjectDisplayName": null,
				"subjectExternalIdentitySlug": null, "subjectControllerName": null
			},
			"jwts": [],
			"manifest": {"name": null, "token_type": null, "expiration_date": null, "auto_rotate": null, "ownedBy": null}`},
		{name: "null is absent, in arrays and nested objects", members: `
			"jwts": [{"id": null, "expiry": null, "createdAt": null, "tokenType": null}, null],
			"manifest": {"auto_rotate": {"auto_rotate_interval": null, "grace_period": null}, "ownedBy": {"team": null}}`},
		{name: "an empty string is an absent time", members: `
			"createdAt": "", "lastAccessedAt": "", "nextScheduledRotation": "",
			"jwts": [{"expiry": "", "createdAt": ""}], "manifest": {"expiration_date": ""}`},
		{name: "unknown fields are ignored, whatever their type", members: `
			"a": null, "b": [[{}]], "": "x", "mismatched": [1], "manifest": {"": 1, "permissions": "x"}, "jwts": [], "ID2": {"id": 1}`},
		{
			name:    "unknown fields are ignored besides an invalid one",
			members: `"a": null, "": "x", "mismatched": [1], "name": 5, "manifest": {"": 1}, "ID2": {"id": 1}`,
			invalid: fields("name"),
		},
	})
}

func TestNames(t *testing.T) {
	name := func(name string) func(*client.Token) { return func(t *client.Token) { t.Name = name } }
	runItemTests(t, []itemTest{
		{"the name of the token", `"name":"own","manifest":{"name":"manifest"}`, name("own"), nil},
		{"or else the name in the manifest", `"manifest":{"name":"manifest"}`, name("manifest"), nil},
		{"an empty name is absent", `"name":"","manifest":{"name":"manifest"}`, name("manifest"), nil},
		{"or else the ID", `"name":null,"manifest":{"name":""}`, name("t-1"), nil},
		{"an invalid name is absent", `"name":5,"manifest":{"name":"manifest"}`, name("manifest"), fields("name")},
		{"quotes, newlines and emoji are kept", `"name":"a \"b\" \\ \n\t 🔑"`, name("a \"b\" \\ \n\t 🔑"), nil},
		{"surrogate pairs are decoded", `"name":"\ud83d\udd11"`, name("🔑"), nil},
		{"a lone surrogate is replaced", `"name":"a\ud83dz"`, name("a\ufffdz"), nil},
		{"invalid UTF-8 is replaced", "\"name\":\"a\xffz\"", name("a\ufffdz"), nil},
		{"NUL is kept", `"name":"a\u0000z"`, name("a\x00z"), nil},
		{"256 bytes are kept", `"name":"` + strings.Repeat("n", 256) + `"`, name(strings.Repeat("n", 256)), nil},
		{"longer names are truncated", `"name":"` + strings.Repeat("n", 257) + `"`, name(strings.Repeat("n", 256)), nil},
		{
			"longer names are truncated between characters", `"name":"` + strings.Repeat("n", 254) + `🔑"`, name(strings.Repeat("n", 254)), nil,
		},
		{
			"a truncated name is valid UTF-8", `"name":"` + strings.Repeat("€", 100) + `"`, name(strings.Repeat("€", 85)), nil,
		},
	})
}

func TestAllStringsAreTruncated(t *testing.T) {
	long, want := strings.Repeat("x", 1000), strings.Repeat("x", 256)
	got, _ := decodeItem(t, strings.ReplaceAll(`{"id":"t-1","name":"L","tenantName":"L","type":"L","createdBy":"L",
		"createdBySubject":{"subjectId":"L","subjectType":"L","subjectSlug":"L"},
		"manifest":{"ownedBy":{"team":"L"}}}`, "L", long))
	wantEqual(t, got, client.Token{
		ID: "t-1", Name: want, Tenant: want, Team: want, Type: want,
		Creator: client.Subject{ID: want, Type: want, Name: want},
		Expiry:  client.Expiry{Readable: true},
	})
}

func TestLongIDsStayUnique(t *testing.T) {
	long := strings.Repeat("🔑", 100)
	ids := []string{long + "a", long + "b", strings.Repeat("i", 257), strings.Repeat("i", 258), strings.Repeat("i", 256), "short"}
	var items []string
	for _, id := range ids {
		items = append(items, `{"id":"`+id+`"}`)
	}
	l, err := listPage(t, `{"data":[`+strings.Join(items, ",")+`]}`)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Tokens) != len(ids) || l.Duplicates != 0 {
		t.Fatalf("%d IDs result in %d tokens and %d duplicates", len(ids), len(l.Tokens), l.Duplicates)
	}
	for i, token := range l.Tokens {
		if len(token.ID) > 256 || !utf8.ValidString(token.ID) {
			t.Errorf("ID %q has %d bytes or is not UTF-8", token.ID, len(token.ID))
		}
		if len(ids[i]) <= 256 && token.ID != ids[i] {
			t.Errorf("ID %q is changed to %q", ids[i], token.ID)
		}
		wantEqual(t, token.Name, token.ID)
	}
}

func TestTypes(t *testing.T) {
	tokenType := func(text string) func(*client.Token) { return func(t *client.Token) { t.Type = text } }
	runItemTests(t, []itemTest{
		{
			"the type of the current JWT",
			`"type":"pat","jwtId":"b","jwts":[{"id":"a","tokenType":"jwt"},{"id":"b","tokenType":"opaque"}],"manifest":{"token_type":"x"}`,
			tokenType("opaque"), nil,
		},
		{"or else the type in the manifest", `"type":"pat","jwts":[{"id":"a"}],"manifest":{"token_type":"opaque"}`, tokenType("opaque"), nil},
		{"or else the type of the token", `"type":"pat","manifest":{"token_type":null}`, tokenType("pat"), nil},
		{"the type of the manifest itself is ignored", `"manifest":{"type":"virtual-account"}`, nil, nil},
		{
			"an invalid type is absent",
			`"type":"pat","jwts":[{"id":"a","tokenType":1}],"manifest":{"token_type":[]}`,
			tokenType("pat"), fields("jwts.tokenType", "manifest.token_type"),
		},
	})
}

func TestCreators(t *testing.T) {
	creator := func(id, subjectType, name string) func(*client.Token) {
		return func(t *client.Token) { t.Creator = client.Subject{ID: id, Type: subjectType, Name: name} }
	}
	// names are the names of a creator, in order of precedence.
	names := []string{
		`"subjectSlug":"slug"`, `"subjectDisplayName":"display"`, `"subjectExternalIdentitySlug":"external"`, `"subjectControllerName":"controller"`,
	}
	// subject returns a subject whose names before index i are empty.
	subject := func(i int) string {
		empty := regexp.MustCompile(`:"\w+"`).ReplaceAllString(strings.Join(names[:i], ","), `:""`)
		members := strings.Trim(empty+","+strings.Join(names[i:], ","), ",")
		return `"createdBy":"u-1","createdBySubject":{"subjectId":"u1","subjectType":"user",` + members + `}`
	}
	runItemTests(t, []itemTest{
		{"the slug", subject(0), creator("u1", "user", "slug"), nil},
		{"or else the display name", subject(1), creator("u1", "user", "display"), nil},
		{"or else the slug of the external identity", subject(2), creator("u1", "user", "external"), nil},
		{"or else the name of the controller", subject(3), creator("u1", "user", "controller"), nil},
		{"or else the ID", subject(4), creator("u1", "user", "u1"), nil},
		{"or else createdBy", `"createdBy":"u-1","createdBySubject":{"subjectType":"user"}`, creator("", "user", "u-1"), nil},
		{"only createdBy", `"createdBy":"u1"`, creator("", "", "u1"), nil},
		{
			"an invalid ID affects nothing else",
			`"createdBySubject":{"subjectId":1,"subjectType":"user","subjectSlug":"ada"}`,
			creator("", "user", "ada"), fields("createdBySubject.subjectId"),
		},
		{
			"an invalid subject does not affect createdBy",
			`"createdBySubject":"ada","createdBy":"u1"`,
			creator("", "", "u1"), fields("createdBySubject"),
		},
	})
}

func TestCurrentJWT(t *testing.T) {
	const january, february, march = "2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z", "2025-03-01T00:00:00Z"
	const year26, year27, year28 = "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"
	jwt := func(id, created, expiry string) string {
		return strings.ReplaceAll(fmt.Sprintf(`{"id":"%s","createdAt":"%s","expiry":"%s"}`, id, created, expiry), `"null"`, "null")
	}
	jwts := func(jwts ...string) string { return `"jwts":[` + strings.Join(jwts, ",") + `]` }
	// times sets the times that depend on the JWTs; "" is zero.
	times := func(issued, expiry, previous string) func(*client.Token) {
		return func(t *client.Token) {
			for text, field := range map[*string]*time.Time{
				&issued: &t.Issued, &expiry: &t.Expiry.At, &previous: &t.PreviousJWTExpiry,
			} {
				if *text != "" {
					*field = at(*text)
				}
			}
		}
	}
	unreadable := func(issued, previous string) func(*client.Token) {
		return func(t *client.Token) {
			times(issued, "", previous)(t)
			t.Expiry.Readable = false
		}
	}
	runItemTests(t, []itemTest{
		{"the only JWT is current", jwts(jwt("a", january, year26)), times(january, year26, ""), nil},
		{
			"the JWT with the id jwtId is current, although others are newer and expire later",
			`"jwtId":"a",` + jwts(jwt("b", march, year28), jwt("a", january, year26), jwt("c", february, year27)),
			times(january, year26, year28), nil,
		},
		{
			"an unknown jwtId is ignored",
			`"jwtId":"z",` + jwts(jwt("a", january, year27), jwt("b", march, year26)),
			times(march, year26, year27), nil,
		},
		{
			"an empty jwtId is ignored",
			`"jwtId":"",` + jwts(`{"createdAt":"2025-01-01T00:00:00Z","expiry":"2027-01-01T00:00:00Z"}`, jwt("b", march, year26)),
			times(march, year26, year27), nil,
		},
		{
			"an invalid jwtId is ignored",
			`"jwtId":7,` + jwts(jwt("a", january, year27), jwt("b", march, year26)),
			times(march, year26, year27), fields("jwtId"),
		},
		{
			"without jwtId, the JWT created last is current, although it expires first",
			jwts(jwt("a", january, year27), jwt("b", march, year26), jwt("c", february, year28)),
			times(march, year26, year28), nil,
		},
		{
			"times of creation are compared as times, not as strings",
			jwts(jwt("a", "2025-03-01T01:00:00+02:00", year26), jwt("b", "2025-02-28T23:30:00Z", year27)),
			times("2025-02-28T23:30:00Z", year27, year26), nil,
		},
		{
			"of JWTs created at the same time, the one that expires last is current",
			jwts(jwt("a", march, year26), jwt("b", march, year28), jwt("c", march, year27)),
			times(march, year28, year27), nil,
		},
		{
			"of JWTs created at the same time, one that never expires is current",
			jwts(jwt("a", march, year26), jwt("b", march, "null"), jwt("c", march, year27)),
			times(march, "", year27), nil,
		},
		{
			"a JWT without a time of creation is not current",
			jwts(jwt("a", "null", year28), jwt("b", january, year26)),
			times(january, year26, year28), nil,
		},
		{
			"the previous expiry is the latest expiry of the other JWTs",
			`"jwtId":"a",` + jwts(jwt("b", january, year26), jwt("a", march, year28), jwt("c", february, year27)),
			times(march, year28, year27), nil,
		},
		{
			"a previous JWT that never expires has no expiry",
			jwts(jwt("a", january, "null"), jwt("b", march, year26)),
			times(march, year26, ""), nil,
		},
		{
			"an invalid previous expiry affects nothing else",
			jwts(jwt("a", january, "soon"), jwt("b", march, year26)),
			times(march, year26, ""), fields("jwts.expiry"),
		},
		{
			"an invalid current expiry is not replaced by a previous one",
			jwts(jwt("a", january, year26), jwt("b", march, "soon")),
			unreadable(march, year26), fields("jwts.expiry"),
		},
		{
			"an invalid time of creation of the JWT with the id jwtId affects nothing else",
			`"jwtId":"a",` + jwts(jwt("a", "yesterday", year26)),
			times("", year26, ""), fields("jwts.createdAt"),
		},
		{
			"an invalid JWT may be the current one",
			jwts("5", jwt("a", january, year26)),
			unreadable("", ""), fields("jwts"),
		},
		{
			"an invalid JWT besides the one with the id jwtId affects nothing else",
			`"jwtId":"a",` + jwts(`"x"`, jwt("a", january, year26), "[]"),
			times(january, year26, ""), fields("jwts", "jwts"),
		},
		{
			"an invalid id of another JWT affects nothing else",
			`"jwtId":"a",` + jwts(`{"id":1,"createdAt":"2025-03-01T00:00:00Z","expiry":"2027-01-01T00:00:00Z"}`, jwt("a", january, year26)),
			times(january, year26, year27), fields("jwts.id"),
		},
		{
			"a JWT with an invalid time of creation may be the current one",
			jwts(`{"id":"b","createdAt":"yesterday","expiry":"2027-01-01T00:00:00Z"}`, jwt("a", january, year26)),
			unreadable("", ""), fields("jwts.createdAt"),
		},
		{
			"a single JWT with an invalid time of creation is the current one",
			jwts(`{"id":"b","createdAt":"yesterday","expiry":"2027-01-01T00:00:00Z"}`),
			times("", year27, ""), fields("jwts.createdAt"),
		},
		{
			"a JWT with an invalid id may be the one with the id jwtId",
			`"jwtId":"b",` + jwts(`{"id":1,"createdAt":"2025-03-01T00:00:00Z","expiry":"2027-01-01T00:00:00Z"}`, jwt("a", january, year26)),
			unreadable("", ""), fields("jwts.id"),
		},
		{"JWTs that are not an array", `"createdAt":"2025-01-01T00:00:00Z","jwts":{"id":"a"}`, func(t *client.Token) {
			t.Created, t.Expiry.Readable = at(january), false
		}, fields("jwts")},
	})
}

func TestIssued(t *testing.T) {
	runItemTests(t, []itemTest{
		{"a token without JWTs is issued when it is created", `"createdAt":"2025-01-01T00:00:00Z"`, func(t *client.Token) {
			t.Created, t.Issued = at("2025-01-01T00:00:00Z"), at("2025-01-01T00:00:00Z")
		}, nil},
		{
			"a JWT without a time of creation does not inherit the time of the token",
			`"createdAt":"2025-01-01T00:00:00Z","jwts":[{"id":"a"}]`,
			func(t *client.Token) { t.Created = at("2025-01-01T00:00:00Z") }, nil,
		},
		{"an invalid time of creation", `"createdAt":"0001-01-01T00:00:00Z"`, nil, fields("createdAt")},
	})
}

func TestExpiry(t *testing.T) {
	expires := func(text string) func(*client.Token) {
		return func(t *client.Token) { t.Expiry.At = at(text) }
	}
	unreadable := func(t *client.Token) { t.Expiry.Readable = false }
	date := func(value string) string { return `"manifest":{"expiration_date":` + value + `}` }

	tests := []itemTest{
		{
			"the expiry of the JWT counts, not the one of the manifest",
			`"jwts":[{"id":"a","expiry":"2026-01-01T00:00:00Z"}],` + date(`"2027-01-01"`),
			expires("2026-01-01T00:00:00Z"), nil,
		},
		{"without JWTs, the expiry of the manifest counts", `"jwts":[],` + date(`"2027-01-01"`), expires("2027-01-01T00:00:00Z"), nil},
		{
			"if the JWT has none, the expiry of the manifest counts",
			`"jwts":[{"id":"a","expiry":null}],` + date(`"2027-01-01"`),
			expires("2027-01-01T00:00:00Z"), nil,
		},
		{"without any expiry, the token never expires", `"jwts":[{"id":"a"}],"manifest":{}`, nil, nil},
		{
			"if the expiry of the JWT is empty, the expiry of the manifest counts",
			`"jwts":[{"id":"a","expiry":""}],` + date(`"2027-01-01"`),
			expires("2027-01-01T00:00:00Z"), nil,
		},
		{"if both are empty, the token never expires", `"jwts":[{"id":"a","expiry":""}],` + date(`""`), nil, nil},

		{"a date is 00:00 UTC of that day", date(`"2025-08-01"`), expires("2025-08-01T00:00:00Z"), nil},
		{"a time without seconds and zone is UTC", date(`"2025-08-01T12:00"`), expires("2025-08-01T12:00:00Z"), nil},
		{"a time without a zone is UTC", date(`"2025-08-01T12:00:30"`), expires("2025-08-01T12:00:30Z"), nil},
		{"a time with a fraction and without a zone is UTC", date(`"2025-08-01T12:00:30.25"`), expires("2025-08-01T12:00:30.25Z"), nil},
		{"a time without seconds", date(`"2025-08-01T12:00Z"`), expires("2025-08-01T12:00:00Z"), nil},
		{"a time without seconds, east of UTC", date(`"2025-08-01T12:00+05:30"`), expires("2025-08-01T06:30:00Z"), nil},
		{"RFC 3339", date(`"2025-08-01T12:00:30Z"`), expires("2025-08-01T12:00:30Z"), nil},
		{"RFC 3339 with a fraction", date(`"2025-08-01T12:00:30.123Z"`), expires("2025-08-01T12:00:30.123Z"), nil},
		{"RFC 3339, west of UTC", date(`"2025-08-01T12:00:30-03:00"`), expires("2025-08-01T15:00:30Z"), nil},
		{"a date with JSON escapes", date(`"2025\u002d08-01"`), expires("2025-08-01T00:00:00Z"), nil},
		{"the first valid time", date(`"2000-01-01"`), expires("2000-01-01T00:00:00Z"), nil},
		{"the last valid time", date(`"9999-12-31T23:59:59Z"`), expires("9999-12-31T23:59:59Z"), nil},

		{"a date of a JWT is 00:00 UTC of that day", `"jwts":[{"id":"a","expiry":"2025-08-01"}]`, expires("2025-08-01T00:00:00Z"), nil},
		{
			"an invalid manifest does not affect the expiry of a JWT",
			`"jwts":[{"id":"a","expiry":"2026-01-01T00:00:00Z"}],"manifest":"x"`,
			expires("2026-01-01T00:00:00Z"), fields("manifest"),
		},
		{"an invalid manifest may have an expiry", `"manifest":[]`, unreadable, fields("manifest")},
		{"invalid JWTs may have an expiry", `"jwts":"x",` + date(`"2027-01-01"`), unreadable, fields("jwts")},
	}
	for name, value := range map[string]string{
		"text":                    `"soon"`,
		"a space":                 `" "`,
		"a number":                `1767225600`,
		"a boolean":               `false`,
		"an array":                `[]`,
		"an object":               `{"$date":"2026-01-01T00:00:00Z"}`,
		"the Unix epoch":          `"1970-01-01T00:00:00Z"`,
		"Go's zero time":          `"0001-01-01T00:00:00Z"`,
		"just before 2000":        `"1999-12-31T23:59:59.999Z"`,
		"just before 2000 in UTC": `"2000-01-01T00:59:59+01:00"`,
		"year 10000":              `"10000-01-01T00:00:00Z"`,
		"February 30":             `"2026-02-30"`,
		"24 o'clock":              `"2026-01-01T24:00:00Z"`,
		"two times":               `"2026-01-01T00:00:00Z2026-01-02"`,
		"spaces around it":        `" 2026-01-01 "`,
		"a lone surrogate":        `"2026-01-01\ud83d"`,
	} {
		tests = append(
			tests,
			itemTest{
				"in a JWT, " + name + " is unreadable",
				`"jwts":[{"id":"a","expiry":` + value + `}],` + date(`"2027-01-01"`),
				unreadable, fields("jwts.expiry"),
			},
			itemTest{"in the manifest, " + name + " is unreadable", date(value), unreadable, fields("manifest.expiration_date")},
		)
	}
	runItemTests(t, tests)
}

func TestExpired(t *testing.T) {
	expired := func(b bool) func(*client.Token) { return func(t *client.Token) { t.Expired = &b } }
	runItemTests(t, []itemTest{
		{"true", `"isExpired":true`, expired(true), nil},
		{"false", `"isExpired":false`, expired(false), nil},
		{"null is absent", `"isExpired":null`, nil, nil},
		{"a string is invalid", `"isExpired":"true"`, nil, fields("isExpired")},
		{"a number is invalid", `"isExpired":1`, nil, fields("isExpired")},
		{"an object is invalid", `"isExpired":{}`, nil, fields("isExpired")},
	})
}

func TestRotation(t *testing.T) {
	const most = 3652425 // ten thousand years
	days := func(interval, grace int64) func(*client.Token) {
		return func(t *client.Token) {
			if interval >= 0 {
				t.AutoRotateInterval = &interval
			}
			if grace >= 0 {
				t.GracePeriod = &grace
			}
		}
	}
	rotate := func(interval, grace string) string {
		return `"manifest":{"auto_rotate":{"auto_rotate_interval":` + interval + `,"grace_period":` + grace + `}}`
	}
	next := func(text string) func(*client.Token) { return func(t *client.Token) { t.NextRotation = at(text) } }
	tests := []itemTest{
		{"days", rotate("30", "7"), days(30, 7), nil},
		{"a grace period of 0 is kept", rotate("30", "0"), days(30, 0), nil},
		{"absent numbers have no defaults", `"manifest":{"auto_rotate":{}}`, nil, nil},
		{"only a grace period", `"manifest":{"auto_rotate":{"grace_period":7}}`, days(-1, 7), nil},
		{"the largest valid numbers", rotate("3652425", "3652425"), days(most, most), nil},
		{"invalid auto_rotate", `"manifest":{"auto_rotate":true,"name":"n"}`, func(t *client.Token) {
			t.Name = "n"
		}, fields("manifest.auto_rotate")},

		{"the next rotation", `"nextScheduledRotation":"2026-05-02T10:00:00Z"`, next("2026-05-02T10:00:00Z"), nil},
		{"a date is 24:00 UTC of that day", `"nextScheduledRotation":"2026-02-28"`, next("2026-03-01T00:00:00Z"), nil},
		{"midnight is a time, not a date", `"nextScheduledRotation":"2026-02-28T00:00:00Z"`, next("2026-02-28T00:00:00Z"), nil},
		{
			"an invalid time",
			`"nextScheduledRotation":"0 0 * * *"`,
			nil, fields("nextScheduledRotation"),
		},
	}
	for _, value := range []string{"-1", "30.0", "30.5", "3e1", "3652426", "9223372036854775808", "1e999", `"30"`, `""`, "true", "[]", "{}"} {
		tests = append(
			tests,
			itemTest{value + " is not an interval", rotate(value, "7"), days(-1, 7), fields("manifest.auto_rotate.auto_rotate_interval")},
			itemTest{value + " is not a grace period", rotate("30", value), days(30, -1), fields("manifest.auto_rotate.grace_period")},
		)
	}
	runItemTests(t, tests)
}

func TestLastAccess(t *testing.T) {
	runItemTests(t, []itemTest{
		{"a time", `"lastAccessedAt":"2025-06-01T10:00:00Z"`, func(t *client.Token) {
			t.LastAccessed = at("2025-06-01T10:00:00Z")
		}, nil},
		{"null means never", `"lastAccessedAt":null`, nil, nil},
		{"an invalid time", `"lastAccessedAt":"never"`, nil, fields("lastAccessedAt")},
	})
}

func TestTeams(t *testing.T) {
	runItemTests(t, []itemTest{
		{"a team", `"manifest":{"ownedBy":{"team":"platform"}}`, func(t *client.Token) { t.Team = "platform" }, nil},
		{"an owner that is not an object", `"manifest":{"ownedBy":"platform"}`, nil, fields("manifest.ownedBy")},
		{"a team that is not a string", `"manifest":{"ownedBy":{"team":1}}`, nil, fields("manifest.ownedBy.team")},
	})
}
