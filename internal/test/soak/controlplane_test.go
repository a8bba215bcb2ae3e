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

// pageSize is the page size of the exporter. Lists have several pages.
const pageSize = 10

// listing identifies the list of an account and a kind of token.
type listing struct {
	target string
	kind   client.Kind
}

// expectedToken is a token with its expected metrics.
type expectedToken struct {
	fakecontrolplane.Token
	want map[string]float64
}

// tokenList is a version of a list. It never changes.
type tokenList []*expectedToken

// page is a page that was sent. The serial of the page is encoded in the time of the last
// use of each of its tokens, so that metrics tell which page they are from.
type page struct {
	serial  int64
	listing listing
	offset  int
	list    tokenList // the list of the control plane
	items   tokenList // the part that was sent
	// shown is the clock at the end of the first scrape that exposed the page, or 0.
	shown int64
	// shortened is true if fewer items were sent than requested.
	shortened bool
}

// truth is the state of all control planes, with the pages and faults that they have sent.
type truth struct {
	mu       sync.Mutex
	random   *rand.Rand
	healthy  bool // no faults
	keys     map[string]string
	accounts map[string]string // by key, including replaced keys
	lists    map[listing]tokenList
	created  int
	// pages are the pages since forget by serial. serial is the last one.
	pages  map[int64]*page
	serial int64
	// clock orders the starts and ends of scrapes.
	clock int64
	// injected counts the faults by the reason for which they may fail a listing.
	injected map[listing]map[client.Reason]int
	changes  int
}

func newTruth(seed uint64) *truth {
	return &truth{
		random: rand.New(rand.NewPCG(seed, 0)), healthy: true, keys: map[string]string{}, accounts: map[string]string{},
		lists: map[listing]tokenList{}, pages: map[int64]*page{}, injected: map[listing]map[client.Reason]int{},
	}
}

// add adds an account with n to 2n tokens of each kind.
func (tr *truth) add(target string, n int) {
	for _, kind := range client.Kinds() {
		l := listing{target, kind}
		tr.injected[l] = map[client.Reason]int{}
		for range n + tr.random.IntN(n) {
			tr.lists[l] = append(tr.lists[l], tr.create())
		}
	}
	tr.rotateKey(target)
}

// rotateKey replaces the key of an account and returns the new one.
func (tr *truth) rotateKey(target string) string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	key := fmt.Sprintf("%s%s-%d", canary, target, len(tr.accounts))
	tr.keys[target], tr.accounts[key] = key, target
	return key
}

// canary is the prefix of all keys.
const canary = "s3cret-"

// create returns a new token.
func (tr *truth) create() *expectedToken {
	tr.created++
	token := controlplanetest.Token(tr.created)
	if tr.random.IntN(5) == 0 {
		token.JWTs[0].Expiry = nil
	}
	return newExpectedToken(token)
}

// newExpectedToken returns a token with its expected metrics.
func newExpectedToken(token fakecontrolplane.Token) *expectedToken {
	current := token.JWTs[len(token.JWTs)-1]
	h := &expectedToken{token, map[string]float64{
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

// lastAccessedMetric is the metric that encodes the serial of a page.
const lastAccessedMetric = "truefoundry_token_last_accessed_timestamp_seconds"

// lastAccess returns the time that encodes a serial.
func lastAccess(serial int64) time.Time {
	return controlplanetest.Issued.Add(time.Duration(serial) * time.Second)
}

// change creates, deletes or rotates a token of a random list.
func (tr *truth) change() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.changes++
	targets := []string{steady, flaky, second, guest}
	kinds := client.Kinds()
	l := listing{targets[tr.random.IntN(len(targets))], kinds[tr.random.IntN(len(kinds))]}
	list := slices.Clone(tr.lists[l])
	at := tr.random.IntN(len(list))
	switch n := tr.random.IntN(4); {
	case n == 0 && len(list) < 4*pageSize:
		list = slices.Insert(list, at, tr.create())
	case n == 1 && len(list) > pageSize:
		list = slices.Delete(list, at, at+1)
	default:
		list[at] = rotated(list[at].Token)
	}
	tr.lists[l] = list
}

// rotated returns the token with a new JWT. The previous one is still valid.
func rotated(token fakecontrolplane.Token) *expectedToken {
	before := token.JWTs[len(token.JWTs)-1]
	next := before
	next.CreatedAt = before.CreatedAt.Add(time.Hour)
	expiry := next.CreatedAt.AddDate(0, 0, 90)
	next.Expiry = &expiry
	next.ID = fmt.Sprintf("%s-%d", token.ID, expiry.Unix())
	token.JWTID, token.JWTs = next.ID, []fakecontrolplane.JWT{before, next}
	return newExpectedToken(token)
}

// forget deletes the pages so far. No scrape may contain them any more.
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

// tick advances the clock.
func (tr *truth) tick() int64 {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.clock++
	return tr.clock
}

// setHealthy disables or enables faults.
func (tr *truth) setHealthy(healthy bool) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.healthy = healthy
}

// faultCase is a fault, with the reasons for which it may fail a listing.
type faultCase struct {
	reasons []client.Reason
	fault   controlplanetest.Fault
}

// faultCases returns all faults. They have equal probabilities.
func faultCases() []faultCase {
	serverError, rateLimited := client.ReasonServerError, client.ReasonRateLimited
	return []faultCase{
		{[]client.Reason{serverError}, faults.Status(http.StatusInternalServerError)},
		{[]client.Reason{serverError}, faults.Status(http.StatusBadGateway)},
		{[]client.Reason{serverError}, faults.Status(http.StatusServiceUnavailable, "Retry-After", "0")},
		{[]client.Reason{serverError, retryAfter}, faults.Status(http.StatusServiceUnavailable, "Retry-After", "1")},
		{[]client.Reason{rateLimited}, faults.Status(http.StatusTooManyRequests, "Retry-After", "0")},
		{[]client.Reason{rateLimited, retryAfter}, faults.Status(http.StatusTooManyRequests, "Retry-After", "1")},
		{[]client.Reason{client.ReasonUnauthorized}, faults.Status(http.StatusUnauthorized)},
		{[]client.Reason{client.ReasonForbidden}, faults.Status(http.StatusForbidden)},
		{[]client.Reason{client.ReasonClientError}, faults.Status(http.StatusNotFound)},
		{[]client.Reason{client.ReasonRedirect}, faults.Status(http.StatusFound, "Location", "/login")},
		{[]client.Reason{client.ReasonConnection}, faults.Reset()},
		{[]client.Reason{client.ReasonConnection}, truncate},
		{[]client.Reason{client.ReasonTimeout}, faults.Hang()},
		{[]client.Reason{client.ReasonBadResponse}, faults.Body("<html>Sign in</html>")},
		{[]client.Reason{client.ReasonBadResponse}, faults.Body("{}")},
		{[]client.Reason{client.ReasonBadResponse}, faults.Body(`{"data":[{"id":"t`)},
		// These do not fail a listing: the exporter reads the list again.
		{nil, faults.Clamp(3)},
		{nil, empty},
	}
}

// retryAfter stands for a Retry-After, during which listings fail without a request.
const retryAfter client.Reason = "retry_after"

// emptyPageKey is the context key of requests that get an empty page.
type emptyPageKey struct{}

// empty responds with an empty page and the correct total.
func empty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), emptyPageKey{}, true)))
	})
}

// truncate closes the connection in the middle of the response.
func truncate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		response := httptest.NewRecorder()
		next.ServeHTTP(response, r)
		body := response.Body.Bytes()
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Header().Set("Content-Encoding", response.Header().Get("Content-Encoding"))
		w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	})
}

// serve starts a control plane that serves all accounts until the test ends.
func (tr *truth) serve(t *testing.T, faultRates map[string]int) (url string) {
	t.Helper()
	p := &controlPlane{truth: tr, faultRates: faultRates, faultCases: faultCases()}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return server.URL
}

// controlPlane is a control plane.
type controlPlane struct {
	*truth
	faultRates map[string]int
	faultCases []faultCase
	// pageServers is a pool of *pageServer.
	pageServers sync.Pool
}

// pageServer is a fakecontrolplane.Server that serves one request at a time.
type pageServer struct {
	fakecontrolplane.Server
	items []any
}

// ServeHTTP implements http.Handler.
func (p *controlPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	endpoint := strings.TrimPrefix(r.URL.Path, fakecontrolplane.Prefix+"/v1/")
	p.mu.Lock()
	l := listing{p.accounts[key], client.Kind(strings.TrimSuffix(endpoint, "s"))}
	injected := p.injected[l]
	if injected == nil { // not a list request: the listing fails and so does the test
		p.mu.Unlock()
		http.NotFound(w, r)
		return
	}
	fault := controlplanetest.Fault(func(next http.Handler) http.Handler { return next })
	switch {
	case p.keys[l.target] != key:
		injected[client.ReasonUnauthorized]++
		fault = faults.Status(http.StatusUnauthorized)
	case !p.healthy && p.random.IntN(1000) < p.faultRates[l.target]:
		drawn := p.faultCases[p.random.IntN(len(p.faultCases))]
		for _, reason := range drawn.reasons {
			injected[reason]++
		}
		fault = drawn.fault
	}
	p.mu.Unlock()
	fault(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.writePage(w, r, l, key) })).ServeHTTP(w, r)
}

// writePage records and sends a page.
func (p *controlPlane) writePage(w http.ResponseWriter, r *http.Request, l listing, key string) {
	var limit, offset int
	if _, err := fmt.Sscanf(r.URL.Query().Get("limit")+" "+r.URL.Query().Get("offset"), "%d %d", &limit, &offset); err != nil {
		panic(err)
	}
	p.mu.Lock()
	p.serial++
	list := p.lists[l]
	if r.Context().Value(emptyPageKey{}) != nil {
		limit = 0
	}
	from := min(offset, len(list))
	sent := &page{serial: p.serial, listing: l, offset: offset, list: list, items: list[from:min(from+limit, len(list))], shortened: limit < pageSize}
	p.pages[sent.serial] = sent
	p.mu.Unlock()

	if limit == 0 {
		faults.Body(fmt.Sprintf(`{"data":[],"pagination":{"total":%d}}`, len(list)))(nil).ServeHTTP(w, r)
		return
	}
	d, ok := p.pageServers.Get().(*pageServer)
	if !ok {
		d = &pageServer{}
		d.Items = func(string) []any { return d.items }
	}
	defer p.pageServers.Put(d)
	d.Key, d.items = key, make([]any, len(list))
	used := lastAccess(sent.serial)
	for i, h := range list {
		token := h.Token
		token.LastAccessedAt = &used
		d.items[i] = token
	}
	d.ServeHTTP(w, r)
}
