package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
)

// withTestKey configures a client with the key of controlplanetest.
func withTestKey(cfg *client.Config) {
	cfg.Credentials = client.StaticKey(controlplanetest.Key, "inline")
}

// tokenIDs returns the sorted IDs of the tokens. It returns an error if there are duplicates.
func tokenIDs(tokens []client.Token) ([]string, error) {
	all := make([]string, len(tokens))
	for i := range tokens {
		all[i] = tokens[i].ID
	}
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		return nil, fmt.Errorf("%d of %d IDs are duplicates", len(all)-n, len(all))
	}
	return all, nil
}

// changingList is a list that changes between two requests.
type changingList struct {
	mu       sync.Mutex
	items    []any
	requests int
	states   [][]string // sorted IDs after each change
	change   func(request int, items []any) []any
}

// list returns the items for the next request.
func (s *changingList) list() []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if changed := s.change(s.requests, s.items); len(changed) != len(s.items) || s.states == nil {
		s.items = changed
		s.states = append(s.states, itemIDs(changed))
	}
	return s.items
}

// itemIDs returns the sorted IDs of the items.
func itemIDs(items []any) []string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = fmt.Sprintf("%v", item.(map[string]any)["id"])
	}
	slices.Sort(all)
	return all
}

// minimalItem returns an item with only an ID.
func minimalItem(i int) any { return map[string]any{"id": fmt.Sprintf("t%06d", i)} }

// This holds for any number of tokens, page size, page size limit, pagination, and
// concurrency, and also for the next listing.
func TestEveryTokenIsListedOnce(t *testing.T) {
	t.Parallel()
	totals := map[string]func(n, length int) any{
		"correct":            func(n, _ int) any { return n },
		"none":               func(int, int) any { return nil },
		"zero":               func(int, int) any { return 0 },
		"less":               func(n, _ int) any { return n / 2 },
		"one more":           func(n, _ int) any { return n + 1 },
		"doubled":            func(n, _ int) any { return 2*n + 10 },
		"huge":               func(int, int) any { return int64(1_000_000_000_000) },
		"negative":           func(int, int) any { return -1 },
		"string":             func(int, int) any { return "many" },
		"length of the page": func(_, length int) any { return length },
	}
	limits := map[string]func(pagination map[string]any){
		"correct": func(map[string]any) {},
		"none":    func(pagination map[string]any) { delete(pagination, "limit") },
		"null":    func(pagination map[string]any) { pagination["limit"] = nil },
		"string":  func(pagination map[string]any) { pagination["limit"] = "1000" },
		"zero":    func(pagination map[string]any) { pagination["limit"] = 0 },
	}
	random, rounds := rand.New(rand.NewPCG(1, 2)), 3
	if testing.Short() {
		rounds = 1
	}
	for total, totalOf := range totals {
		for limitName, setLimit := range limits {
			for range rounds {
				n, limit, clamp, concurrency := random.IntN(120), 1+random.IntN(40), 1+random.IntN(40), 1+random.IntN(8)
				name := fmt.Sprintf("%d tokens, total %s, page size %d of at most %d, limit %s, concurrency %d", n, total, limit, clamp, limitName, concurrency)
				t.Run(name, func(t *testing.T) {
					items := make([]any, n)
					for i := range items {
						items[i] = minimalItem(i)
					}
					pagination := faults.Pagination(func(length int, pagination map[string]any) {
						setLimit(pagination)
						if pagination["total"] = totalOf(n, length); pagination["total"] == nil {
							delete(pagination, "total")
						}
					})
					cp := controlplanetest.Start(t, controlplanetest.Always(items...), pagination, faults.Clamp(clamp))
					c := newClient(t, cp.URL, withTestKey, func(cfg *client.Config) {
						cfg.PageSize, cfg.Limiter = limit, client.NewLimiter(concurrency)
					})
					for range 2 {
						before := len(cp.Requests())
						got, err := list(t.Context(), c)
						if err != nil {
							t.Fatal(err)
						}
						listed, err := tokenIDs(got.Tokens)
						if err != nil {
							t.Fatal(err)
						}
						if want := itemIDs(items); !slices.Equal(listed, want) {
							t.Errorf("%d tokens, want %d", len(listed), len(want))
						}
						if want, ok := totalOf(n, min(n, limit, clamp)).(int); ok && want >= 0 && got.Reported != int64(want) {
							t.Errorf("reported %d, want %d", got.Reported, want)
						}
						// The list is read at most twice, with at most as many extra pages as the Limiter allows.
						pages := n/min(limit, clamp) + 2
						if most := 2 * (pages + 2*concurrency); len(cp.Requests())-before > most {
							t.Errorf("%d requests, want at most %d", len(cp.Requests())-before, most)
						}
					}
				})
			}
		}
	}
}

// A list that fits on one page takes one request if the page has fewer items than
// requested, the total is their number, and the limit does not contradict.
func TestRequestsForAListThatFitsOnOnePage(t *testing.T) {
	limit := func(limit any) func(int, map[string]any) {
		return func(_ int, pagination map[string]any) { pagination["limit"] = limit }
	}
	total := func(total any) func(int, map[string]any) {
		return func(_ int, pagination map[string]any) { pagination["total"] = total }
	}
	for _, tt := range []struct {
		name          string
		items         int
		pagination    func(length int, pagination map[string]any)
		first, second int // requests of the first listing, and of the next
	}{
		{"with the requested limit", 3, limit(10), 1, 1},
		{"with a higher limit", 3, limit(1000), 1, 1},
		{"with a lower limit", 3, limit(9), 2, 2},
		{"with an invalid limit", 3, limit("10"), 2, 2},
		{"with a negative limit", 3, limit(-1), 2, 2},
		{"without a limit, after it was read to its end", 3, limit(nil), 2, 1},
		{"with a higher total", 3, total(4), 6, 6}, // the list is read twice, with one page beyond the total
		{"with a lower total", 3, total(2), 2, 2},
		{"without a total", 3, total(nil), 2, 2},
		{"with an invalid total", 3, total("3"), 2, 2},
		{"that is as long as a page", 10, limit(10), 2, 2},
		{"that is empty", 0, limit(nil), 1, 1},
		{"of one item", 1, limit(10), 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(tt.items)...), faults.Pagination(tt.pagination))
			c := newClient(t, cp.URL, withTestKey, func(cfg *client.Config) { cfg.PageSize = 10 })
			for _, want := range []int{tt.first, tt.second} {
				before := len(cp.Requests())
				if got, err := list(t.Context(), c); err != nil || len(got.Tokens) != tt.items || got.WrongTotal {
					t.Errorf("got %+v, %v", got, err)
				}
				if n := len(cp.Requests()) - before; n != want {
					t.Errorf("%d requests, want %d", n, want)
				}
			}
		})
	}
}

// fakeClock is a clock that a test sets.
type fakeClock struct{ now time.Time }

func (c *fakeClock) Now() time.Time { return c.now }

// This applies to responses without a limit, for each kind. The time of the last full read
// is kept in the State.
func TestAListThatFitsOnOnePageIsReadToItsEndOnceAnHour(t *testing.T) {
	noLimit := faults.Pagination(func(_ int, pagination map[string]any) { delete(pagination, "limit") })
	cp := controlplanetest.StartKinds(t, controlplanetest.Key, controlplanetest.Tokens(3), controlplanetest.Tokens(2), noLimit)
	clock, state := &fakeClock{time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC)}, new(client.State)
	requests := func(kind client.Kind) int {
		t.Helper()
		// The client is new, like after a reload.
		c := newClient(t, cp.URL, withTestKey, func(cfg *client.Config) { cfg.Now, cfg.State = clock.Now, state })
		credential, err := c.Credential(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		before := len(cp.Requests())
		if _, err := c.List(t.Context(), credential, kind); err != nil {
			t.Fatal(err)
		}
		return len(cp.Requests()) - before
	}
	for _, step := range []struct {
		after time.Duration
		kind  client.Kind
		want  int
	}{
		{0, client.PersonalAccessToken, 2},
		{time.Minute, client.PersonalAccessToken, 1},
		{0, client.VirtualAccount, 2},
		{58*time.Minute + 59*time.Second, client.PersonalAccessToken, 1},
		{time.Second, client.PersonalAccessToken, 2},
		{0, client.PersonalAccessToken, 1},
		{time.Hour, client.VirtualAccount, 2},
	} {
		clock.now = clock.now.Add(step.after)
		if got := requests(step.kind); got != step.want {
			t.Errorf("at %v: %d requests for %s, want %d", clock.now, got, step.kind, step.want)
		}
	}
}

// A server that limits the page size, and reports the length of the page as the total and
// no limit, is detected by the first listing. Its lists are always read to their end.
func TestAServerWithAWrongTotalIsNotTrustedAgain(t *testing.T) {
	clamps := []controlplanetest.Fault{
		faults.Pagination(func(length int, pagination map[string]any) {
			pagination["total"] = length
			delete(pagination, "limit")
		}),
		faults.Clamp(4),
	}
	items := controlplanetest.Tokens(10)
	cp := controlplanetest.Start(t, func() []any { return items }, clamps...)
	clock := &fakeClock{time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC)}
	c := newClient(t, cp.URL, withTestKey, func(cfg *client.Config) { cfg.PageSize, cfg.Now = 100, clock.Now })
	expect := func(tokens int, wrongTotal bool) {
		t.Helper()
		got, err := list(t.Context(), c)
		if err != nil || len(got.Tokens) != tokens || got.WrongTotal != wrongTotal {
			t.Errorf("got %+v, %v; want %d tokens and WrongTotal %v", got, err, tokens, wrongTotal)
		}
	}
	expect(10, true)
	expect(10, false) // only the first listing reports it
	items = items[:3]
	expect(3, false)
	items = controlplanetest.Tokens(10)
	expect(10, false) // a correct total in between changes nothing
	clock.now = clock.now.Add(2 * time.Hour)
	expect(10, false)
}

func TestAListThatGrowsIsNotAWrongTotal(t *testing.T) {
	noLimit := faults.Pagination(func(_ int, pagination map[string]any) { delete(pagination, "limit") })
	requests := 0
	cp := controlplanetest.Start(t, func() []any {
		if requests++; requests == 1 {
			return controlplanetest.Tokens(3)
		}
		return controlplanetest.Tokens(4)
	}, noLimit)
	c := newClient(t, cp.URL, withTestKey)
	for range 2 {
		if got, err := list(t.Context(), c); err != nil || len(got.Tokens) != 4 || got.WrongTotal {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if n := len(cp.Requests()); n != 2+2+1 { // two for the first listing, two because it changed, one for the second listing
		t.Errorf("%d requests", n)
	}
}

// This counts all items, whether they are valid, invalid or duplicates, for any page size.
func TestTheNumberOfItemsIsLimited(t *testing.T) {
	t.Parallel()
	const most = 30
	mixed := func(n int) []any { // with duplicates and invalid items
		all := controlplanetest.Tokens(n - 10)
		for i := range 5 {
			all = append(all, i, controlplanetest.Token(0))
		}
		return all
	}
	noTotal := faults.Total(func(int) any { return nil })
	for name, faultsOf := range map[string][]controlplanetest.Fault{
		"with a total": nil, "without a total": {noTotal}, "with one item per page": {faults.Clamp(1)},
	} {
		for _, pageSize := range []int{1, 7, 30, 31, 1000} {
			for kind, items := range map[string]func(n int) []any{"tokens": controlplanetest.Tokens, "mixed items": mixed} {
				t.Run(fmt.Sprintf("%s %s in pages of %d", kind, name, pageSize), func(t *testing.T) {
					for n, fits := range map[int]bool{most: true, most + 1: false} {
						cp := controlplanetest.Start(t, controlplanetest.Always(items(n)...), faultsOf...)
						got, err := list(t.Context(), newClient(t, cp.URL, withTestKey, func(cfg *client.Config) { cfg.PageSize, cfg.MaxTokens = pageSize, most }))
						switch {
						case fits && (err != nil || len(got.Tokens)+got.Duplicates+got.InvalidItems != most):
							t.Errorf("%d items: %+v, %v", n, got, err)
						case !fits:
							e := wantError(t, err, client.ReasonTooLarge)
							wantEqual(t, e.Summary, "the list has more than 30 items")
							wantText(t, e.Advice, "--truefoundry.max-tokens")
						}
					}
				})
			}
		}
	}
}

func TestAnEndlessListOfNewTokensEndsAtTheLimit(t *testing.T) {
	const pageSize, most, concurrency = 10, 1000, 4
	cp := controlplanetest.New(t, controlplanetest.Always())
	transport, stop := controlplanetest.InMemory(cp.With(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var page strings.Builder
			for i := range pageSize {
				fmt.Fprintf(&page, `{"id":"%s-%d"},`, r.FormValue("offset"), i)
			}
			fmt.Fprintf(w, `{"data":[%s],"pagination":{"total":1000000000}}`, strings.TrimSuffix(page.String(), ","))
		})
	}))
	defer stop()
	_, err := list(t.Context(), newClient(t, "http://acme.example", withTestKey, func(cfg *client.Config) {
		cfg.PageSize, cfg.MaxTokens, cfg.Limiter, cfg.Transport = pageSize, most, client.NewLimiter(concurrency), transport
	}))
	wantError(t, err, client.ReasonTooLarge)
	if n := len(cp.Requests()); n > most/pageSize+2*concurrency {
		t.Errorf("%d requests for %d items in pages of %d", n, most, pageSize)
	}
}

// A list that changes while it is read is read again. The listing has all tokens of one
// moment.
func TestAListThatChangesOnceIsConsistent(t *testing.T) {
	t.Parallel()
	random, rounds := rand.New(rand.NewPCG(3, 4)), 60
	if testing.Short() {
		rounds = 20
	}
	for i := range rounds {
		n, limit, concurrency := 20+random.IntN(80), 1+random.IntN(30), 1+random.IntN(6)
		at, by, place := 1+random.IntN(12), 1+random.IntN(15), random.IntN(20)
		grows := i%2 == 0
		t.Run(fmt.Sprintf("%d tokens in pages of %d, concurrency %d, request %d, %d tokens at %d, grows %v", n, limit, concurrency, at, by, place, grows), func(t *testing.T) {
			s := &changingList{change: func(request int, items []any) []any {
				switch {
				case request != at:
					return items
				case grows:
					var added []any
					for i := range by {
						added = append(added, minimalItem(n+i))
					}
					return slices.Insert(slices.Clone(items), place, added...)
				}
				return slices.Delete(slices.Clone(items), place, min(len(items), place+by))
			}}
			for i := range n {
				s.items = append(s.items, minimalItem(i))
			}
			s.states = append(s.states, itemIDs(s.items))
			cp := controlplanetest.Start(t, s.list)
			got, err := list(t.Context(), newClient(t, cp.URL, withTestKey, func(cfg *client.Config) {
				cfg.PageSize, cfg.Limiter = limit, client.NewLimiter(concurrency)
			}))
			if err != nil {
				t.Fatal(err)
			}
			listed, err := tokenIDs(got.Tokens)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(s.states, func(state []string) bool { return slices.Equal(state, listed) }) {
				t.Errorf("the list never had these %d tokens", len(listed))
			}
		})
	}
}

func TestWhenAListIsReadAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  controlplanetest.Fault
		tokens int
		again  bool
	}{
		{"not if the total is correct", faults.Total(func(n int) any { return n }), 10, false},
		{"not without a total", faults.Total(func(int) any { return nil }), 10, false},
		{"not with more tokens than the total", faults.Total(func(int) any { return 9 }), 10, false},
		{"with fewer tokens than the total", faults.Total(func(int) any { return 11 }), 10, true},
		{"with different totals", faults.At(4, faults.Total(func(int) any { return 9 })), 10, true},
		{"with an empty page in the middle", faults.EmptyPage(4), 6, true},
		{"with a page that is empty once", faults.At(4, faults.First(1, faults.EmptyPage(4))), 10, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(10)...), tt.fault)
			got, err := list(t.Context(), newClient(t, cp.URL, withTestKey, func(cfg *client.Config) { cfg.PageSize = 4 }))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Tokens) != tt.tokens {
				t.Errorf("%d tokens, want %d", len(got.Tokens), tt.tokens)
			}
			passes := 0
			for _, request := range cp.Requests() {
				if request == "GET /api/svc/v1/personal-access-tokens?limit=4&offset=0" {
					passes++
				}
			}
			if again := passes > 1; again != tt.again || passes > 2 {
				t.Errorf("the list was read %d times", passes)
			}
		})
	}
}

func TestAListWithoutAnEndIsIncomplete(t *testing.T) {
	always := controlplanetest.Always(controlplanetest.Tokens(10)...)
	for _, tt := range []struct {
		name   string
		items  func() []any
		faults []controlplanetest.Fault
	}{
		{"if the first page is repeated", always, []controlplanetest.Fault{faults.IgnoreOffset()}},
		{
			"if the first page is repeated below a huge total", always,
			[]controlplanetest.Fault{faults.IgnoreOffset(), faults.Total(func(int) any { return int64(1_000_000_000_000) })},
		},
		{
			"if every page is invalid", controlplanetest.Always(1, 2, 3, 4),
			[]controlplanetest.Fault{faults.IgnoreOffset(), faults.Total(func(int) any { return nil })},
		},
	} {
		t.Run(tt.name, func(t *testing.T) { expectIncomplete(t, tt.items, tt.faults...) })
	}
	t.Run("if every page is new", func(t *testing.T) {
		if testing.Short() {
			t.Skip("lists 10,000 pages")
		}
		var made atomic.Int64
		newItem := func() []any { return []any{minimalItem(int(made.Add(1)))} }
		expectIncomplete(t, newItem, faults.IgnoreOffset(), faults.Total(func(int) any { return nil }))
	})
}

// expectIncomplete lists a control plane and fails the test unless the list is incomplete.
func expectIncomplete(t *testing.T, items func() []any, fs ...controlplanetest.Fault) {
	t.Helper()
	cp := controlplanetest.New(t, items)
	transport, stop := controlplanetest.InMemory(cp.With(fs...))
	defer stop()
	got, err := list(t.Context(), newClient(t, "http://acme.example", withTestKey, func(cfg *client.Config) {
		cfg.PageSize, cfg.Transport = 4, transport
	}))
	if reasonOf(err) != client.ReasonIncomplete || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestClientsShareALimiter(t *testing.T) {
	const limit = 3
	var running, most atomic.Int64
	var reached sync.Once
	full := make(chan struct{})
	count := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := running.Add(1)
			defer running.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			if n == limit {
				reached.Do(func() { close(full) })
			}
			<-full // blocks until the limit is reached
			next.ServeHTTP(w, r)
		})
	}
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(100)...), count)
	limiter := client.NewLimiter(limit)
	var wg sync.WaitGroup
	for range 4 {
		c := newClient(t, cp.URL, withTestKey, func(cfg *client.Config) { cfg.PageSize, cfg.Limiter = 3, limiter })
		wg.Go(func() {
			if got, err := list(t.Context(), c); err != nil || len(got.Tokens) != 100 {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if most.Load() != limit {
		t.Errorf("%d concurrent requests, want %d", most.Load(), limit)
	}
}

// testRetries calls check in a synctest bubble, in which waits take no time. list lists a
// control plane that has the fault.
func testRetries(t *testing.T, timeout time.Duration, fault controlplanetest.Fault, check func(list func() (took time.Duration, retries int, err error))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cp := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(10)...))
		transport, stop := controlplanetest.InMemory(cp.With(fault))
		defer stop()
		retries := 0
		c := newClient(t, "http://acme.example", withTestKey, func(cfg *client.Config) {
			cfg.Transport, cfg.PageSize, cfg.Limiter = transport, 4, client.NewLimiter(2)
			cfg.Trace.Retry = func() { retries++ }
		})
		check(func() (time.Duration, int, error) {
			ctx, cancel := context.WithTimeout(t.Context(), timeout)
			defer cancel()
			start, before := time.Now(), retries
			_, err := list(ctx, c)
			return time.Since(start), retries - before, err
		})
	})
}

func TestRetries(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name        string
		fault       controlplanetest.Fault
		timeout     time.Duration
		reason      client.Reason // of the listing; empty if it succeeds
		retries     int
		least, most time.Duration // duration of the listing
		nextReason  client.Reason // of the next listing
	}{
		{name: "a connection that is reset", fault: faults.First(1, faults.Reset()), retries: 1, least: s / 4, most: s / 2},
		{name: "408", fault: faults.First(1, faults.Status(408)), retries: 1, least: s / 4, most: s / 2},
		{name: "429 without Retry-After", fault: faults.First(1, faults.Status(429)), retries: 1, least: s / 4, most: s / 2},
		{name: "502", fault: faults.First(1, faults.Status(502)), retries: 1, least: s / 4, most: s / 2},
		{name: "503", fault: faults.First(1, faults.Status(503)), retries: 1, least: s / 4, most: s / 2},
		{name: "504 twice", fault: faults.First(2, faults.Status(504)), retries: 2, least: s * 3 / 4, most: s * 3 / 2},
		{name: "twice a listing, not a page", fault: faults.First(1, faults.Status(502)), retries: 1, least: s / 4, most: s / 2},
		{name: "not a third time", fault: faults.First(3, faults.Status(504)), reason: client.ReasonServerError, retries: 2, least: s * 3 / 4, most: s * 3 / 2},
		{name: "not 500", fault: faults.First(1, faults.Status(500)), reason: client.ReasonServerError},
		{name: "not 409", fault: faults.First(1, faults.Status(409)), reason: client.ReasonClientError},
		{name: "not HTML", fault: faults.First(1, faults.Body("<html>")), reason: client.ReasonBadResponse},
		{name: "after a Retry-After in seconds", fault: faults.First(1, faults.Status(429, "Retry-After", "7")), retries: 1, least: 7 * s, most: 7 * s},
		{name: "after a Retry-After that is a date", fault: faults.First(1, retryAt(8*s)), retries: 1, least: 7 * s, most: 8 * s},
		{name: "with backoff after a Retry-After of 0", fault: faults.First(1, faults.Status(503, "Retry-After", "0")), retries: 1, least: s / 4, most: s / 2},
		{name: "with backoff after an invalid Retry-After", fault: faults.First(1, faults.Status(503, "Retry-After", "soon")), retries: 1, least: s / 4, most: s / 2},
		{name: "with backoff after a Retry-After in the past", fault: faults.First(1, retryAt(-time.Hour)), retries: 1, least: s / 4, most: s / 2},
		{name: "not if Retry-After is huge", fault: faults.First(1, faults.Status(429, "Retry-After", "99999999999999999999")), reason: client.ReasonRateLimited, nextReason: client.ReasonRateLimited},
		{name: "not if the backoff exceeds the deadline", fault: faults.First(1, faults.Status(503)), timeout: s / 5, reason: client.ReasonServerError},
		{name: "not if Retry-After exceeds the deadline", fault: faults.First(1, faults.Status(429, "Retry-After", "30")), reason: client.ReasonRateLimited, nextReason: client.ReasonRateLimited},
		{name: "not if Retry-After of a 503 exceeds the deadline", fault: faults.First(1, faults.Status(503, "Retry-After", "30")), reason: client.ReasonServerError, nextReason: client.ReasonRateLimited},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.timeout == 0 {
				tt.timeout = 10 * s
			}
			testRetries(t, tt.timeout, tt.fault, func(list func() (time.Duration, int, error)) {
				took, retries, err := list()
				if reason := reasonOf(err); reason != tt.reason {
					t.Fatalf("failed as %q, want %q: %v", reason, tt.reason, err)
				}
				if retries != tt.retries || took < tt.least || took > tt.most {
					t.Errorf("%d retries in %v, want %d in %v to %v", retries, took, tt.retries, tt.least, tt.most)
				}
				if _, _, err := list(); reasonOf(err) != tt.nextReason {
					t.Errorf("the next listing failed as %q, want %q", reasonOf(err), tt.nextReason)
				}
			})
		})
	}
}

// If the deadline passes during a retry, the error describes the first failure.
func TestARetryThatExceedsTheDeadline(t *testing.T) {
	const deadlinePassed = ", and the scrape's deadline passed before a retry succeeded"
	once := func(fault controlplanetest.Fault) controlplanetest.Fault {
		return func(next http.Handler) http.Handler { return faults.First(1, fault)(faults.Hang()(next)) }
	}
	for _, tt := range []struct {
		name    string
		fault   controlplanetest.Fault
		reason  client.Reason
		retries int
		want    string // the summary
	}{
		{"after a 502", once(faults.Status(502)), client.ReasonServerError, 1, "502 Bad Gateway" + deadlinePassed},
		{"after a 502 of a later page", faults.At(4, once(faults.Status(502))), client.ReasonServerError, 1, "502 Bad Gateway" + deadlinePassed},
		{"after a 429 of one page while another one hangs", faultsByOffset(map[string]controlplanetest.Fault{"4": faults.Hang(), "8": once(faults.Status(429))}), client.ReasonRateLimited, 1, "429 Too Many Requests" + deadlinePassed},
		{"after a reset", once(faults.Reset()), client.ReasonConnection, 1, "the connection failed: it was closed before the response was complete" + deadlinePassed},
		{"after no failure", faults.Hang(), client.ReasonTimeout, 0, "no response from acme.example:80 within the scrape's deadline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			testRetries(t, 10*time.Second, tt.fault, func(list func() (time.Duration, int, error)) {
				took, retries, err := list()
				wantEqual(t, wantError(t, err, tt.reason).Summary, tt.want)
				wantEqual(t, retries, tt.retries)
				wantEqual(t, took, 10*time.Second)
			})
		})
	}
}

// faultsByOffset applies each fault to the requests for its offset.
func faultsByOffset(byOffset map[string]controlplanetest.Fault) controlplanetest.Fault {
	return func(next http.Handler) http.Handler {
		faulty := map[string]http.Handler{}
		for offset, fault := range byOffset {
			faulty[offset] = fault(next)
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if handler, ok := faulty[r.FormValue("offset")]; ok {
				handler.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// The deadline of a shared listing may become earlier while the listing waits for a retry.
func TestTheContextEndsBeforeARetry(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cause  error
		reason client.Reason
		want   string
	}{
		{"at the deadline", context.DeadlineExceeded, client.ReasonServerError, "503 Service Unavailable, and the scrape's deadline passed before a retry succeeded"},
		{"because it is cancelled", context.Canceled, "", "the listing was cancelled because no scrape was waiting for it any more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cp := controlplanetest.New(t, controlplanetest.Always())
				transport, stop := controlplanetest.InMemory(cp.With(faults.Status(503, "Retry-After", "5")))
				defer stop()
				c := newClient(t, "http://acme.example", withTestKey, func(cfg *client.Config) { cfg.Transport = transport })
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(tt.cause) })
				_, err := list(ctx, c)
				wantEqual(t, wantError(t, err, tt.reason).Summary, tt.want)
				wantEqual(t, len(cp.Requests()), 1)
			})
		})
	}
}

func TestAListingThatWaitsForOthersUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cp := controlplanetest.New(t, controlplanetest.Always())
		transport, stop := controlplanetest.InMemory(cp.With(faults.Hang()))
		defer stop()
		c := newClient(t, "http://acme.example", withTestKey, func(cfg *client.Config) {
			cfg.Transport, cfg.Limiter = transport, client.NewLimiter(1)
		})
		other, end := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() {
			_, err := list(other, c)
			wantCanceled(t, err)
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := list(ctx, c)
		e := wantError(t, err, client.ReasonTimeout)
		wantText(t, e.Summary, "no request could be sent before the scrape's deadline, because other listings")
		wantEqual(t, len(cp.Requests()), 1)
		end()
		ended.Wait()
	})
}

// retryAt responds with 429 and a Retry-After date, which is after the current time by the
// given duration.
func retryAt(after time.Duration) controlplanetest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at := time.Now().Add(after).UTC().Format(http.TimeFormat)
			faults.Status(http.StatusTooManyRequests, "Retry-After", at)(next).ServeHTTP(w, r)
		})
	}
}

// reasonOf returns the reason of a *client.Error. It is empty for other errors and for nil.
func reasonOf(err error) client.Reason {
	var failure *client.Error
	if !errors.As(err, &failure) {
		return ""
	}
	return failure.Reason
}

func TestARetryAfterBeyondTheDeadlineIsRespectedForAtMostFiveMinutes(t *testing.T) {
	for header, wait := range map[string]time.Duration{"100": 100 * time.Second, "3600": 5 * time.Minute} {
		t.Run(header, func(t *testing.T) {
			var requests atomic.Int64
			fault := func(next http.Handler) http.Handler {
				limited := faults.First(1, faults.Status(http.StatusTooManyRequests, "Retry-After", header))(next)
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					limited.ServeHTTP(w, r)
				})
			}
			testRetries(t, 10*time.Second, fault, func(list func() (time.Duration, int, error)) {
				if _, _, err := list(); reasonOf(err) != client.ReasonRateLimited {
					t.Fatal(err)
				}
				<-time.After(wait - time.Second)
				took, _, err := list()
				if reasonOf(err) != client.ReasonRateLimited || took != 0 || requests.Load() != 1 {
					t.Errorf("before its end: %v after %v and %d requests", err, took, requests.Load())
				}
				wantText(t, err.Error(), `because of the Retry-After of the response "429 Too Many Requests"`)
				<-time.After(time.Second)
				if _, _, err := list(); err != nil {
					t.Errorf("after its end: %v", err)
				}
			})
		})
	}
}

func TestARetryAfterBeyondTheDeadlineFailsOtherListings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cp := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(3)...))
		transport, stop := controlplanetest.InMemory(cp.With(faults.Status(http.StatusTooManyRequests, "Retry-After", "3600")))
		defer stop()
		c := newClient(t, "http://acme.example", withTestKey, func(cfg *client.Config) {
			cfg.Transport, cfg.Limiter = transport, client.NewLimiter(1)
		})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := list(ctx, c); reasonOf(err) != client.ReasonRateLimited {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := len(cp.Requests()); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestARetryAfterDelaysTheOtherPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var sent []time.Duration // since start
		var rejected time.Duration
		record := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				sent = append(sent, time.Since(start))
				if r.FormValue("offset") == "4" && rejected == 0 {
					rejected = time.Since(start) + time.Second
				}
				mu.Unlock()
				<-time.After(time.Second)
				next.ServeHTTP(w, r)
			})
		}
		cp := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(30)...))
		transport, stop := controlplanetest.InMemory(cp.With(record, faults.At(4, faults.First(1, faults.Status(429, "Retry-After", "20")))))
		defer stop()
		c := newClient(t, "http://acme.example", withTestKey, func(cfg *client.Config) {
			cfg.Transport, cfg.PageSize, cfg.Limiter = transport, 4, client.NewLimiter(2)
		})
		if got, err := list(t.Context(), c); err != nil || len(got.Tokens) != 30 {
			t.Fatal(got, err)
		}
		for _, at := range sent {
			if at > rejected && at < rejected+20*time.Second {
				t.Errorf("a request was sent %v after one was rejected", at-rejected)
			}
		}
	})
}

func TestConnectionsAreReused(t *testing.T) {
	const limit = 4
	var opened atomic.Int64
	cp := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(100)...))
	server := httptest.NewUnstartedServer(cp)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	c := newClient(t, server.URL, withTestKey, func(cfg *client.Config) {
		cfg.PageSize, cfg.Limiter = 1, client.NewLimiter(limit)
		cfg.Transport = &http.Transport{MaxIdleConnsPerHost: limit}
	})
	if _, err := list(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	// The transport may dial although a connection becomes idle in the meantime.
	if n := opened.Load(); n > 2*limit {
		t.Errorf("%d connections for %d requests, want at most %d", n, len(cp.Requests()), 2*limit)
	}
}

func TestInvalidValuesOfDuplicatesDoNotCount(t *testing.T) {
	invalid := func(i int) any { return map[string]any{"id": fmt.Sprintf("t%d", i), "createdAt": "yesterday"} }
	cp := controlplanetest.Start(t, controlplanetest.Always(invalid(1), invalid(2), invalid(1), invalid(3)))
	got, err := list(t.Context(), newClient(t, cp.URL, withTestKey, func(cfg *client.Config) { cfg.PageSize = 2 }))
	if err != nil {
		t.Fatal(err)
	}
	if got.Duplicates != 1 || got.InvalidFields["createdAt"] != 3 || len(got.Examples) != 3 {
		t.Errorf("got %+v", got)
	}
}
