package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
)

// pageSize is what the exporter asks for at a time: lists have several pages.
const pageSize = 10

// listing is one account asked for one kind of token.
type listing struct {
	target string
	kind   client.Kind
}

// held is a token as a control plane holds it, and the series that it must have.
type held struct {
	fakecontrolplane.Token
	want map[string]float64
}

// version is a list at one moment. It never changes.
type version []*held

// page is an answer that was sent with status 200. Each token in it tells, as the
// time of its last use, with which page it came: so each series of a scrape says
// what it was made from.
type page struct {
	serial int64
	of     listing
	offset int
	list   version // what the control plane held
	items  version // what it sent of that
	// shown is when a scrape that was answered first had it, 0 where none has.
	shown int64
	// shortened is that it sent fewer than it was asked for, and had.
	shortened bool
}

// truth is what the control planes hold, what they have answered, and what they
// have done wrong.
type truth struct {
	mu       sync.Mutex
	random   *rand.Rand
	calm     bool // no faults
	keys     map[string]string
	accounts map[string]string // by key, those of the past included
	lists    map[listing]version
	created  int
	// pages are those since forget, by serial, and serial is the last one's.
	pages  map[int64]*page
	serial int64
	// clock orders the beginnings and ends of scrapes.
	clock int64
	// injected counts the answers that can fail a listing for a reason.
	injected map[listing]map[client.Reason]int
	changes  int
}

func newTruth(seed uint64) *truth {
	return &truth{
		random: rand.New(rand.NewPCG(seed, 0)), calm: true, keys: map[string]string{}, accounts: map[string]string{},
		lists: map[listing]version{}, pages: map[int64]*page{}, injected: map[listing]map[client.Reason]int{},
	}
}

// add adds an account, which has about n tokens of each kind.
func (tr *truth) add(target string, n int) {
	for _, kind := range client.Kinds() {
		of := listing{target, kind}
		tr.injected[of] = map[client.Reason]int{}
		for range n + tr.random.IntN(n) {
			tr.lists[of] = append(tr.lists[of], tr.create())
		}
	}
	tr.rotateKey(target)
}

// rotateKey gives an account another key, and returns it.
func (tr *truth) rotateKey(target string) string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	key := fmt.Sprintf("%s%s-%d", canary, target, len(tr.accounts))
	tr.keys[target], tr.accounts[key] = key, target
	return key
}

// canary begins all keys.
const canary = "s3cret-"

func (tr *truth) create() *held {
	tr.created++
	token := controlplanetest.Token(tr.created)
	if tr.random.IntN(5) == 0 {
		token.JWTs[0].Expiry = nil
	}
	return hold(token)
}

// hold notes which series the token must have.
func hold(token fakecontrolplane.Token) *held {
	current := token.JWTs[len(token.JWTs)-1]
	h := &held{token, map[string]float64{
		"truefoundry_token_info":                      1,
		"truefoundry_token_has_expiry":                0,
		"truefoundry_token_expired":                   0,
		"truefoundry_token_replaced":                  0,
		"truefoundry_token_created_timestamp_seconds": float64(token.CreatedAt.Unix()),
		"truefoundry_token_issued_timestamp_seconds":  float64(current.CreatedAt.Unix()),
	}}
	if current.Expiry != nil {
		h.want["truefoundry_token_has_expiry"] = 1
		h.want["truefoundry_token_expiry_timestamp_seconds"] = float64(current.Expiry.Unix())
	}
	if len(token.JWTs) > 1 && token.JWTs[0].Expiry != nil {
		h.want["truefoundry_token_previous_jwt_expiry_timestamp_seconds"] = float64(token.JWTs[0].Expiry.Unix())
	}
	return h
}

// lastUsed says when a token was last used: that tells the page.
const lastUsed = "truefoundry_token_last_accessed_timestamp_seconds"

func lastUse(serial int64) time.Time {
	return controlplanetest.Issued.Add(time.Duration(serial) * time.Second)
}

// change creates, deletes or rotates a token of some list.
func (tr *truth) change() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.changes++
	targets := []string{steady, flaky, second, guest}
	kinds := client.Kinds()
	of := listing{targets[tr.random.IntN(len(targets))], kinds[tr.random.IntN(len(kinds))]}
	list := slices.Clone(tr.lists[of])
	at := tr.random.IntN(len(list))
	switch n := tr.random.IntN(4); {
	case n == 0 && len(list) < 4*pageSize:
		list = slices.Insert(list, at, tr.create())
	case n == 1 && len(list) > pageSize:
		list = slices.Delete(list, at, at+1)
	default:
		list[at] = rotated(list[at].Token)
	}
	tr.lists[of] = list
}

// rotated is the token with another JWT, the one before still being valid.
func rotated(token fakecontrolplane.Token) *held {
	before := token.JWTs[len(token.JWTs)-1]
	next := before
	next.CreatedAt = before.CreatedAt.Add(time.Hour)
	expiry := next.CreatedAt.AddDate(0, 0, 90)
	next.Expiry = &expiry
	next.ID = fmt.Sprintf("%s-%d", token.ID, expiry.Unix())
	token.JWTID, token.JWTs = next.ID, []fakecontrolplane.JWT{before, next}
	return hold(token)
}

// forget forgets the pages so far, of which no scrape may be made any more.
func (tr *truth) forget() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	clear(tr.pages)
}

// now returns the serial of the last page.
func (tr *truth) now() int64 {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.serial
}

// tick returns the next moment.
func (tr *truth) tick() int64 {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.clock++
	return tr.clock
}

// setCalm ends the faults, or begins them.
func (tr *truth) setCalm(calm bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.calm = calm
}

// trouble is something that a control plane does wrong, and how it can fail a
// listing, if it does.
type trouble struct {
	reasons []client.Reason
	fault   controlplanetest.Fault
}

// troubles are drawn with equal chances.
func troubles() []trouble {
	serverError, rateLimited := client.ReasonServerError, client.ReasonRateLimited
	return []trouble{
		{[]client.Reason{serverError}, faults.Status(http.StatusInternalServerError)},
		{[]client.Reason{serverError}, faults.Status(http.StatusBadGateway)},
		{[]client.Reason{serverError}, faults.Status(http.StatusServiceUnavailable, "Retry-After", "0")},
		{[]client.Reason{serverError, banned}, faults.Status(http.StatusServiceUnavailable, "Retry-After", "1")},
		{[]client.Reason{rateLimited}, faults.Status(http.StatusTooManyRequests, "Retry-After", "0")},
		{[]client.Reason{rateLimited, banned}, faults.Status(http.StatusTooManyRequests, "Retry-After", "1")},
		{[]client.Reason{client.ReasonUnauthorized}, faults.Status(http.StatusUnauthorized)},
		{[]client.Reason{client.ReasonForbidden}, faults.Status(http.StatusForbidden)},
		{[]client.Reason{client.ReasonClientError}, faults.Status(http.StatusNotFound)},
		{[]client.Reason{client.ReasonRedirect}, faults.Status(http.StatusFound, "Location", "/login")},
		{[]client.Reason{client.ReasonConnection}, faults.Reset()},
		{[]client.Reason{client.ReasonConnection}, cutShort},
		{[]client.Reason{client.ReasonTimeout}, faults.Hang()},
		{[]client.Reason{client.ReasonBadResponse}, faults.Body("<html>Sign in</html>")},
		{[]client.Reason{client.ReasonBadResponse}, faults.Body("{}")},
		{[]client.Reason{client.ReasonBadResponse}, faults.Body(`{"data":[{"id":"t`)},
		// These two make no listing fail; it is read once more.
		{nil, faults.Clamp(3)},
		{nil, empty},
	}
}

// banned stands for what lasts: listings fail without being sent.
const banned client.Reason = "banned"

// emptied, in a request's context, is that its answer is to have no items.
type emptied struct{}

// empty answers with an empty page, which tells the true total.
func empty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), emptied{}, true)))
	})
}

// cutShort closes the connection in the middle of the answer.
func cutShort(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		body := answer.Body.Bytes()
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Header().Set("Content-Encoding", answer.Header().Get("Content-Encoding"))
		w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	})
}

// serve serves the accounts until the test ends, with so many faults in a
// thousand requests. The accounts are the same wherever they are served.
func (tr *truth) serve(t *testing.T, troublesome map[string]int) (url string) {
	t.Helper()
	p := &plane{truth: tr, troublesome: troublesome, troubles: troubles()}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return server.URL
}

// plane is a control plane.
type plane struct {
	*truth
	troublesome map[string]int
	troubles    []trouble
	// desks answer one request at a time each, so that they know which.
	desks sync.Pool
}

// desk is a fakecontrolplane.Server for one request at a time.
type desk struct {
	fakecontrolplane.Server
	items []any
}

// ServeHTTP implements http.Handler.
func (p *plane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	endpoint := strings.TrimPrefix(r.URL.Path, fakecontrolplane.Prefix+"/v1/")
	p.mu.Lock()
	of := listing{p.accounts[key], client.Kind(strings.TrimSuffix(endpoint, "s"))}
	injected := p.injected[of]
	if injected == nil { // not a list: the exporter says client_error, and the test fails
		p.mu.Unlock()
		http.NotFound(w, r)
		return
	}
	fault := controlplanetest.Fault(func(next http.Handler) http.Handler { return next })
	switch {
	case p.keys[of.target] != key:
		injected[client.ReasonUnauthorized]++
		fault = faults.Status(http.StatusUnauthorized)
	case !p.calm && p.random.IntN(1000) < p.troublesome[of.target]:
		drawn := p.troubles[p.random.IntN(len(p.troubles))]
		for _, reason := range drawn.reasons {
			injected[reason]++
		}
		fault = drawn.fault
	}
	p.mu.Unlock()
	fault(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.answer(w, r, of, key) })).ServeHTTP(w, r)
}

// answer sends a page, and notes it before.
func (p *plane) answer(w http.ResponseWriter, r *http.Request, of listing, key string) {
	var limit, offset int
	if _, err := fmt.Sscanf(r.URL.Query().Get("limit")+" "+r.URL.Query().Get("offset"), "%d %d", &limit, &offset); err != nil {
		panic(err)
	}
	p.mu.Lock()
	p.serial++
	list := p.lists[of]
	if r.Context().Value(emptied{}) != nil {
		limit = 0
	}
	from := min(offset, len(list))
	sent := &page{serial: p.serial, of: of, offset: offset, list: list, items: list[from:min(from+limit, len(list))], shortened: limit < pageSize}
	p.pages[sent.serial] = sent
	p.mu.Unlock()

	if limit == 0 {
		faults.Body(fmt.Sprintf(`{"data":[],"pagination":{"total":%d}}`, len(list)))(nil).ServeHTTP(w, r)
		return
	}
	d, ok := p.desks.Get().(*desk)
	if !ok {
		d = &desk{}
		d.Items = func(string) []any { return d.items }
	}
	defer p.desks.Put(d)
	d.Key, d.items = key, make([]any, len(list))
	used := lastUse(sent.serial)
	for i, h := range list {
		token := h.Token
		token.LastAccessedAt = &used
		d.items[i] = token
	}
	d.ServeHTTP(w, r)
}
