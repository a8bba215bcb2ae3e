package client_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

func TestAnInvalidItemAffectsOnlyItself(t *testing.T) {
	for _, item := range []string{
		`null`, `5`, `-1.5e3`, `true`, `"cm1"`, `""`, `[]`, `[{"id":"cm1"}]`, `{}`,
		`{"id":null}`, `{"id":""}`, `{"id":5}`, `{"id":["cm1"]}`, `{"name":"a"}`, `{"id":{},"name":5}`,
	} {
		t.Run(item, func(t *testing.T) {
			l, err := listPage(t, `{"data":[{"id":"a"}, `+item+` ,{"id":"b"}],"pagination":{"total":3}}`)
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, l, &client.Listing{
				Tokens: []client.Token{
					{ID: "a", Name: "a", Expiry: client.Expiry{Readable: true}},
					{ID: "b", Name: "b", Expiry: client.Expiry{Readable: true}},
				},
				Reported: 3,
				DecodeErrors: client.DecodeErrors{
					InvalidItems:  1,
					InvalidFields: map[client.Field]int{},
					Examples:      []client.InvalidValue{{Offset: 1}},
				},
			})
			wantEqual(t, l.Examples[0].String(), "the item at offset 1")
		})
	}
}

func TestAnInvalidItemIsNamedByItsOffset(t *testing.T) {
	pages := map[string]string{
		"0": `{"data":[{"id":"a"},{"id":"b"}]}`,
		"2": `{"data":[{"id":"c","isExpired":1},7]}`,
		"4": `{"data":[]}`,
	}
	l, err := list(t.Context(), newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, pages[r.FormValue("offset")])
	})))
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, l.Examples, []client.InvalidValue{{ID: "c", Field: "isExpired", Offset: 2}, {Offset: 3}})
}

func TestDecodeErrorsAreCountedAndTheFirstAreExamples(t *testing.T) {
	var items strings.Builder
	for i := range 20 {
		fmt.Fprintf(&items, `0,{"id":"t%d","createdAt":1},`, i)
	}
	// Invalid values of a duplicate do not count.
	l, err := listPage(t, `{"data":[`+items.String()+`{"id":"t0","createdAt":2}]}`)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, l.InvalidItems, 20)
	wantEqual(t, l.InvalidFields, map[client.Field]int{"createdAt": 20})
	wantEqual(t, len(l.Examples), 10)
}

// invalidFields are members of an item that make a field invalid.
var invalidFields = map[client.Field]string{
	"name":                                `"name":1`,
	"type":                                `"type":{}`,
	"tenantName":                          `"tenantName":[]`,
	"createdBy":                           `"createdBy":true`,
	"createdBySubject":                    `"createdBySubject":"ada"`,
	"createdBySubject.subjectId":          `"createdBySubject":{"subjectId":1}`,
	"createdBySubject.subjectType":        `"createdBySubject":{"subjectType":1}`,
	"createdBySubject.subjectSlug":        `"createdBySubject":{"subjectSlug":1}`,
	"createdBySubject.subjectDisplayName": `"createdBySubject":{"subjectDisplayName":1}`,
	"createdBySubject.subjectExternalIdentitySlug": `"createdBySubject":{"subjectExternalIdentitySlug":1}`,
	"createdBySubject.subjectControllerName":       `"createdBySubject":{"subjectControllerName":1}`,
	"createdAt":                                    `"createdAt":1735689600`,
	"lastAccessedAt":                               `"lastAccessedAt":"long ago"`,
	"isExpired":                                    `"isExpired":"no"`,
	"jwtId":                                        `"jwtId":{}`,
	"jwts":                                         `"jwts":"none"`,
	"jwts.id":                                      `"jwts":[{"id":1}]`,
	"jwts.expiry":                                  `"jwts":[{"expiry":"soon"}]`,
	"jwts.createdAt":                               `"jwts":[{"createdAt":0}]`,
	"jwts.tokenType":                               `"jwts":[{"tokenType":1}]`,
	"jwts.metadata":                                `"jwts":[{"metadata":"none"}]`,
	"jwts.metadata.syncTokenInSecretStoreInfo":           `"jwts":[{"metadata":{"syncTokenInSecretStoreInfo":1}}]`,
	"jwts.metadata.syncTokenInSecretStoreInfo.updatedAt": `"jwts":[{"metadata":{"syncTokenInSecretStoreInfo":{"updatedAt":1}}}]`,
	"jwts.metadata.syncTokenInSecretStoreInfo.error":     `"jwts":[{"metadata":{"syncTokenInSecretStoreInfo":{"error":1}}}]`,
	"nextScheduledRotation":                              `"nextScheduledRotation":"@daily"`,
	"manifest":                                           `"manifest":"yaml"`,
	"manifest.name":                                      `"manifest":{"name":1}`,
	"manifest.token_type":                                `"manifest":{"token_type":1}`,
	"manifest.expiration_date":                           `"manifest":{"expiration_date":"01.08.2025"}`,
	"manifest.auto_rotate":                               `"manifest":{"auto_rotate":true}`,
	"manifest.auto_rotate.auto_rotate_interval":          `"manifest":{"auto_rotate":{"auto_rotate_interval":"30d"}}`,
	"manifest.auto_rotate.grace_period":                  `"manifest":{"auto_rotate":{"grace_period":-1}}`,
	"manifest.ownedBy":                                   `"manifest":{"ownedBy":"platform"}`,
	"manifest.ownedBy.team":                              `"manifest":{"ownedBy":{"team":1}}`,
}

func TestAnInvalidFieldAffectsOnlyItsValue(t *testing.T) {
	for _, field := range client.Fields() {
		if strings.HasPrefix(string(field), "pagination.") {
			continue
		}
		t.Run(string(field), func(t *testing.T) {
			members, ok := invalidFields[field]
			if !ok {
				t.Fatal("invalidFields has no value for it")
			}
			l, err := listPage(t, `{"data":[{"id":"before"},
				{"tenantName":"acme","lastAccessedAt":"2025-01-01T00:00:00Z","id":"bad",`+members+`}
				,{"id":"after"}]}`)
			if err != nil {
				t.Fatal(err)
			}
			if len(l.Tokens) != 3 || l.Tokens[0].ID != "before" || l.Tokens[1].ID != "bad" || l.Tokens[2].ID != "after" {
				t.Fatalf("tokens are %s", format(l.Tokens))
			}
			if bad := l.Tokens[1]; (bad.Tenant == "acme") != (field != "tenantName") ||
				bad.LastAccessed.IsZero() != (field == "lastAccessedAt") {
				t.Errorf("other fields are affected: %s", format(bad))
			}
			wantEqual(t, l.Examples, []client.InvalidValue{{ID: "bad", Field: field, Offset: 1}})
			wantEqual(t, l.Examples[0].String(), string(field)+` of the token with id "bad"`)
			wantEqual(t, l.InvalidFields, map[client.Field]int{field: 1})
			wantEqual(t, l.InvalidItems, 0)
		})
	}
}

func TestTotals(t *testing.T) {
	invalid := []client.InvalidValue{{Field: "pagination.total", Offset: -1}, {Field: "pagination.total", Offset: -1}}
	for _, tc := range []struct {
		name, members string
		comesFirst    bool
		reported      int64
		invalid       []client.InvalidValue
	}{
		{"a total", `,"pagination":{"total":1,"offset":0,"limit":1000}`, false, 1, nil},
		{"a total before the data", `,"pagination":{"total":1}`, true, 1, nil},
		{"the largest 64-bit total", `,"pagination":{"total":9223372036854775807}`, false, 9223372036854775807, nil},
		{"no pagination", ``, false, -1, nil},
		{"null pagination", `,"pagination":null`, false, -1, nil},
		{"no total", `,"pagination":{"offset":"x"}`, false, -1, nil},
		{"a null total", `,"pagination":{"total":null}`, false, -1, nil},
		{"a negative total", `,"pagination":{"total":-1}`, false, -1, invalid},
		{"a total with a fraction", `,"pagination":{"total":1.5}`, false, -1, invalid},
		{"a total that is a string", `,"pagination":{"total":"1"}`, false, -1, invalid},
		{"a total beyond 64 bits", `,"pagination":{"total":9223372036854775808}`, false, -1, invalid},
		{"pagination that is a string", `,"pagination":"1 of 1"`, false, -1, invalid},
		{"pagination that is an array", `,"pagination":[1]`, false, -1, invalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			first := `{"data":[{"id":"a"}]` + tc.members + `}`
			if tc.comesFirst {
				first = `{` + tc.members[1:] + `,"data":[{"id":"a"}]}`
			}
			l, err := list(t.Context(), newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.FormValue("offset") == "0" {
					fmt.Fprint(w, first)
				} else {
					fmt.Fprint(w, `{"data":[]`+tc.members+`}`)
				}
			})))
			if err != nil {
				t.Fatal(err)
			}
			if len(l.Tokens) != 1 || l.Reported != tc.reported {
				t.Errorf("%d tokens, %d reported; want 1 and %d", len(l.Tokens), l.Reported, tc.reported)
			}
			wantEqual(t, l.Examples, tc.invalid)
			for _, u := range l.Examples {
				wantEqual(t, u.String(), "pagination.total")
			}
		})
	}
}

func TestEmptyLists(t *testing.T) {
	for _, body := range []string{
		`{"data":[]}`,
		`{"data":[],"pagination":{"total":0}}`,
		`{"data":null,"pagination":{"total":0}}`,
		`{"pagination":{"total":0},"data":null}`,
		" \n{\t\"meta\": {\"data\": 5}, \"data\" :\r\n[ ] } \n",
	} {
		l, err := listPage(t, body)
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		if len(l.Tokens) != 0 || len(l.Examples) != 0 {
			t.Errorf("%s was decoded as %s", body, format(l))
		}
	}
}

func TestInvalidPages(t *testing.T) {
	deep := strings.Repeat("[", 1_000_000)
	for _, tc := range []struct{ name, body, want string }{
		{"only spaces", " \n ", "EOF"},
		{"text", `OK`, "invalid character 'O'"},
		{"null", `null`, `does not start with "{"`},
		{"an array", `[{"id":"a"}]`, `does not start with "{"`},
		{"a string", `"data"`, `does not start with "{"`},
		{"an empty object", `{}`, `no "data"`},
		{"no data", `{"pagination":{"total":0}}`, `no "data"`},
		{"data in another case", `{"Data":[]}`, `no "data"`},
		{"an API error with status 200", `{"statusCode":500,"message":"x"}`, `no "data"`},
		{"null data without a total", `{"data":null}`, `"data" is null`},
		{"null data with a total", `{"data":null,"pagination":{"total":5}}`, `"data" is null`},
		{"null data with an invalid total", `{"data":null,"pagination":{"total":"0"}}`, `"data" is null`},
		{"data that is an object", `{"data":{"items":[]}}`, "not an array"},
		{"data that is a string", `{"data":"[]"}`, "not an array"},
		{"data that is a number", `{"data":0}`, "not an array"},
		{"truncated after the brace", `{`, "EOF"},
		{"truncated after a key", `{"data"`, "EOF"},
		{"truncated in the array", `{"data":[{"id":"a"},`, "EOF"},
		{"truncated after an item", `{"data":[{"id":"a"}`, "EOF"},
		{"truncated in an item", `{"data":[{"id":"a"},{"id":"`, "EOF"},
		{"truncated in an invalid item", `{"data":[{"id":"a","name":5},{"id":"b","name":5`, "EOF"},
		{"truncated after the array", `{"data":[]`, "EOF"},
		{"truncated in pagination", `{"data":[],"pagination":{"total":`, "EOF"},
		{"truncated in an unknown member", `{"data":[],"meta":{"a":`, "EOF"},
		{"a wrong closing bracket", `{"data":[{"id":"a"}}`, "invalid character '}'"},
		{"an extra comma", `{"data":[{"id":"a"},]}`, "invalid character ','"},
		{"a missing comma", `{"data":[{"id":"a"}{"id":"b"}]}`, "expecting ',' or ']'"},
		{"invalid JSON in an item", `{"data":[{"id":"a","name":nil}]}`, "invalid character"},
		{"a control character in a string", "{\"data\":[{\"id\":\"a\nb\"}]}", "invalid character"},
		{"another object after the end", `{"data":[]}{"data":[]}`, "more after the end"},
		{"garbage after the end", `{"data":[]} Warning: x`, "invalid character 'W'"},
		{"too deep nesting", deep, `does not start with "{"`},
		{"too deep nesting in data", `{"data":` + deep, "exceeded max depth"},
		{"too deep nesting in an item", `{"data":[{"id":"a","manifest":` + deep, "exceeded max depth"},
		{"too deep nesting in pagination", `{"data":[],"pagination":` + deep, "exceeded max depth"},
		{"too deep nesting in an unknown member", `{"meta":` + strings.Repeat(`{"a":`, 1_000_000), "exceeded max depth"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := listPage(t, tc.body)
			e := wantError(t, err, client.ReasonBadResponse)
			wantEqual(t, e.Status, http.StatusOK)
			wantEqual(t, e.Summary, "the response is not a list of tokens")
			wantText(t, e.Detail, "application/json: ", tc.want)
			wantText(t, e.Advice, "the API prefix")
		})
	}
}

// Names of unknown members may be secrets.
func TestErrorsOfInvalidPagesDoNotContainNames(t *testing.T) {
	for _, body := range []string{
		`{"5ecret":nil}`, `{"5ecret":{"5ecret":[{"5ecret":5.}]}}`, `{"data":[{"5ecret":{"5ecret":"a"`, `{"data":[{"id":"a","manifest":{"5ecret":` + "\"\n" + `"}}]}`,
	} {
		_, err := listPage(t, body)
		if e := wantError(t, err, client.ReasonBadResponse); strings.Contains(e.Error(), "5ecret") {
			t.Errorf("%s: %v", body, e)
		}
	}
}

func TestAnInvalidPageDoesNotAffectTheNextListing(t *testing.T) {
	valid := false
	c := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if valid {
			fmt.Fprint(w, `{"data":[]}`)
		} else {
			fmt.Fprint(w, strings.Repeat("<html>", 100_000))
		}
	}))
	for range 20 {
		valid = false
		_, err := list(t.Context(), c)
		wantError(t, err, client.ReasonBadResponse)
		valid = true
		if _, err := list(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnInvalidLaterPageFailsTheListing(t *testing.T) {
	_, err := list(t.Context(), newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("offset") == "0" {
			fmt.Fprint(w, `{"data":[{"id":"a"}]}`)
		} else {
			fmt.Fprint(w, `<html>`)
		}
	})))
	wantError(t, err, client.ReasonBadResponse)
}
