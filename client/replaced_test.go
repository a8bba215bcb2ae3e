package client_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// replaced lists the items and returns the ids of those that are replaced.
func replaced(t *testing.T, items ...string) string {
	t.Helper()
	l, err := listing(t, `{"data":[`+strings.Join(items, ",")+`]}`)
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
	// token is one of Ada's tokens of the name ci; other members may replace its own.
	token := func(id, created, end string, others ...string) string {
		members := append([]string{
			`"id":"` + id + `"`, `"tenantName":"acme"`, `"name":"ci"`, `"createdBySubject":{"subjectId":"ada"}`,
			created, `"manifest":{` + end + `}`,
		}, others...)
		return "{" + strings.Join(members, ",") + "}"
	}
	const (
		expired    = `"isExpired":true`
		notExpired = `"isExpired":false`
		bob        = `"createdBySubject":{"subjectId":"bob"}`
		nobody     = `"createdBySubject":{"subjectSlug":"ada"},"createdBy":"ada"`
	)
	long := func(end string) string { return `"name":"` + strings.Repeat("n", 256) + end + `"` }
	for _, tt := range []struct {
		name   string
		tokens []string
		want   string
	}{
		{"a token alone is not", []string{token("a", january, july)}, ""},
		{"an older token that ends first is", []string{token("a", january, july), token("b", february, august)}, "a"},
		{"whatever the order", []string{token("b", february, august), token("a", january, july)}, "a"},
		{"a date is before never", []string{token("a", january, july), token("b", february, never)}, "a"},
		{"an unreadable expiry is before a date", []string{token("a", january, unreadable), token("b", february, july)}, "a"},
		{"an unreadable expiry replaces nothing", []string{token("a", january, july), token("b", february, unreadable)}, ""},
		{"two unreadable expiries do not differ", []string{token("a", january, unreadable), token("b", february, unreadable)}, ""},
		{"one that ends at the same time is no later one", []string{token("a", january, july), token("b", february, july)}, ""},
		{"nor does never end after never", []string{token("a", january, never), token("b", february, never)}, ""},
		{"a newer token that ends first is not replaced by the older one", []string{token("a", january, august), token("b", february, july)}, ""},
		{"issued at the same time, the one that ends first is", []string{token("a", january, august), token("b", january, july)}, "b"},
		{
			"of three, the last one stays",
			[]string{token("a", january, july), token("b", february, august), token("c", march, never)},
			"a b",
		},
		{
			"the one that replaces need not be the newest",
			[]string{token("a", january, july), token("b", february, never), token("c", march, july)},
			"a",
		},
		{
			"a later one that the API calls expired replaces nothing",
			[]string{token("a", january, july), token("b", february, august, expired)},
			"",
		},
		{
			"but another one may",
			[]string{token("a", january, july), token("b", february, never, expired), token("c", march, august, notExpired)},
			"a",
		},
		{
			"an expired one can be replaced",
			[]string{token("a", january, july, expired), token("b", february, august)},
			"a",
		},
		{
			"what counts is when the current JWT was issued",
			[]string{
				token("a", january, july, `"jwts":[{"id":"j","createdAt":"2026-04-01T00:00:00Z","expiry":"2026-07-01T00:00:00Z"}]`),
				token("b", february, august),
			},
			"",
		},
		{"another subject's is not", []string{token("a", january, july), token("b", february, august, bob)}, ""},
		{
			"a subject is known by its id, whatever it is called",
			[]string{
				token("a", january, july, `"createdBySubject":{"subjectId":"ada","subjectSlug":"ada@acme.example"}`),
				token("b", february, august, `"createdBySubject":{"subjectId":"ada","subjectSlug":"lovelace@acme.example"}`),
			},
			"a",
		},
		{"without the subject's id nothing is certain", []string{token("a", january, july, nobody), token("b", february, august, nobody)}, ""},
		{"another tenant's is not", []string{token("a", january, july), token("b", february, august, `"tenantName":"globex"`)}, ""},
		{"without a tenant nothing is certain", []string{
			token("a", january, july, `"tenantName":null`), token("b", february, august, `"tenantName":null`),
		}, ""},
		{"another name's is not", []string{token("a", january, july), token("b", february, august, `"name":"cd"`)}, ""},
		{"a name may be the manifest's", []string{
			token("a", january, july), token("b", february, august, `"name":null,"manifest":{"name":"ci",`+august+`}`),
		}, "a"},
		{"without a name, the id is none", []string{token("a", january, july, `"name":"b"`), token("b", february, august, `"name":null`)}, ""},
		{"names that are cut may have been different", []string{token("a", january, july, long("1")), token("b", february, august, long("2"))}, ""},
		{"names that are mended may have been different", []string{
			token("a", january, july, "\"name\":\"ci\xfe\""), token("b", february, august, "\"name\":\"ci\xff\""),
		}, ""},
		{"without a time of issue it replaces nothing", []string{token("a", january, july), token("b", `"createdAt":null`, august)}, ""},
		{"nor is it replaced", []string{token("a", `"createdAt":"yesterday"`, july), token("b", february, august)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantEqual(t, replaced(t, tt.tokens...), tt.want)
		})
	}
}

// What is found in one go is what the definition says of each pair of tokens.
func TestReplacedIsWhatTheDefinitionSays(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	one := func(of ...any) any { return of[random.IntN(len(of))] }
	// The expiries and times of issue in their order: an expiry is before all
	// others that could not be read, and after them that is null.
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
				"id": fmt.Sprintf("<%d>", i), "name": one("ci", "ci", "cd", "", nil), "tenantName": one("acme", "acme", "acme", "globex", nil),
				"createdBySubject": map[string]any{"subjectId": one("ada", "ada", "ada", "bob", "", nil)},
				"createdAt":        one(times...), "manifest": map[string]any{"expiration_date": one(times...)},
				"isExpired": one(nil, nil, false, true),
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
			t.Fatalf("replaced are %s, want %s, of\n%s", got, want, strings.Join(texts, "\n"))
		}
	}
}
