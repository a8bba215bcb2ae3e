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

// known makes a client known to the control planes of controlplanetest.
func known(cfg *client.Config) { cfg.Credentials = client.StaticKey(controlplanetest.Key, "inline") }

// ids returns the sorted ids of the tokens, or an error where one is there twice.
func ids(tokens []client.Token) ([]string, error) {
	all := make([]string, len(tokens))
	for i := range tokens {
		all[i] = tokens[i].ID
	}
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) {
		return nil, fmt.Errorf("%d of %d ids are there more than once", len(all)-n, len(all))
	}
	return all, nil
}

// shelf holds a list of tokens that changes between two requests.
type shelf struct {
	mu       sync.Mutex
	items    []any
	requests int
	states   [][]string // of the list so far, as sorted ids
	change   func(request int, items []any) []any
}

func (s *shelf) list() []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if changed := s.change(s.requests, s.items); len(changed) != len(s.items) || s.states == nil {
		s.items = changed
		s.states = append(s.states, idsOf(changed))
	}
	return s.items
}

func idsOf(items []any) []string {
	all := make([]string, len(items))
	for i, item := range items {
		all[i] = fmt.Sprintf("%v", item.(map[string]any)["id"])
	}
	slices.Sort(all)
	return all
}

func minimal(i int) any { return map[string]any{"id": fmt.Sprintf("t%06d", i)} }

// Whatever the number of tokens, the size of pages asked for and granted, what the
// server says of them, and the concurrency: every token is listed, once, also by the
// next listing.
func TestEveryTokenIsListedOnce(t *testing.T) {
	totals := map[string]func(n, length int) any{
		"true":               func(n, _ int) any { return n },
		"none":               func(int, int) any { return nil },
		"zero":               func(int, int) any { return 0 },
		"less":               func(n, _ int) any { return n / 2 },
		"one more":           func(n, _ int) any { return n + 1 },
		"double":             func(n, _ int) any { return 2*n + 10 },
		"huge":               func(int, int) any { return int64(1_000_000_000_000) },
		"negative":           func(int, int) any { return -1 },
		"text":               func(int, int) any { return "many" },
		"length of the page": func(_, length int) any { return length },
	}
	limits := map[string]func(pagination map[string]any){
		"granted":  func(map[string]any) {},
		"not said": func(pagination map[string]any) { delete(pagination, "limit") },
		"null":     func(pagination map[string]any) { pagination["limit"] = nil },
		"text":     func(pagination map[string]any) { pagination["limit"] = "1000" },
		"zero":     func(pagination map[string]any) { pagination["limit"] = 0 },
	}
	random := rand.New(rand.NewPCG(1, 2))
	for total, totalOf := range totals {
		for limitSaid, sayLimit := range limits {
			for range 3 {
				n, limit, clamp, concurrency := random.IntN(120), 1+random.IntN(40), 1+random.IntN(40), 1+random.IntN(8)
				name := fmt.Sprintf("total %s of %d, %d asked, %d granted, limit %s, %d at a time", total, n, limit, clamp, limitSaid, concurrency)
				t.Run(name, func(t *testing.T) {
					items := make([]any, n)
					for i := range items {
						items[i] = minimal(i)
					}
					says := faults.Pagination(func(length int, pagination map[string]any) {
						sayLimit(pagination)
						if pagination["total"] = totalOf(n, length); pagination["total"] == nil {
							delete(pagination, "total")
						}
					})
					cp := controlplanetest.Start(t, controlplanetest.Always(items...), says, faults.Clamp(clamp))
					c := newClient(t, cp.URL, known, func(cfg *client.Config) {
						cfg.PageSize, cfg.Limiter = limit, client.NewLimiter(concurrency)
					})
					for range 2 {
						before := len(cp.Requests())
						got, err := list(t.Context(), c)
						if err != nil {
							t.Fatal(err)
						}
						listed, err := ids(got.Tokens)
						if err != nil {
							t.Fatal(err)
						}
						if want := idsOf(items); !slices.Equal(listed, want) {
							t.Errorf("%d tokens instead of %d", len(listed), len(want))
						}
						if want, ok := totalOf(n, min(n, limit, clamp)).(int); ok && want >= 0 && got.Reported != int64(want) {
							t.Errorf("reported %d, want %d", got.Reported, want)
						}
						// Once or twice through the list, with no more in vain than may be on their way or decoded.
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

// A list that fits on one page takes one request if there are two signs that it is
// whole: it has fewer items than were asked for, and its total is their number. What
// else a server says must not contradict them.
func TestRequestsOfAListThatFitsOnOnePage(t *testing.T) {
	limit := func(limit any) func(int, map[string]any) {
		return func(_ int, pagination map[string]any) { pagination["limit"] = limit }
	}
	total := func(total any) func(int, map[string]any) {
		return func(_ int, pagination map[string]any) { pagination["total"] = total }
	}
	for _, tt := range []struct {
		name          string
		items         int
		says          func(length int, pagination map[string]any)
		first, second int // requests of the first listing, and of the next
	}{
		{"with the limit that was asked for", 3, limit(10), 1, 1},
		{"with a higher limit", 3, limit(1000), 1, 1},
		{"with a lower limit", 3, limit(9), 2, 2},
		{"with a limit that cannot be read", 3, limit("10"), 2, 2},
		{"with a negative limit", 3, limit(-1), 2, 2},
		{"without a limit, once it was read to its end", 3, limit(nil), 2, 1},
		{"with a total that is higher", 3, total(4), 6, 6}, // the list is read twice, with one page beyond the total
		{"with a total that is lower", 3, total(2), 2, 2},
		{"without a total", 3, total(nil), 2, 2},
		{"with a total that cannot be read", 3, total("3"), 2, 2},
		{"that is as long as a page", 10, limit(10), 2, 2},
		{"that is empty", 0, limit(nil), 1, 1},
		{"of one item", 1, limit(10), 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(tt.items)...), faults.Pagination(tt.says))
			c := newClient(t, cp.URL, known, func(cfg *client.Config) { cfg.PageSize = 10 })
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

// tick is a clock that a test sets.
type tick struct{ now time.Time }

func (c *tick) Now() time.Time { return c.now }

// Without the limit in the response, one listing per hour and kind proves that the
// first page is the whole list. What was learned is kept in the State.
func TestAListThatFitsOnOnePageIsReadToItsEndOnceAnHour(t *testing.T) {
	noLimit := faults.Pagination(func(_ int, pagination map[string]any) { delete(pagination, "limit") })
	cp := controlplanetest.StartKinds(t, controlplanetest.Key, controlplanetest.Tokens(3), controlplanetest.Tokens(2), noLimit)
	clock, state := &tick{time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC)}, new(client.State)
	requests := func(kind client.Kind) int {
		t.Helper()
		// A new client, as after a reload.
		c := newClient(t, cp.URL, known, func(cfg *client.Config) { cfg.Now, cfg.State = clock.Now, state })
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

// A server that clamps pages, calls a page's length the total and does not say its
// limit is found out by the first listing, and not trusted again.
func TestAServerThatCallsThePageTheTotalLosesTheShortcut(t *testing.T) {
	clamps := []controlplanetest.Fault{
		faults.Pagination(func(length int, pagination map[string]any) {
			pagination["total"] = length
			delete(pagination, "limit")
		}),
		faults.Clamp(4),
	}
	items := controlplanetest.Tokens(10)
	cp := controlplanetest.Start(t, func() []any { return items }, clamps...)
	clock := &tick{time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC)}
	c := newClient(t, cp.URL, known, func(cfg *client.Config) { cfg.PageSize, cfg.Now = 100, clock.Now })
	expect := func(tokens int, wrongTotal bool) {
		t.Helper()
		got, err := list(t.Context(), c)
		if err != nil || len(got.Tokens) != tokens || got.WrongTotal != wrongTotal {
			t.Errorf("got %+v, %v; want %d tokens, and a wrong total: %v", got, err, tokens, wrongTotal)
		}
	}
	expect(10, true)
	expect(10, false) // it was said
	items = items[:3]
	expect(3, false)
	items = controlplanetest.Tokens(10)
	expect(10, false) // that it was right in between changes nothing
	clock.now = clock.now.Add(2 * time.Hour)
	expect(10, false)
}

// A list that grows while it is read is not taken for a wrong total.
func TestAListThatGrowsDoesNotLoseTheShortcut(t *testing.T) {
	noLimit := faults.Pagination(func(_ int, pagination map[string]any) { delete(pagination, "limit") })
	requests := 0
	cp := controlplanetest.Start(t, func() []any {
		if requests++; requests == 1 {
			return controlplanetest.Tokens(3)
		}
		return controlplanetest.Tokens(4)
	}, noLimit)
	c := newClient(t, cp.URL, known)
	for range 2 {
		if got, err := list(t.Context(), c); err != nil || len(got.Tokens) != 4 || got.WrongTotal {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	if n := len(cp.Requests()); n != 2+2+1 { // once, once more since it changed, and the next listing
		t.Errorf("%d requests", n)
	}
}

// The list may have exactly as many items as are allowed, whatever they are and
// however they are split into pages.
func TestTheNumberOfTokensIsBounded(t *testing.T) {
	const most = 30
	odd := func(n int) []any { // with duplicates and items that cannot be read
		all := controlplanetest.Tokens(n - 10)
		for i := range 5 {
			all = append(all, i, controlplanetest.Token(0))
		}
		return all
	}
	noTotal := faults.Total(func(int) any { return nil })
	for name, faultsOf := range map[string][]controlplanetest.Fault{
		"with a total": nil, "without a total": {noTotal}, "granted all at once": {faults.Clamp(1)},
	} {
		for _, pageSize := range []int{1, 7, 30, 31, 1000} {
			for kind, items := range map[string]func(n int) []any{"tokens": controlplanetest.Tokens, "odd items": odd} {
				t.Run(fmt.Sprintf("%s of %s in pages of %d", kind, name, pageSize), func(t *testing.T) {
					for n, fits := range map[int]bool{most: true, most + 1: false} {
						cp := controlplanetest.Start(t, controlplanetest.Always(items(n)...), faultsOf...)
						got, err := list(t.Context(), newClient(t, cp.URL, known, func(cfg *client.Config) { cfg.PageSize, cfg.MaxTokens = pageSize, most }))
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

// A list of new tokens without an end takes no more requests than fit into the limit.
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
	_, err := list(t.Context(), newClient(t, "http://acme.example", known, func(cfg *client.Config) {
		cfg.PageSize, cfg.MaxTokens, cfg.Limiter, cfg.Transport = pageSize, most, client.NewLimiter(concurrency), transport
	}))
	wantError(t, err, client.ReasonTooLarge)
	if n := len(cp.Requests()); n > most/pageSize+2*concurrency {
		t.Errorf("%d requests for %d items in pages of %d", n, most, pageSize)
	}
}

// A list that changes while it is read is read again: what comes out is the
// list as it was at one moment.
func TestListThatChangesOnceIsListedAsItIs(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 60 {
		n, limit, concurrency := 20+random.IntN(80), 1+random.IntN(30), 1+random.IntN(6)
		at, by, place := 1+random.IntN(12), 1+random.IntN(15), random.IntN(20)
		grows := i%2 == 0
		t.Run(fmt.Sprintf("%d tokens in pages of %d, %d at a time, request %d, %d at %d, grows %v", n, limit, concurrency, at, by, place, grows), func(t *testing.T) {
			s := &shelf{change: func(request int, items []any) []any {
				switch {
				case request != at:
					return items
				case grows:
					var added []any
					for i := range by {
						added = append(added, minimal(n+i))
					}
					return slices.Insert(slices.Clone(items), place, added...)
				}
				return slices.Delete(slices.Clone(items), place, min(len(items), place+by))
			}}
			for i := range n {
				s.items = append(s.items, minimal(i))
			}
			s.states = append(s.states, idsOf(s.items))
			cp := controlplanetest.Start(t, s.list)
			got, err := list(t.Context(), newClient(t, cp.URL, known, func(cfg *client.Config) {
				cfg.PageSize, cfg.Limiter = limit, client.NewLimiter(concurrency)
			}))
			if err != nil {
				t.Fatal(err)
			}
			listed, err := ids(got.Tokens)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(s.states, func(state []string) bool { return slices.Equal(state, listed) }) {
				t.Errorf("%d tokens, which the list never was", len(listed))
			}
		})
	}
}

func TestListIsListedOnceMore(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  controlplanetest.Fault
		tokens int
		again  bool
	}{
		{"not where all is well", faults.Total(func(n int) any { return n }), 10, false},
		{"not where no total is told", faults.Total(func(int) any { return nil }), 10, false},
		{"not where more came than was told", faults.Total(func(int) any { return 9 }), 10, false},
		{"where less came than was told, and exported with the gap", faults.Total(func(int) any { return 11 }), 10, true},
		{"where pages told different totals", faults.At(4, faults.Total(func(int) any { return 9 })), 10, true},
		{"where a page in the middle was empty, and exported with the gap", faults.EmptyPage(4), 6, true},
		{"where a page was empty once", faults.At(4, faults.First(1, faults.EmptyPage(4))), 10, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(10)...), tt.fault)
			got, err := list(t.Context(), newClient(t, cp.URL, known, func(cfg *client.Config) { cfg.PageSize = 4 }))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Tokens) != tt.tokens {
				t.Errorf("%d tokens, want %d", len(got.Tokens), tt.tokens)
			}
			firsts := 0
			for _, request := range cp.Requests() {
				if request == "GET /api/svc/v1/personal-access-tokens?limit=4&offset=0" {
					firsts++
				}
			}
			if again := firsts > 1; again != tt.again || firsts > 2 {
				t.Errorf("listed %d times", firsts)
			}
		})
	}
}

func TestListWithoutAnEndIsIncomplete(t *testing.T) {
	var made atomic.Int64
	always := controlplanetest.Always(controlplanetest.Tokens(10)...)
	for _, tt := range []struct {
		name   string
		items  func() []any
		faults []controlplanetest.Fault
	}{
		{"where the first page repeats for ever", always, []controlplanetest.Fault{faults.IgnoreOffset()}},
		{
			"where it repeats below a total without end", always,
			[]controlplanetest.Fault{faults.IgnoreOffset(), faults.Total(func(int) any { return int64(1_000_000_000_000) })},
		},
		{
			"where every page is unreadable", controlplanetest.Always(1, 2, 3, 4),
			[]controlplanetest.Fault{faults.IgnoreOffset(), faults.Total(func(int) any { return nil })},
		},
		{"where every page is new", func() []any { return []any{minimal(int(made.Add(1)))} }, []controlplanetest.Fault{faults.IgnoreOffset(), faults.Total(func(int) any { return nil })}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cp := controlplanetest.New(t, tt.items)
			transport, stop := controlplanetest.InMemory(cp.With(tt.faults...))
			defer stop()
			got, err := list(t.Context(), newClient(t, "http://acme.example", known, func(cfg *client.Config) {
				cfg.PageSize, cfg.Transport = 4, transport
			}))
			if reasonOf(err) != client.ReasonIncomplete || got != nil {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestRequestsAtAControlPlaneAreLimitedWhoeverAsks(t *testing.T) {
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
			<-full // at first, so that the limit is reached
			next.ServeHTTP(w, r)
		})
	}
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(100)...), count)
	limiter := client.NewLimiter(limit)
	var wg sync.WaitGroup
	for range 4 {
		c := newClient(t, cp.URL, known, func(cfg *client.Config) { cfg.PageSize, cfg.Limiter = 3, limiter })
		wg.Go(func() {
			if got, err := list(t.Context(), c); err != nil || len(got.Tokens) != 100 {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if most.Load() != limit {
		t.Errorf("%d requests at a time, want %d", most.Load(), limit)
	}
}

// retried runs a listing in a synctest bubble, where waits cost no time.
func retried(t *testing.T, timeout time.Duration, fault controlplanetest.Fault, check func(list func() (took time.Duration, retries int, err error))) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cp := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(10)...))
		transport, stop := controlplanetest.InMemory(cp.With(fault))
		defer stop()
		retries := 0
		c := newClient(t, "http://acme.example", known, func(cfg *client.Config) {
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
		name         string
		fault        controlplanetest.Fault
		timeout      time.Duration
		reason       client.Reason // empty where the listing works
		retries      int
		least, most  time.Duration
		bannedReason client.Reason // of the next listing
	}{
		{name: "a connection that is reset", fault: faults.First(1, faults.Reset()), retries: 1, least: s / 4, most: s / 2},
		{name: "408", fault: faults.First(1, faults.Status(408)), retries: 1, least: s / 4, most: s / 2},
		{name: "429 without Retry-After", fault: faults.First(1, faults.Status(429)), retries: 1, least: s / 4, most: s / 2},
		{name: "502", fault: faults.First(1, faults.Status(502)), retries: 1, least: s / 4, most: s / 2},
		{name: "503", fault: faults.First(1, faults.Status(503)), retries: 1, least: s / 4, most: s / 2},
		{name: "504, twice", fault: faults.First(2, faults.Status(504)), retries: 2, least: s * 3 / 4, most: s * 3 / 2},
		{name: "twice a listing, not a page", fault: faults.First(1, faults.Status(502)), retries: 1, least: s / 4, most: s / 2},
		{name: "not three times", fault: faults.First(3, faults.Status(504)), reason: client.ReasonServerError, retries: 2, least: s * 3 / 4, most: s * 3 / 2},
		{name: "not 500", fault: faults.First(1, faults.Status(500)), reason: client.ReasonServerError},
		{name: "not 409", fault: faults.First(1, faults.Status(409)), reason: client.ReasonClientError},
		{name: "not what is no JSON", fault: faults.First(1, faults.Body("<html>")), reason: client.ReasonBadResponse},
		{name: "after what Retry-After says, in seconds", fault: faults.First(1, faults.Status(429, "Retry-After", "7")), retries: 1, least: 7 * s, most: 7 * s},
		{name: "after what Retry-After says, as a date", fault: faults.First(1, retryAt(8*s)), retries: 1, least: 7 * s, most: 8 * s},
		{name: "after a Retry-After of 0 all the same", fault: faults.First(1, faults.Status(503, "Retry-After", "0")), retries: 1, least: s / 4, most: s / 2},
		{name: "after a Retry-After that is rubbish", fault: faults.First(1, faults.Status(503, "Retry-After", "soon")), retries: 1, least: s / 4, most: s / 2},
		{name: "after a Retry-After in the past", fault: faults.First(1, retryAt(-time.Hour)), retries: 1, least: s / 4, most: s / 2},
		{name: "not where Retry-After is beyond all numbers", fault: faults.First(1, faults.Status(429, "Retry-After", "99999999999999999999")), reason: client.ReasonRateLimited, bannedReason: client.ReasonRateLimited},
		{name: "not where the backoff does not fit", fault: faults.First(1, faults.Status(503)), timeout: s / 5, reason: client.ReasonServerError},
		{name: "not where Retry-After does not fit", fault: faults.First(1, faults.Status(429, "Retry-After", "30")), reason: client.ReasonRateLimited, bannedReason: client.ReasonRateLimited},
		{name: "not where Retry-After of a 503 does not fit", fault: faults.First(1, faults.Status(503, "Retry-After", "30")), reason: client.ReasonServerError, bannedReason: client.ReasonRateLimited},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.timeout == 0 {
				tt.timeout = 10 * s
			}
			retried(t, tt.timeout, tt.fault, func(list func() (time.Duration, int, error)) {
				took, retries, err := list()
				if reason := reasonOf(err); reason != tt.reason {
					t.Fatalf("failed as %q, want %q: %v", reason, tt.reason, err)
				}
				if retries != tt.retries || took < tt.least || took > tt.most {
					t.Errorf("%d retries in %v, want %d in %v to %v", retries, took, tt.retries, tt.least, tt.most)
				}
				if _, _, err := list(); reasonOf(err) != tt.bannedReason {
					t.Errorf("the next listing failed as %q, want %q", reasonOf(err), tt.bannedReason)
				}
			})
		})
	}
}

// When time is up, the failure that made a retry necessary says more than that.
func TestARetryThatIsTooLate(t *testing.T) {
	const late = ", and the scrape's deadline passed before a retry succeeded"
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
		{"after a 502", once(faults.Status(502)), client.ReasonServerError, 1, "502 Bad Gateway" + late},
		{"after a 502 of a later page", faults.At(4, once(faults.Status(502))), client.ReasonServerError, 1, "502 Bad Gateway" + late},
		{"after a 429 of one page while another one hangs", pages(map[string]controlplanetest.Fault{"4": faults.Hang(), "8": once(faults.Status(429))}), client.ReasonRateLimited, 1, "429 Too Many Requests" + late},
		{"after a reset", once(faults.Reset()), client.ReasonConnection, 1, "the connection failed: it was closed before the response was complete" + late},
		{"after no failure", faults.Hang(), client.ReasonTimeout, 0, "no response from acme.example:80 within the scrape's deadline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			retried(t, 10*time.Second, tt.fault, func(list func() (time.Duration, int, error)) {
				took, retries, err := list()
				wantEqual(t, wantError(t, err, tt.reason).Summary, tt.want)
				wantEqual(t, retries, tt.retries)
				wantEqual(t, took, 10*time.Second)
			})
		})
	}
}

// pages lets each of the faults answer the requests for its offset.
func pages(byOffset map[string]controlplanetest.Fault) controlplanetest.Fault {
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

// The deadline may pass while a listing waits for a retry: it moves when a scrape that
// shares the listing leaves.
func TestADeadlineThatComesBeforeARetry(t *testing.T) {
	for _, tt := range []struct {
		name   string
		cause  error
		reason client.Reason
		want   string
	}{
		{"is told with what failed", context.DeadlineExceeded, client.ReasonServerError, "503 Service Unavailable, and the scrape's deadline passed before a retry succeeded"},
		{"is none if nobody waits", context.Canceled, "", "the listing was cancelled because nobody waits for it any more"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cp := controlplanetest.New(t, controlplanetest.Always())
				transport, stop := controlplanetest.InMemory(cp.With(faults.Status(503, "Retry-After", "5")))
				defer stop()
				c := newClient(t, "http://acme.example", known, func(cfg *client.Config) { cfg.Transport = transport })
				ctx, cancel := context.WithCancelCause(t.Context())
				time.AfterFunc(time.Second, func() { cancel(tt.cause) })
				_, err := list(ctx, c)
				wantEqual(t, wantError(t, err, tt.reason).Summary, tt.want)
				wantEqual(t, len(cp.Requests()), 1)
			})
		})
	}
}

// A listing that never got to send anything is no sign of a slow control plane.
func TestAListingThatOthersKeepWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cp := controlplanetest.New(t, controlplanetest.Always())
		transport, stop := controlplanetest.InMemory(cp.With(faults.Hang()))
		defer stop()
		c := newClient(t, "http://acme.example", known, func(cfg *client.Config) {
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
		wantText(t, e.Summary, "nothing could be sent within the scrape's deadline, because requests of other listings")
		wantEqual(t, len(cp.Requests()), 1)
		end()
		ended.Wait()
	})
}

// retryAt asks to come back so much later, by the clock at the time.
func retryAt(after time.Duration) controlplanetest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at := time.Now().Add(after).UTC().Format(http.TimeFormat)
			faults.Status(http.StatusTooManyRequests, "Retry-After", at)(next).ServeHTTP(w, r)
		})
	}
}

func reasonOf(err error) client.Reason {
	var failure *client.Error
	if !errors.As(err, &failure) {
		return ""
	}
	return failure.Reason
}

func TestRetryAfterThatDoesNotFitIsHeededForAtMostFiveMinutes(t *testing.T) {
	for header, ban := range map[string]time.Duration{"100": 100 * time.Second, "3600": 5 * time.Minute} {
		t.Run(header, func(t *testing.T) {
			var asked atomic.Int64
			fault := func(next http.Handler) http.Handler {
				limited := faults.First(1, faults.Status(http.StatusTooManyRequests, "Retry-After", header))(next)
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					asked.Add(1)
					limited.ServeHTTP(w, r)
				})
			}
			retried(t, 10*time.Second, fault, func(list func() (time.Duration, int, error)) {
				if _, _, err := list(); reasonOf(err) != client.ReasonRateLimited {
					t.Fatal(err)
				}
				<-time.After(ban - time.Second)
				took, _, err := list()
				if reasonOf(err) != client.ReasonRateLimited || took != 0 || asked.Load() != 1 {
					t.Errorf("before its end: %v after %v and %d requests", err, took, asked.Load())
				}
				wantText(t, err.Error(), `as the response "429 Too Many Requests" demanded with Retry-After`)
				<-time.After(time.Second)
				if _, _, err := list(); err != nil {
					t.Errorf("after its end: %v", err)
				}
			})
		})
	}
}

// A Retry-After that does not fit also ends the listings under way.
func TestRetryAfterThatDoesNotFitEndsTheListingsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cp := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(3)...))
		transport, stop := controlplanetest.InMemory(cp.With(faults.Status(http.StatusTooManyRequests, "Retry-After", "3600")))
		defer stop()
		c := newClient(t, "http://acme.example", known, func(cfg *client.Config) {
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

// While one request waits for what Retry-After says, the others do not go on.
func TestRetryAfterHoldsBackTheOtherPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var mu sync.Mutex
		var at []time.Duration
		var refused time.Duration
		note := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				at = append(at, time.Since(start))
				if r.FormValue("offset") == "4" && refused == 0 {
					refused = time.Since(start) + time.Second
				}
				mu.Unlock()
				<-time.After(time.Second)
				next.ServeHTTP(w, r)
			})
		}
		cp := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(30)...))
		transport, stop := controlplanetest.InMemory(cp.With(note, faults.At(4, faults.First(1, faults.Status(429, "Retry-After", "20")))))
		defer stop()
		c := newClient(t, "http://acme.example", known, func(cfg *client.Config) {
			cfg.Transport, cfg.PageSize, cfg.Limiter = transport, 4, client.NewLimiter(2)
		})
		if got, err := list(t.Context(), c); err != nil || len(got.Tokens) != 30 {
			t.Fatal(got, err)
		}
		for _, after := range at {
			if after > refused && after < refused+20*time.Second {
				t.Errorf("a request %v after the start, %v after one was refused", after, after-refused)
			}
		}
	})
}

func TestConnectionsAreUsedAgain(t *testing.T) {
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
	c := newClient(t, server.URL, known, func(cfg *client.Config) {
		cfg.PageSize, cfg.Limiter = 1, client.NewLimiter(limit)
		cfg.Transport = &http.Transport{MaxIdleConnsPerHost: limit}
	})
	if _, err := list(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	// A dial may lose against a connection that is free first, and is not used then.
	if n := opened.Load(); n > 2*limit {
		t.Errorf("%d connections for %d requests, %d at a time", n, len(cp.Requests()), limit)
	}
}

// An invalid value of a token counts once, as the token does.
func TestInvalidValuesOfRepeatedTokensCountOnce(t *testing.T) {
	bad := func(i int) any { return map[string]any{"id": fmt.Sprintf("t%d", i), "createdAt": "yesterday"} }
	cp := controlplanetest.Start(t, controlplanetest.Always(bad(1), bad(2), bad(1), bad(3)))
	got, err := list(t.Context(), newClient(t, cp.URL, known, func(cfg *client.Config) { cfg.PageSize = 2 }))
	if err != nil {
		t.Fatal(err)
	}
	if got.Duplicates != 1 || got.InvalidFields["createdAt"] != 3 || len(got.Examples) != 3 {
		t.Errorf("got %+v", got)
	}
}
