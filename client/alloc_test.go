package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// pageJSON returns a page of n tokens, as sent by a current control plane.
func pageJSON(tb testing.TB, n int) []byte {
	tb.Helper()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	items := make([]any, n)
	for i := range items {
		id := fmt.Sprintf("token-%06d", i)
		items[i] = map[string]any{
			"id": id, "name": "name-of-" + id, "type": "virtual-account", "tenantName": "acme", "accountId": "a1",
			"createdBySubject": map[string]any{"subjectId": "u1", "subjectType": "user", "subjectSlug": "ada@acme.example"},
			"createdAt":        at, "updatedAt": at, "lastAccessedAt": at, "isExpired": false, "jwtId": id + "-2",
			"jwts": []any{
				map[string]any{"id": id + "-1", "expiry": at.AddDate(0, 1, 0), "createdAt": at, "subjectType": "user", "metadata": map[string]any{"x": 1}},
				map[string]any{"id": id + "-2", "expiry": at.AddDate(1, 0, 0), "createdAt": at, "subjectType": "user"},
			},
			"nextScheduledRotation": at.AddDate(0, 2, 0),
			"manifest": map[string]any{
				"name": id, "type": "virtual-account", "expiration_date": "2027-01-01", "ownedBy": map[string]any{"team": "ml"},
				"auto_rotate": map[string]any{"auto_rotate_interval": 60, "grace_period": 30},
				"permissions": []any{map[string]any{"resource_fqn": "tenant:acme", "role_id": "member"}},
			},
		}
	}
	text, err := json.Marshal(map[string]any{"data": items, "pagination": map[string]any{"total": n}})
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("%d tokens", n), func(b *testing.B) {
			text := pageJSON(b, n)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodePage(bytes.NewReader(text), 0, DefaultMaxTokens); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAllocationsPerTokenDoNotDependOnTheNumberOfTokens(t *testing.T) {
	perToken := func(n int) float64 {
		text := pageJSON(t, n)
		return testing.AllocsPerRun(10, func() {
			if _, err := decodePage(bytes.NewReader(text), 0, DefaultMaxTokens); err != nil {
				t.Fatal(err)
			}
		}) / float64(n)
	}
	few, many := perToken(100), perToken(1000)
	const most = 12
	if many > most || many > 1.05*few {
		t.Errorf("%.1f allocations per token for 100 tokens, %.1f for 1000, want at most %d", few, many, most)
	}
}

// A long list is copied once while it is read. A total that is too large allocates at most
// ten times the memory of the received tokens.
func TestALongListGrowsToTheReportedTotal(t *testing.T) {
	t.Parallel()
	const pages, perPage = 100, 1000
	for _, tt := range []struct {
		name       string
		total      int64
		reallocate int
	}{
		{"a correct total", pages * perPage, 1},
		{"a total that is far too large", 1 << 40, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p *pass
			reallocated := 0
			for i := range pages {
				next := &page{total: tt.total, length: perPage, tokens: make([]Token, perPage)}
				for j := range next.tokens {
					next.tokens[j].ID = fmt.Sprintf("token-%06d", i*perPage+j)
				}
				if p == nil {
					p = newPass(next)
					continue
				}
				before := cap(p.Tokens)
				p.add(i, next)
				if cap(p.Tokens) != before {
					reallocated++
				}
				if most := max(maxPreallocated, 11*len(p.Tokens)); cap(p.Tokens) > most {
					t.Fatalf("memory for %d tokens is allocated after %d tokens", cap(p.Tokens), len(p.Tokens))
				}
			}
			if len(p.Tokens) != pages*perPage || len(p.seen) != len(p.Tokens) {
				t.Errorf("the list has %d tokens and %d IDs, want %d", len(p.Tokens), len(p.seen), pages*perPage)
			}
			if reallocated > tt.reallocate {
				t.Errorf("the list was copied %d times, want at most %d", reallocated, tt.reallocate)
			}
		})
	}
}

func TestATokenWithMillionsOfValuesTakesNoMoreMemoryThanItsJSON(t *testing.T) {
	if testing.Short() {
		t.Skip("decodes 40 MiB")
	}
	const size = 8 << 20
	for _, tt := range []struct {
		name, head, value, tail string
		readable                bool
	}{
		{"invalid values", `{"data":[{"id":"a"`, `,"name":1`, `}]}`, true},
		{"invalid values before other invalid values", `{"data":[{"id":"a"`, `,"name":1`, `,"jwts":5}]}`, false},
		{"JWTs", `{"data":[{"id":"a","jwts":[{}`, `,{}`, `]}]}`, false},
		{"invalid JWTs", `{"data":[{"id":"a","jwts":[0`, `,0`, `]}]}`, false},
		{"JWTs, the first of which is current", `{"data":[{"id":"a","jwtId":"j","jwts":[{"id":"j"}`, `,{}`, `]}]}`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := tt.head + strings.Repeat(tt.value, size/len(tt.value)) + tt.tail
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			p, err := decodePage(strings.NewReader(text), 0, DefaultMaxTokens)
			runtime.ReadMemStats(&after)
			if err != nil {
				t.Fatal(err)
			}
			if allocated := after.TotalAlloc - before.TotalAlloc; allocated > size {
				t.Errorf("%d MiB of JSON allocated %d MiB", size>>20, allocated>>20)
			}
			if len(p.tokens) != 1 || p.tokens[0].Expiry.Readable != tt.readable {
				t.Errorf("tokens are %+v", p.tokens)
			}
		})
	}
}

// The memory of a page does not grow with the number of invalid values.
func TestInvalidValuesAreCountedAndNotKept(t *testing.T) {
	const items = 2000
	kept := func(values int) (*page, uint64) {
		text := `{"data":[` + strings.TrimSuffix(strings.Repeat(`{"id":"a"`+strings.Repeat(`,"name":1`, values)+`},`, items), ",") + `]}`
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		p, err := decodePage(strings.NewReader(text), 0, items)
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(text)
		if err != nil {
			t.Fatal(err)
		}
		return p, after.HeapAlloc - before.HeapAlloc
	}
	p, one := kept(1)
	q, hundred := kept(100)
	if hundred > one+one/10 {
		t.Errorf("a page of %d items takes %d bytes with one invalid value each, and %d bytes with a hundred", items, one, hundred)
	}
	for i := range items {
		if p.invalidValues[i][0].count != 1 || q.invalidValues[i][0].count != 100 || len(q.invalidValues[i]) != 1 {
			t.Fatalf("item %d has %+v and %+v", i, p.invalidValues[i], q.invalidValues[i])
		}
	}
	pass := newPass(q)
	if n := pass.InvalidFields["name"]; n != 100 || len(pass.Examples) != maxExamples {
		t.Errorf("%d values and %d examples, want 100 and %d", n, len(pass.Examples), maxExamples) // all items but the first are duplicates
	}
}
