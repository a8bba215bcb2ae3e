package connect_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

const bothKinds = "kinds: [personal-access-token, virtual-account]"

// concurrency sets MaxConcurrency.
func concurrency(n int) func(*connect.Settings) {
	return func(s *connect.Settings) { s.MaxConcurrency = n }
}

func TestTargetsOfAHostShareItsConcurrencyLimitAcrossReloads(t *testing.T) {
	const limit = 2
	g := newGate()
	cp := startControlPlane(t, g.wrap)
	e := newExporter(t, concurrency(limit))
	// Both URLs have the same host and port.
	host := strings.NewReplacer("127.0.0.1", "LOCALHOST", "http", "HTTP").Replace(cp.URL)
	entries := []string{target("a", strings.ToLower(host), withKey, bothKinds), target("b", host, withKey, bothKinds)}
	const listings = 4
	e.use(entries...)

	var scrapes sync.WaitGroup
	for before := range 2 {
		scrapes.Go(func() {
			if ups := upByTarget(e.scrapeFamilies(testTimeout)); !ups["a"] || !ups["b"] {
				t.Errorf("up is %v", ups)
			}
		})
		// All other listings wait for the ones in progress.
		waiting := (before+1)*listings - limit
		waitForGoroutines(t, waiting, "client.(*Limiter).acquire(", func() bool { return g.maxConcurrency() > limit })
		e.use(entries...)
	}
	g.wait(t, limit)
	close(g.open)
	scrapes.Wait()
	if most := g.maxConcurrency(); most != limit {
		t.Errorf("%d requests at once, want %d", most, limit)
	}
	const requests = 2 * listings
	if n := len(cp.Requests()); n != requests {
		t.Errorf("%d requests, want %d", n, requests)
	}
}

func TestHostsHaveSeparateConcurrencyLimits(t *testing.T) {
	g := newGate()
	e := newExporter(t, concurrency(1))
	e.use(target("a", startControlPlane(t, g.wrap).URL, withKey), target("b", startControlPlane(t, g.wrap).URL, withKey))
	outcome := make(chan map[string]bool)
	go func() { outcome <- upByTarget(e.scrapeFamilies(testTimeout)) }()
	g.wait(t, 2)
	close(g.open)
	if got := <-outcome; !got["a"] || !got["b"] {
		t.Errorf("up is %v", got)
	}
}

func TestHangingTokenEndpointHoldsNoRequestSlotOfItsHost(t *testing.T) {
	asked, listed := make(chan struct{}), make(chan struct{})
	await := func(r *http.Request, event <-chan struct{}) {
		select {
		case <-event:
		case <-r.Context().Done():
		}
	}
	var first sync.Once
	cp := startControlPlane(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			await(r, asked)
			next.ServeHTTP(w, r)
			first.Do(func() { close(listed) })
		})
	})
	o := newEndpoint(t)
	issue := o.handler
	o.setHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		await(r, listed)
		issue.ServeHTTP(w, r)
	}))
	e := newOAuth2Exporter(t, concurrency(1))
	e.use(target("a", cp.URL, o.oauth2()), target("b", cp.URL, withKey))
	e.expect("a: up, b: up")
}

func TestTargetsMayBeReplacedConcurrently(t *testing.T) {
	cp := startControlPlane(t)
	e := newExporter(t)
	list := e.configure(target("a", cp.URL, withKey))
	var replaced sync.WaitGroup
	for range 4 {
		replaced.Go(func() {
			for range 20 {
				e.set.Replace(list)
				if !upByTarget(e.scrapeFamilies(testTimeout))["a"] {
					t.Error("the target is down")
				}
			}
		})
	}
	replaced.Wait()
	if n := strings.Count(e.log.String(), "listing at each scrape"); n != 1 {
		t.Errorf("the target is logged %d times", n)
	}
}

func TestCountersAreKeptUntilTheirTargetIsRemoved(t *testing.T) {
	fault := faults.Switch()
	fault.Set(faults.Status(http.StatusForbidden))
	cp := startControlPlane(t, fault.Wrap)
	e := newExporter(t)
	a, b := target("a", cp.URL, withKey), target("b", cp.URL, withKey)
	count := func(name string, n int) string {
		return fmt.Sprintf(`truefoundry_listing_errors_total{kind="personal-access-token",reason="forbidden",target=%q} %d`, name, n)
	}
	e.use(a, b)
	e.expect("a: forbidden, b: forbidden")

	fault.Set(nil)
	e.use(target("a", cp.URL, withKey, bothKinds, "enable_http2: false"))
	got := e.exposition()
	metricstest.Present(t, got, count("a", 1))
	metricstest.Present(t, got, `truefoundry_exporter_api_requests_total{code="403",target="a"} 1`)
	metricstest.Absent(t, got, `target="b"`)

	e.use(a, b)
	got = e.exposition()
	metricstest.Present(t, got, count("a", 1))
	metricstest.Present(t, got, count("b", 0))
	metricstest.Absent(t, got, `kind="virtual-account"`)

	e.set.Replace(nil)
	metricstest.Absent(t, e.exposition(), "target=")
}

func TestScrapeInFlightKeepsItsTargets(t *testing.T) {
	g := newGate()
	keys := recordHeader("Authorization")
	before, after := startControlPlane(t, g.wrap, keys.wrap), startControlPlane(t)
	e := newExporter(t)
	e.write("other", "tfy-other")
	e.use(target("a", before.URL, withKey), target("old", before.URL, withKey))
	outcome := make(chan map[string]bool)
	go func() { outcome <- upByTarget(e.scrapeFamilies(testTimeout)) }()
	g.wait(t, 2)

	e.use(target("a", after.URL, "authorization: {credentials_file: other}"), target("new", after.URL, withKey))
	e.expect("a: unauthorized, new: up")
	close(g.open)
	if got := <-outcome; len(got) != 2 || !got["a"] || !got["old"] {
		t.Errorf("the scrape in flight got %v", got)
	}
	if got := keys.take(); len(got) != 1 || got[0] != "Bearer "+controlplanetest.Key {
		t.Errorf("the scrape in flight sent %q", got)
	}
}

func TestConnectionsOfReplacedTargetsAreClosed(t *testing.T) {
	private := faults.NewAuthority(t)
	for name, tt := range map[string]struct {
		configure func(*httptest.Server)
		fields    []string
	}{
		"HTTP":                   {func(*httptest.Server) {}, nil},
		"HTTPS":                  {private.ServeTLS(), []string{"tls_config: {ca_file: ca.pem}"}},
		"HTTP/2":                 {func(s *httptest.Server) { private.ServeTLS()(s); s.EnableHTTP2 = true }, []string{"tls_config: {ca_file: ca.pem}"}},
		"a CA file that changes": {private.ServeTLS(), []string{"tls_config: {ca_file: ca.pem}"}},
		"HTTP headers":           {func(*httptest.Server) {}, []string{"http_headers: {X-A: {values: [x]}}"}},
		"two kinds":              {func(*httptest.Server) {}, []string{bothKinds}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate()
			open, configure := trackConnections()
			url := serve(t, g.wrap(faults.Total(func(int) any { return nil })(newControlPlane(t))), tt.configure, configure)
			e := newExporter(t)
			e.write("ca.pem", private.PEM)
			entry := target("a", url, append(tt.fields, withKey)...)
			e.use(entry)

			// The first scrape is in flight when the targets are replaced, and has to
			// request more pages.
			replaceDuringScrape(t, e, g)
			open.waitForNone(t)

			// The second scrape has ended.
			e.use(entry)
			e.expect("a: up")
			if open.count() == 0 {
				t.Error("no connection is kept for the next scrape")
			}
			if name == "a CA file that changes" {
				e.write("ca.pem", private.PEM+faults.NewAuthority(t).PEM)
				e.expect("a: up")
			}
			e.set.Close()
			open.waitForNone(t)
		})
	}
}

// replaceDuringScrape removes the targets while a scrape of target a waits at the gate.
// That scrape must succeed.
func replaceDuringScrape(t *testing.T, e *exporter, g *gate) {
	t.Helper()
	outcome := make(chan bool)
	go func() { outcome <- upByTarget(e.scrapeFamilies(testTimeout))["a"] }()
	g.wait(t, 1)
	e.set.Replace(nil)
	close(g.open)
	if !<-outcome {
		t.Errorf("the scrape in flight failed:\n%s", e.log)
	}
}

func TestConnectionsToTokenEndpointsOfReplacedTargetsAreClosed(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	g := newGate()
	open, configure := trackConnections()
	o.setHandler(g.wrap(o.handler))
	o.URL = serve(t, o, configure)
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2()))
	replaceDuringScrape(t, e, g)
	open.waitForNone(t)

	e.use(target("a", cp.URL, o.oauth2()))
	e.expect("a: up")
	if open.count() == 0 {
		t.Error("no connection is kept for the next token")
	}
	e.set.Close()
	open.waitForNone(t)
}

// rateLimited returns an exporter whose target a is rate limited for two minutes. Its
// control plane would respond again.
func rateLimited(t *testing.T) (*exporter, *controlplanetest.ControlPlane) {
	t.Helper()
	fault := faults.Switch()
	fault.Set(faults.Status(http.StatusTooManyRequests, "Retry-After", "120"))
	cp := startControlPlane(t, fault.Wrap)
	e := newExporter(t)
	e.use(target("a", cp.URL, withKey))
	e.expect("a: rate_limited")
	fault.Set(nil)
	return e, cp
}

func TestRateLimitIsKeptIfItsTargetChanges(t *testing.T) {
	e, cp := rateLimited(t)
	n := len(cp.Requests())

	e.use(target("a", cp.URL, withKey, bothKinds))
	e.advance(119 * time.Second)
	e.expect("a: rate_limited")
	if got := len(cp.Requests()); got != n {
		t.Errorf("%d requests within the Retry-After", got-n)
	}
	e.advance(time.Second)
	e.expect("a: up")
}

func TestRateLimitIsForgottenWithItsTarget(t *testing.T) {
	e, cp := rateLimited(t)
	e.use(target("b", cp.URL, withKey))
	e.expect("b: up")
	e.use(target("a", cp.URL, withKey))
	e.expect("a: up")
}

func TestRateLimitIsForgottenIfTheKeyChanges(t *testing.T) {
	e, cp := rateLimited(t)
	e.write("other", controlplanetest.Key)
	e.use(target("a", cp.URL, "authorization: {credentials_file: other}"))
	e.expect("a: up")
}

func TestNewTargetsAreLogged(t *testing.T) {
	e := newExporter(t)
	e.use(target("a", "https://acme.example/tfy/", withKey, bothKinds))
	if got, want := e.log.String(), `level=info msg="listing at each scrape" target=a url=https://acme.example/tfy api_prefix=/api/svc `+
		`kinds="[personal-access-token virtual-account]" api_key="file `+e.path("key")+"\"\n"; got != want {
		t.Errorf("logged %s, want %s", got, want)
	}
	if strings.Contains(e.log.String(), controlplanetest.Key) {
		t.Error("the key is logged")
	}
	wantLines := func(want int, entries ...string) {
		t.Helper()
		before := strings.Count(e.log.String(), "\n")
		e.use(entries...)
		if got := strings.Count(e.log.String(), "\n") - before; got != want {
			t.Errorf("got %d log lines, want %d:\n%s", got, want, e.log)
		}
	}
	wantLines(0, target("a", "https://acme.example/tfy", withKey))
	wantLines(1, target("a", "https://acme.example/tfy", withKey), target("b", "https://acme.example/tfy", withKey))
	wantLines(2, target("a", "https://acme.example/other", withKey), target("b", "https://acme.example/tfy", "authorization: {credentials_file: other}"))
}

func TestUserAgentAndPageSizeAreSent(t *testing.T) {
	agents := &recorder{part: func(r *http.Request) string { return r.UserAgent() + " " + r.URL.Query().Get("limit") }}
	cp := startControlPlane(t, agents.wrap)
	e := newExporter(t, func(s *connect.Settings) { s.UserAgent, s.PageSize = "agent/1", 7 })
	e.use(target("a", cp.URL, withKey))
	e.expect("a: up")
	if got := agents.take(); len(got) != 1 || got[0] != "agent/1 7" {
		t.Errorf("sent %q", got)
	}
}

// The control plane reports the length of a page as the total of a longer list.
func TestWrongTotalIsLoggedOnce(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(10)...), faults.Pagination(func(length int, pagination map[string]any) {
		pagination["total"] = length
		delete(pagination, "limit")
	}), faults.Clamp(4))
	e := newExporter(t)
	for range 2 {
		e.use(target("a", cp.URL, withKey))
		for range 2 {
			metricstest.Present(t, e.exposition(), `truefoundry_listing_tokens{kind="personal-access-token",target="a"} 10`)
		}
	}
	const warning = `level=warn target=a msg="the control plane reported the length of a page as the total of a longer list`
	if n := strings.Count(e.log.String(), warning); n != 1 {
		t.Errorf("it is logged %d times:\n%s", n, e.log)
	}
}
