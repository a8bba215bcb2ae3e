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

// read returns what the client makes of one item, and which of its fields it
// could not read.
func read(t testing.TB, item string) (client.Token, []client.Field) {
	t.Helper()
	l, err := listing(t, `{"data":[`+item+`],"pagination":{"total":1}}`)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Tokens) != 1 {
		t.Fatalf("%d tokens were read of one item: %s", len(l.Tokens), item)
	}
	var unreadable []client.Field
	for _, u := range l.Examples {
		if u.ID != l.Tokens[0].ID {
			t.Errorf("%v is said to be unreadable, of the token with id %q", u, l.Tokens[0].ID)
		}
		unreadable = append(unreadable, u.Field)
	}
	return l.Tokens[0], unreadable
}

// at is a time of this form: 2006-01-02T15:04:05.999Z.
func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func fields(f ...client.Field) []client.Field { return f }

// itemTest says what becomes of a token that has nothing but its id and these
// members.
type itemTest struct {
	name    string
	members string
	// want changes the token that has nothing but its id.
	want       func(*client.Token)
	unreadable []client.Field
}

func runItemTests(t *testing.T, tests []itemTest) {
	t.Helper()
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			item := `{"id":"t-1"}`
			if tc.members != "" {
				item = `{"id":"t-1",` + tc.members + `}`
			}
			got, unreadable := read(t, item)
			want := client.Token{ID: "t-1", Name: "t-1", Expiry: client.Expiry{Readable: true}}
			if tc.want != nil {
				tc.want(&want)
			}
			wantEqual(t, got, want)
			wantEqual(t, unreadable, tc.unreadable)
		})
	}
}

func TestTokenInFull(t *testing.T) {
	got, unreadable := read(t, `{
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
	wantEqual(t, unreadable, fields())
}

func TestAbsentIsNotUnreadable(t *testing.T) {
	runItemTests(t, []itemTest{
		{name: "nothing but an id is a token that never expires"},
		{name: "null is absent, everywhere", members: `
			"name": null, "type": null, "tenantName": null, "createdBy": null, "createdBySubject": null, "createdAt": null,
			"lastAccessedAt": null, "isExpired": null, "jwtId": null, "jwts": null, "nextScheduledRotation": null, "manifest": null`},
		{name: "null is absent, further down", members: `
			"createdBySubject": {
				"subjectId": null, "subjectType": null, "subjectSlug": null, "subjectDisplayName": null,
				"subjectExternalIdentitySlug": null, "subjectControllerName": null
			},
			"jwts": [],
			"manifest": {"name": null, "token_type": null, "expiration_date": null, "auto_rotate": null, "ownedBy": null}`},
		{name: "null is absent, at the bottom", members: `
			"jwts": [{"id": null, "expiry": null, "createdAt": null, "tokenType": null}, null],
			"manifest": {"auto_rotate": {"auto_rotate_interval": null, "grace_period": null}, "ownedBy": {"team": null}}`},
		{name: "an empty string is no date, everywhere", members: `
			"createdAt": "", "lastAccessedAt": "", "nextScheduledRotation": "",
			"jwts": [{"expiry": "", "createdAt": ""}], "manifest": {"expiration_date": ""}`},
		{name: "unknown fields are ignored, whatever they hold", members: `
			"a": null, "b": [[{}]], "": "x", "mismatched": [1], "manifest": {"": 1, "permissions": "x"}, "jwts": [], "ID2": {"id": 1}`},
		{
			name:       "unknown fields are ignored beside an unreadable one",
			members:    `"a": null, "": "x", "mismatched": [1], "name": 5, "manifest": {"": 1}, "ID2": {"id": 1}`,
			unreadable: fields("name"),
		},
	})
}

func TestNames(t *testing.T) {
	name := func(name string) func(*client.Token) { return func(t *client.Token) { t.Name = name } }
	runItemTests(t, []itemTest{
		{"a name is the token's own", `"name":"own","manifest":{"name":"manifest"}`, name("own"), nil},
		{"else its manifest's", `"manifest":{"name":"manifest"}`, name("manifest"), nil},
		{"an empty one counts as none", `"name":"","manifest":{"name":"manifest"}`, name("manifest"), nil},
		{"else the id", `"name":null,"manifest":{"name":""}`, name("t-1"), nil},
		{"an unreadable one is no name", `"name":5,"manifest":{"name":"manifest"}`, name("manifest"), fields("name")},
		{"quotes, newlines and emoji stay", `"name":"a \"b\" \\ \n\t 🔑"`, name("a \"b\" \\ \n\t 🔑"), nil},
		{"emoji by surrogates come out right", `"name":"\ud83d\udd11"`, name("🔑"), nil},
		{"a lone surrogate is replaced", `"name":"a\ud83dz"`, name("a\ufffdz"), nil},
		{"invalid UTF-8 is replaced", "\"name\":\"a\xffz\"", name("a\ufffdz"), nil},
		{"NUL stays", `"name":"a\u0000z"`, name("a\x00z"), nil},
		{"256 bytes are kept", `"name":"` + strings.Repeat("n", 256) + `"`, name(strings.Repeat("n", 256)), nil},
		{"more are cut", `"name":"` + strings.Repeat("n", 257) + `"`, name(strings.Repeat("n", 256)), nil},
		{
			"at a character's boundary", `"name":"` + strings.Repeat("n", 254) + `🔑"`, name(strings.Repeat("n", 254)), nil,
		},
		{
			"a cut name stays valid UTF-8", `"name":"` + strings.Repeat("€", 100) + `"`, name(strings.Repeat("€", 85)), nil,
		},
	})
}

func TestEveryTextIsCut(t *testing.T) {
	long, want := strings.Repeat("x", 1000), strings.Repeat("x", 256)
	got, _ := read(t, strings.ReplaceAll(`{"id":"t-1","name":"L","tenantName":"L","type":"L","createdBy":"L",
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
	l, err := listing(t, `{"data":[`+strings.Join(items, ",")+`]}`)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Tokens) != len(ids) || l.Duplicates != 0 {
		t.Fatalf("%d distinct ids became %d tokens and %d duplicates", len(ids), len(l.Tokens), l.Duplicates)
	}
	for i, token := range l.Tokens {
		if len(token.ID) > 256 || !utf8.ValidString(token.ID) {
			t.Errorf("id %q has %d bytes or is not UTF-8", token.ID, len(token.ID))
		}
		if len(ids[i]) <= 256 && token.ID != ids[i] {
			t.Errorf("id %q became %q", ids[i], token.ID)
		}
		wantEqual(t, token.Name, token.ID)
	}
}

func TestTypes(t *testing.T) {
	tokenType := func(text string) func(*client.Token) { return func(t *client.Token) { t.Type = text } }
	runItemTests(t, []itemTest{
		{
			"a type is the current JWT's",
			`"type":"pat","jwtId":"b","jwts":[{"id":"a","tokenType":"jwt"},{"id":"b","tokenType":"opaque"}],"manifest":{"token_type":"x"}`,
			tokenType("opaque"), nil,
		},
		{"else the manifest's", `"type":"pat","jwts":[{"id":"a"}],"manifest":{"token_type":"opaque"}`, tokenType("opaque"), nil},
		{"else the token's", `"type":"pat","manifest":{"token_type":null}`, tokenType("pat"), nil},
		{"the manifest's own kind does not matter", `"manifest":{"type":"virtual-account"}`, nil, nil},
		{
			"an unreadable one is none",
			`"type":"pat","jwts":[{"id":"a","tokenType":1}],"manifest":{"token_type":[]}`,
			tokenType("pat"), fields("jwts.tokenType", "manifest.token_type"),
		},
	})
}

func TestCreators(t *testing.T) {
	creator := func(id, subjectType, name string) func(*client.Token) {
		return func(t *client.Token) { t.Creator = client.Subject{ID: id, Type: subjectType, Name: name} }
	}
	// names are what a creator may be called by, the best first.
	names := []string{
		`"subjectSlug":"slug"`, `"subjectDisplayName":"display"`, `"subjectExternalIdentitySlug":"external"`, `"subjectControllerName":"controller"`,
	}
	// subject has the names from number i on, those before being empty.
	subject := func(i int) string {
		empty := regexp.MustCompile(`:"\w+"`).ReplaceAllString(strings.Join(names[:i], ","), `:""`)
		members := strings.Trim(empty+","+strings.Join(names[i:], ","), ",")
		return `"createdBy":"u-1","createdBySubject":{"subjectId":"u1","subjectType":"user",` + members + `}`
	}
	runItemTests(t, []itemTest{
		{"a creator is called by its slug", subject(0), creator("u1", "user", "slug"), nil},
		{"else by its display name", subject(1), creator("u1", "user", "display"), nil},
		{"else by its external identity's slug", subject(2), creator("u1", "user", "external"), nil},
		{"else by its controller's name", subject(3), creator("u1", "user", "controller"), nil},
		{"else by its id", subject(4), creator("u1", "user", "u1"), nil},
		{"else by createdBy", `"createdBy":"u-1","createdBySubject":{"subjectType":"user"}`, creator("", "user", "u-1"), nil},
		{"createdBy alone", `"createdBy":"u1"`, creator("", "", "u1"), nil},
		{
			"an unreadable part costs that part",
			`"createdBySubject":{"subjectId":1,"subjectType":"user","subjectSlug":"ada"}`,
			creator("", "user", "ada"), fields("createdBySubject.subjectId"),
		},
		{
			"an unreadable subject leaves createdBy",
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
	// life is what the token's JWTs make of it; "" is zero.
	life := func(issued, expiry, previous string) func(*client.Token) {
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
			life(issued, "", previous)(t)
			t.Expiry.Readable = false
		}
	}
	runItemTests(t, []itemTest{
		{"the only JWT is the current one", jwts(jwt("a", january, year26)), life(january, year26, ""), nil},
		{
			"jwtId names the current one, though an older and shorter one",
			`"jwtId":"a",` + jwts(jwt("b", march, year28), jwt("a", january, year26), jwt("c", february, year27)),
			life(january, year26, year28), nil,
		},
		{
			"jwtId that names none counts as absent",
			`"jwtId":"z",` + jwts(jwt("a", january, year27), jwt("b", march, year26)),
			life(march, year26, year27), nil,
		},
		{
			"an empty jwtId names no JWT",
			`"jwtId":"",` + jwts(`{"createdAt":"2025-01-01T00:00:00Z","expiry":"2027-01-01T00:00:00Z"}`, jwt("b", march, year26)),
			life(march, year26, year27), nil,
		},
		{
			"an unreadable jwtId counts as absent",
			`"jwtId":7,` + jwts(jwt("a", january, year27), jwt("b", march, year26)),
			life(march, year26, year27), fields("jwtId"),
		},
		{
			"without jwtId the one created last is current, though it expires first",
			jwts(jwt("a", january, year27), jwt("b", march, year26), jwt("c", february, year28)),
			life(march, year26, year28), nil,
		},
		{
			"created last is a matter of time, not of text",
			jwts(jwt("a", "2025-03-01T01:00:00+02:00", year26), jwt("b", "2025-02-28T23:30:00Z", year27)),
			life("2025-02-28T23:30:00Z", year27, year26), nil,
		},
		{
			"created at the same time, the one that expires last is current",
			jwts(jwt("a", march, year26), jwt("b", march, year28), jwt("c", march, year27)),
			life(march, year28, year27), nil,
		},
		{
			"no expiry is the latest of all",
			jwts(jwt("a", march, year26), jwt("b", march, "null"), jwt("c", march, year27)),
			life(march, "", year27), nil,
		},
		{
			"a JWT without a time of creation is older than any other",
			jwts(jwt("a", "null", year28), jwt("b", january, year26)),
			life(january, year26, year28), nil,
		},
		{
			"the previous expiry is the latest of the others",
			`"jwtId":"a",` + jwts(jwt("b", january, year26), jwt("a", march, year28), jwt("c", february, year27)),
			life(march, year28, year27), nil,
		},
		{
			"a previous JWT that never expires has no expiry",
			jwts(jwt("a", january, "null"), jwt("b", march, year26)),
			life(march, year26, ""), nil,
		},
		{
			"an unreadable previous expiry costs nothing else",
			jwts(jwt("a", january, "soon"), jwt("b", march, year26)),
			life(march, year26, ""), fields("jwts.expiry"),
		},
		{
			"an unreadable current expiry is not the previous one's",
			jwts(jwt("a", january, year26), jwt("b", march, "soon")),
			unreadable(march, year26), fields("jwts.expiry"),
		},
		{
			"an unreadable time of issue costs nothing else",
			`"jwtId":"a",` + jwts(jwt("a", "yesterday", year26)),
			life("", year26, ""), fields("jwts.createdAt"),
		},
		{
			"an unreadable JWT may be the current one",
			jwts("5", jwt("a", january, year26)),
			unreadable("", ""), fields("jwts"),
		},
		{
			"an unreadable JWT beside the one that jwtId names costs nothing else",
			`"jwtId":"a",` + jwts(`"x"`, jwt("a", january, year26), "[]"),
			life(january, year26, ""), fields("jwts", "jwts"),
		},
		{
			"an unreadable id of a JWT is no id",
			`"jwtId":"a",` + jwts(`{"id":1,"createdAt":"2025-03-01T00:00:00Z","expiry":"2027-01-01T00:00:00Z"}`, jwt("a", january, year26)),
			life(january, year26, year27), fields("jwts.id"),
		},
		{
			"a JWT whose creation is unreadable may be the current one",
			jwts(`{"id":"b","createdAt":"yesterday","expiry":"2027-01-01T00:00:00Z"}`, jwt("a", january, year26)),
			unreadable("", ""), fields("jwts.createdAt"),
		},
		{
			"a JWT whose creation is unreadable is the current one where it is alone",
			jwts(`{"id":"b","createdAt":"yesterday","expiry":"2027-01-01T00:00:00Z"}`),
			life("", year27, ""), fields("jwts.createdAt"),
		},
		{
			"a JWT whose id is unreadable may be the one that jwtId names",
			`"jwtId":"b",` + jwts(`{"id":1,"createdAt":"2025-03-01T00:00:00Z","expiry":"2027-01-01T00:00:00Z"}`, jwt("a", january, year26)),
			unreadable("", ""), fields("jwts.id"),
		},
		{"JWTs that are no array", `"createdAt":"2025-01-01T00:00:00Z","jwts":{"id":"a"}`, func(t *client.Token) {
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
			"a JWT that does not tell is not as old as the token",
			`"createdAt":"2025-01-01T00:00:00Z","jwts":[{"id":"a"}]`,
			func(t *client.Token) { t.Created = at("2025-01-01T00:00:00Z") }, nil,
		},
		{"an unreadable creation", `"createdAt":"0001-01-01T00:00:00Z"`, nil, fields("createdAt")},
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
			"a JWT's expiry comes before the manifest's",
			`"jwts":[{"id":"a","expiry":"2026-01-01T00:00:00Z"}],` + date(`"2027-01-01"`),
			expires("2026-01-01T00:00:00Z"), nil,
		},
		{"without JWTs it is the manifest's", `"jwts":[],` + date(`"2027-01-01"`), expires("2027-01-01T00:00:00Z"), nil},
		{
			"where the JWT has none it is the manifest's",
			`"jwts":[{"id":"a","expiry":null}],` + date(`"2027-01-01"`),
			expires("2027-01-01T00:00:00Z"), nil,
		},
		{"where there is neither, never", `"jwts":[{"id":"a"}],"manifest":{}`, nil, nil},
		{
			"where the JWT's is empty it is the manifest's",
			`"jwts":[{"id":"a","expiry":""}],` + date(`"2027-01-01"`),
			expires("2027-01-01T00:00:00Z"), nil,
		},
		{"where both are empty, never", `"jwts":[{"id":"a","expiry":""}],` + date(`""`), nil, nil},

		{"a date is 00:00 UTC of its day", date(`"2025-08-01"`), expires("2025-08-01T00:00:00Z"), nil},
		{"no seconds and no zone is UTC", date(`"2025-08-01T12:00"`), expires("2025-08-01T12:00:00Z"), nil},
		{"no zone is UTC", date(`"2025-08-01T12:00:30"`), expires("2025-08-01T12:00:30Z"), nil},
		{"no zone with a fraction is UTC", date(`"2025-08-01T12:00:30.25"`), expires("2025-08-01T12:00:30.25Z"), nil},
		{"no seconds", date(`"2025-08-01T12:00Z"`), expires("2025-08-01T12:00:00Z"), nil},
		{"no seconds, east", date(`"2025-08-01T12:00+05:30"`), expires("2025-08-01T06:30:00Z"), nil},
		{"RFC 3339", date(`"2025-08-01T12:00:30Z"`), expires("2025-08-01T12:00:30Z"), nil},
		{"RFC 3339 with a fraction", date(`"2025-08-01T12:00:30.123Z"`), expires("2025-08-01T12:00:30.123Z"), nil},
		{"RFC 3339, west", date(`"2025-08-01T12:00:30-03:00"`), expires("2025-08-01T15:00:30Z"), nil},
		{"a date with JSON escapes", date(`"2025\u002d08-01"`), expires("2025-08-01T00:00:00Z"), nil},
		{"the first moment that is believed", date(`"2000-01-01"`), expires("2000-01-01T00:00:00Z"), nil},
		{"the last moment that is believed", date(`"9999-12-31T23:59:59Z"`), expires("9999-12-31T23:59:59Z"), nil},

		{"a JWT's date is 00:00 UTC of its day", `"jwts":[{"id":"a","expiry":"2025-08-01"}]`, expires("2025-08-01T00:00:00Z"), nil},
		{
			"a manifest of the wrong type does not matter to a JWT with an expiry",
			`"jwts":[{"id":"a","expiry":"2026-01-01T00:00:00Z"}],"manifest":"x"`,
			expires("2026-01-01T00:00:00Z"), fields("manifest"),
		},
		{"a manifest of the wrong type may have held one", `"manifest":[]`, unreadable, fields("manifest")},
		{"JWTs of the wrong type may have held one", `"jwts":"x",` + date(`"2027-01-01"`), unreadable, fields("jwts")},
	}
	for name, value := range map[string]string{
		"nonsense":                    `"soon"`,
		"a blank":                     `" "`,
		"a number":                    `1767225600`,
		"a boolean":                   `false`,
		"an array":                    `[]`,
		"an object":                   `{"$date":"2026-01-01T00:00:00Z"}`,
		"the Unix epoch":              `"1970-01-01T00:00:00Z"`,
		"Go's zero time":              `"0001-01-01T00:00:00Z"`,
		"the moment before 2000":      `"1999-12-31T23:59:59.999Z"`,
		"the moment before 2000, UTC": `"2000-01-01T00:59:59+01:00"`,
		"year 10000":                  `"10000-01-01T00:00:00Z"`,
		"the 30th of February":        `"2026-02-30"`,
		"24 o'clock":                  `"2026-01-01T24:00:00Z"`,
		"a day too many":              `"2026-01-01T00:00:00Z2026-01-02"`,
		"blanks around it":            `" 2026-01-01 "`,
		"a lone surrogate":            `"2026-01-01\ud83d"`,
	} {
		tests = append(
			tests,
			itemTest{
				"in a JWT, " + name + " does not fall through",
				`"jwts":[{"id":"a","expiry":` + value + `}],` + date(`"2027-01-01"`),
				unreadable, fields("jwts.expiry"),
			},
			itemTest{"in the manifest, " + name + " is not never", date(value), unreadable, fields("manifest.expiration_date")},
		)
	}
	runItemTests(t, tests)
}

func TestExpired(t *testing.T) {
	expired := func(b bool) func(*client.Token) { return func(t *client.Token) { t.Expired = &b } }
	runItemTests(t, []itemTest{
		{"true", `"isExpired":true`, expired(true), nil},
		{"false", `"isExpired":false`, expired(false), nil},
		{"null is no word on it", `"isExpired":null`, nil, nil},
		{"a string is unreadable", `"isExpired":"true"`, nil, fields("isExpired")},
		{"a number is unreadable", `"isExpired":1`, nil, fields("isExpired")},
		{"an object is unreadable", `"isExpired":{}`, nil, fields("isExpired")},
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
		{"a grace period of 0 is one", rotate("30", "0"), days(30, 0), nil},
		{"without numbers there are none, and no defaults", `"manifest":{"auto_rotate":{}}`, nil, nil},
		{"one number alone", `"manifest":{"auto_rotate":{"grace_period":7}}`, days(-1, 7), nil},
		{"the most that is believed", rotate("3652425", "3652425"), days(most, most), nil},
		{"auto_rotate of the wrong type", `"manifest":{"auto_rotate":true,"name":"n"}`, func(t *client.Token) {
			t.Name = "n"
		}, fields("manifest.auto_rotate")},

		{"the next rotation", `"nextScheduledRotation":"2026-05-02T10:00:00Z"`, next("2026-05-02T10:00:00Z"), nil},
		{"a date is 24:00 UTC of its day", `"nextScheduledRotation":"2026-02-28"`, next("2026-03-01T00:00:00Z"), nil},
		{"midnight is a time, not a date", `"nextScheduledRotation":"2026-02-28T00:00:00Z"`, next("2026-02-28T00:00:00Z"), nil},
		{
			"nonsense",
			`"nextScheduledRotation":"0 0 * * *"`,
			nil, fields("nextScheduledRotation"),
		},
	}
	for _, value := range []string{"-1", "30.0", "30.5", "3e1", "3652426", "9223372036854775808", "1e999", `"30"`, `""`, "true", "[]", "{}"} {
		tests = append(
			tests,
			itemTest{value + " is no interval", rotate(value, "7"), days(-1, 7), fields("manifest.auto_rotate.auto_rotate_interval")},
			itemTest{value + " is no grace period", rotate("30", value), days(30, -1), fields("manifest.auto_rotate.grace_period")},
		)
	}
	runItemTests(t, tests)
}

func TestLastAccess(t *testing.T) {
	runItemTests(t, []itemTest{
		{"a time", `"lastAccessedAt":"2025-06-01T10:00:00Z"`, func(t *client.Token) {
			t.LastAccessed = at("2025-06-01T10:00:00Z")
		}, nil},
		{"null is never", `"lastAccessedAt":null`, nil, nil},
		{"nonsense", `"lastAccessedAt":"never"`, nil, fields("lastAccessedAt")},
	})
}

func TestTeams(t *testing.T) {
	runItemTests(t, []itemTest{
		{"a team", `"manifest":{"ownedBy":{"team":"platform"}}`, func(t *client.Token) { t.Team = "platform" }, nil},
		{"an owner that is no object", `"manifest":{"ownedBy":"platform"}`, nil, fields("manifest.ownedBy")},
		{"a team that is no text", `"manifest":{"ownedBy":{"team":1}}`, nil, fields("manifest.ownedBy.team")},
	})
}
