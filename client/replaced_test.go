package client_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// replaced lists the items and returns the IDs of the replaced tokens.
func replaced(t *testing.T, items ...string) string {
	t.Helper()
	l, err := listPage(t, `{"data":[`+strings.Join(items, ",")+`]}`)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, token := range l.Tokens {
		if token.Replaced {
			ids = append(ids, token.ID)
		}
	}
	return strings.Join(ids, " ")
}

func TestReplaced(t *testing.T) {
	const (
		january  = `"createdAt":"2026-01-01T00:00:00Z"`
		february = `"createdAt":"2026-02-01T00:00:00Z"`
		march    = `"createdAt":"2026-03-01T00:00:00Z"`

		july, august, never = `"expiration_date":"2026-07-01"`, `"expiration_date":"2026-08-01"`, `"expiration_date":null`
		unreadable          = `"expiration_date":"next week"`
	)
	// token returns a token of Ada with the name ci. The other members override its own.
	token := func(id, created, expiration string, others ...string) string {
		members := append([]string{
			`"id":"` + id + `"`, `"tenantName":"acme"`, `"name":"ci"`, `"createdBySubject":{"subjectId":"ada"}`,
			created, `"manifest":{` + expiration + `}`,
		}, others...)
		return "{" + strings.Join(members, ",") + "}"
	}
	const (
		expired     = `"isExpired":true`
		notExpired  = `"isExpired":false`
		bob         = `"createdBySubject":{"subjectId":"bob"}`
		noSubjectID = `"createdBySubject":{"subjectSlug":"ada"},"createdBy":"ada"`
	)
	longName := func(suffix string) string { return `"name":"` + strings.Repeat("n", 256) + suffix + `"` }
	for _, tt := range []struct {
		name   string
		tokens []string
		want   string
	}{
		{"a single token is not replaced", []string{token("a", january, july)}, ""},
		{"an older token that expires first is replaced", []string{token("a", january, july), token("b", february, august)}, "a"},
		{"the order of the list does not matter", []string{token("b", february, august), token("a", january, july)}, "a"},
		{"a token that expires is replaced by one that never expires", []string{token("a", january, july), token("b", february, never)}, "a"},
		{"a token with an unreadable expiry is replaced", []string{token("a", january, unreadable), token("b", february, july)}, "a"},
		{"a token with an unreadable expiry replaces nothing", []string{token("a", january, july), token("b", february, unreadable)}, ""},
		{"a token with an unreadable expiry does not replace another one", []string{token("a", january, unreadable), token("b", february, unreadable)}, ""},
		{"a token that expires at the same time replaces nothing", []string{token("a", january, july), token("b", february, july)}, ""},
		{"a token that never expires does not replace another one", []string{token("a", january, never), token("b", february, never)}, ""},
		{"a newer token that expires first is not replaced by the older one", []string{token("a", january, august), token("b", february, july)}, ""},
		{"of tokens issued at the same time, the one that expires first is replaced", []string{token("a", january, august), token("b", january, july)}, "b"},
		{
			"of three tokens, the last one is not replaced",
			[]string{token("a", january, july), token("b", february, august), token("c", march, never)},
			"a b",
		},
		{
			"the replacement need not be the newest token",
			[]string{token("a", january, july), token("b", february, never), token("c", march, july)},
			"a",
		},
		{
			"a token that is expired according to the API replaces nothing",
			[]string{token("a", january, july), token("b", february, august, expired)},
			"",
		},
		{
			"a valid token replaces an older one despite an expired one in between",
			[]string{token("a", january, july), token("b", february, never, expired), token("c", march, august, notExpired)},
			"a",
		},
		{
			"an expired token can be replaced",
			[]string{token("a", january, july, expired), token("b", february, august)},
			"a",
		},
		{
			"the creation of the current JWT counts",
			[]string{
				token("a", january, july, `"jwts":[{"id":"j","createdAt":"2026-04-01T00:00:00Z","expiry":"2026-07-01T00:00:00Z"}]`),
				token("b", february, august),
			},
			"",
		},
		{"a token of another subject replaces nothing", []string{token("a", january, july), token("b", february, august, bob)}, ""},
		{
			"a subject is identified by its ID and not by its slug",
			[]string{
				token("a", january, july, `"createdBySubject":{"subjectId":"ada","subjectSlug":"ada@acme.example"}`),
				token("b", february, august, `"createdBySubject":{"subjectId":"ada","subjectSlug":"lovelace@acme.example"}`),
			},
			"a",
		},
		{"a token without a subject ID is not replaced", []string{token("a", january, july, noSubjectID), token("b", february, august, noSubjectID)}, ""},
		{"a token of another tenant replaces nothing", []string{token("a", january, july), token("b", february, august, `"tenantName":"globex"`)}, ""},
		{"a token without a tenant is not replaced", []string{
			token("a", january, july, `"tenantName":null`), token("b", february, august, `"tenantName":null`),
		}, ""},
		{"a token with another name replaces nothing", []string{token("a", january, july), token("b", february, august, `"name":"cd"`)}, ""},
		{"a name from the manifest counts", []string{
			token("a", january, july), token("b", february, august, `"name":null,"manifest":{"name":"ci",`+august+`}`),
		}, "a"},
		{"the ID of a token without a name is not a name", []string{token("a", january, july, `"name":"b"`), token("b", february, august, `"name":null`)}, ""},
		{"truncated names may have been different", []string{token("a", january, july, longName("1")), token("b", february, august, longName("2"))}, ""},
		{"names with invalid UTF-8 may have been different", []string{
			token("a", january, july, "\"name\":\"ci\xfe\""), token("b", february, august, "\"name\":\"ci\xff\""),
		}, ""},
		{"a token without a time of issue replaces nothing", []string{token("a", january, july), token("b", `"createdAt":null`, august)}, ""},
		{"a token with an invalid time of issue is not replaced", []string{token("a", `"createdAt":"yesterday"`, july), token("b", february, august)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantEqual(t, replaced(t, tt.tokens...), tt.want)
		})
	}
}

// The results for random lists are compared with the definition, which is evaluated for
// each pair of tokens.
func TestReplacedMatchesItsDefinition(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 8))
	oneOf := func(values ...any) any { return values[random.IntN(len(values))] }
	// These are in the order of expiries: an unreadable expiry is first, and null is never.
	times := []any{"unreadable", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z", nil}
	order := func(v any) int {
		for i, other := range times {
			if v == other {
				return i
			}
		}
		panic(v)
	}
	for range 200 {
		items := make([]map[string]any, 1+random.IntN(40))
		texts := make([]string, len(items))
		for i := range items {
			items[i] = map[string]any{
				"id": fmt.Sprintf("<%d>", i), "name": oneOf("ci", "ci", "cd", "", nil), "tenantName": oneOf("acme", "acme", "acme", "globex", nil),
				"createdBySubject": map[string]any{"subjectId": oneOf("ada", "ada", "ada", "bob", "", nil)},
				"createdAt":        oneOf(times...), "manifest": map[string]any{"expiration_date": oneOf(times...)},
				"isExpired": oneOf(nil, nil, false, true),
			}
			text, err := json.Marshal(items[i])
			if err != nil {
				t.Fatal(err)
			}
			texts[i] = string(text)
		}
		expiry := func(i int) int { return order(items[i]["manifest"].(map[string]any)["expiration_date"]) }
		subject := func(i int) any { return items[i]["createdBySubject"].(map[string]any)["subjectId"] }
		known := func(v any) bool { return v != nil && v != "" && v != "unreadable" }
		var ids []string
		for i, a := range items {
			isReplaced := false
			for j, b := range items {
				isReplaced = isReplaced || i != j &&
					known(a["name"]) && a["name"] == b["name"] &&
					known(a["tenantName"]) && a["tenantName"] == b["tenantName"] &&
					known(subject(i)) && subject(i) == subject(j) &&
					known(a["createdAt"]) && known(b["createdAt"]) && order(b["createdAt"]) >= order(a["createdAt"]) &&
					expiry(j) > expiry(i) && b["isExpired"] != true
			}
			if isReplaced {
				ids = append(ids, a["id"].(string))
			}
		}
		if got, want := replaced(t, texts...), strings.Join(ids, " "); got != want {
			t.Fatalf("replaced are %s, want %s, in\n%s", got, want, strings.Join(texts, "\n"))
		}
	}
}
