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

// concurrency chooses how many requests a control plane gets at a time.
func concurrency(n int) func(*connect.Settings) {
	return func(s *connect.Settings) { s.MaxConcurrency = n }
}

func TestTargetsOfAControlPlaneShareItsLimitAlsoWithThoseBefore(t *testing.T) {
	const limit = 2
	g := newGate()
	cp := startControlPlane(t, g.wrap)
	e := newExporter(t, concurrency(limit))
	// It is one server, however it is written.
	host := strings.NewReplacer("127.0.0.1", "LOCALHOST", "http", "HTTP").Replace(cp.URL)
	entries := []string{target("a", strings.ToLower(host), withKey, bothKinds), target("b", host, withKey, bothKinds)}
	const listings = 4
	e.use(entries...)

	var scrapes sync.WaitGroup
	for before := range 2 {
		scrapes.Go(func() {
			if ups := ups(e.gather(patience)); !ups["a"] || !ups["b"] {
				t.Errorf("up is %v", ups)
			}
		})
		// All the others wait for the ones that may ask.
		waiting := (before+1)*listings - limit
		waitForGoroutines(t, waiting, "client.(*Limiter).acquire(", func() bool { return g.atOnce() > limit })
		e.use(entries...)
	}
	g.wait(t, limit)
	close(g.open)
	scrapes.Wait()
	if most := g.atOnce(); most != limit {
		t.Errorf("%d requests at once, want %d", most, limit)
	}
	const requests = 2 * listings
	if n := len(cp.Requests()); n != requests {
		t.Errorf("%d requests, want %d", n, requests)
	}
}

func TestControlPlanesHaveLimitsOfTheirOwn(t *testing.T) {
	g := newGate()
	e := newExporter(t, concurrency(1))
	e.use(target("a", startControlPlane(t, g.wrap).URL, withKey), target("b", startControlPlane(t).URL, withKey))
	e.expectWithin(500*time.Millisecond, "a: timeout, b: up")
}

func TestManyMayReplaceTheTargetsAtOnce(t *testing.T) {
	cp := startControlPlane(t)
	e := newExporter(t)
	list := e.configure(target("a", cp.URL, withKey))
	var replaced sync.WaitGroup
	for range 4 {
		replaced.Go(func() {
			for range 20 {
				e.set.Replace(list)
				if !ups(e.gather(patience))["a"] {
					t.Error("it is down")
				}
			}
		})
	}
	replaced.Wait()
	if n := strings.Count(e.log.String(), "listing at each scrape"); n != 1 {
		t.Errorf("the target is told %d times", n)
	}
}

func TestCountersSurviveAChangeOfTheirTargetAndGoWithIt(t *testing.T) {
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

func TestAScrapeInFlightFinishesWithWhatItBeganWith(t *testing.T) {
	g := newGate()
	keys := record("Authorization")
	before, after := startControlPlane(t, g.wrap, keys.wrap), startControlPlane(t)
	e := newExporter(t)
	e.write("other", "tfy-other")
	e.use(target("a", before.URL, withKey), target("old", before.URL, withKey))
	outcome := make(chan map[string]bool)
	go func() { outcome <- ups(e.gather(patience)) }()
	g.wait(t, 2)

	e.use(target("a", after.URL, "authorization: {credentials_file: other}"), target("new", after.URL, withKey))
	e.expect("a: unauthorized, new: up")
	close(g.open)
	if got := <-outcome; len(got) != 2 || !got["a"] || !got["old"] {
		t.Errorf("the scrape in flight went %v", got)
	}
	if got := keys.take(); len(got) != 1 || got[0] != "Bearer "+controlplanetest.Key {
		t.Errorf("it sent %q", got)
	}
}

func TestOldConnectionsAreClosed(t *testing.T) {
	private := faults.NewAuthority(t)
	for name, tt := range map[string]struct {
		choose func(*httptest.Server)
		fields []string
	}{
		"of HTTP":       {func(*httptest.Server) {}, nil},
		"of HTTPS":      {private.Serves(), []string{"tls_config: {ca_file: ca.pem}"}},
		"of HTTP/2":     {func(s *httptest.Server) { private.Serves()(s); s.EnableHTTP2 = true }, []string{"tls_config: {ca_file: ca.pem}"}},
		"of another CA": {private.Serves(), []string{"tls_config: {ca_file: ca.pem}"}},
		"with headers":  {func(*httptest.Server) {}, []string{"http_headers: {X-A: {values: [x]}}"}},
		"of two kinds":  {func(*httptest.Server) {}, []string{bothKinds}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate()
			open, choose := watch()
			url := serve(t, g.wrap(faults.Total(func(int) any { return nil })(handler(t))), tt.choose, choose)
			e := newExporter(t)
			e.write("ca.pem", private.PEM)
			entry := target("a", url, append(tt.fields, withKey)...)
			e.use(entry)

			// The first scrape is in flight when the targets are replaced, and has
			// more pages to ask for.
			replaceDuringScrape(t, e, g)
			open.expectNone(t)

			// The second one is over.
			e.use(entry)
			e.expect("a: up")
			if open.count() == 0 {
				t.Error("no connection is kept for the next scrape")
			}
			if name == "of another CA" {
				e.write("ca.pem", private.PEM+faults.NewAuthority(t).PEM)
				e.expect("a: up")
			}
			e.set.Close()
			open.expectNone(t)
		})
	}
}

// replaceDuringScrape removes the targets while a scrape of target a waits at the
// gate, and expects that scrape to succeed all the same.
func replaceDuringScrape(t *testing.T, e *exporter, g *gate) {
	t.Helper()
	outcome := make(chan bool)
	go func() { outcome <- ups(e.gather(patience))["a"] }()
	g.wait(t, 1)
	e.set.Replace(nil)
	close(g.open)
	if !<-outcome {
		t.Errorf("the scrape in flight failed:\n%s", e.log)
	}
}

func TestOldConnectionsToTheEndpointAreClosed(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	g := newGate()
	open, choose := watch()
	o.set(g.wrap(o.answer))
	o.URL = serve(t, o, choose)
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2()))
	replaceDuringScrape(t, e, g)
	open.expectNone(t)

	e.use(target("a", cp.URL, o.oauth2()))
	e.expect("a: up")
	if open.count() == 0 {
		t.Error("no connection is kept for the next token")
	}
	e.set.Close()
	open.expectNone(t)
}

// rateLimited returns an exporter whose target a is to send nothing for two minutes,
// though its control plane would answer again.
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

func TestARateLimitSurvivesAChangeOfItsTarget(t *testing.T) {
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

// The name stands for the key: another one is not limited.
func TestARateLimitGoesWithItsTarget(t *testing.T) {
	e, cp := rateLimited(t)
	e.use(target("b", cp.URL, withKey))
	e.expect("b: up")
	e.use(target("a", cp.URL, withKey))
	e.expect("a: up")
}

func TestARateLimitGoesWithTheKeyOfItsTarget(t *testing.T) {
	e, cp := rateLimited(t)
	e.write("other", controlplanetest.Key)
	e.use(target("a", cp.URL, "authorization: {credentials_file: other}"))
	e.expect("a: up")
}

func TestATargetIsToldInTheLog(t *testing.T) {
	e := newExporter(t)
	e.use(target("a", "https://acme.example/tfy/", withKey, bothKinds))
	if got, want := e.log.String(), `level=info msg="listing at each scrape" target=a url=https://acme.example/tfy api_prefix=/api/svc `+
		`kinds="[personal-access-token virtual-account]" api_key="file `+e.path("key")+"\"\n"; got != want {
		t.Errorf("logged %s, want %s", got, want)
	}
	if strings.Contains(e.log.String(), controlplanetest.Key) {
		t.Error("the key is logged")
	}
	told := func(want int, entries ...string) {
		t.Helper()
		before := strings.Count(e.log.String(), "\n")
		e.use(entries...)
		if got := strings.Count(e.log.String(), "\n") - before; got != want {
			t.Errorf("%d more lines in the log, want %d:\n%s", got, want, e.log)
		}
	}
	told(0, target("a", "https://acme.example/tfy", withKey))
	told(1, target("a", "https://acme.example/tfy", withKey), target("b", "https://acme.example/tfy", withKey))
	told(2, target("a", "https://acme.example/other", withKey), target("b", "https://acme.example/tfy", "authorization: {credentials_file: other}"))
}

func TestTheUserAgentAndThePageSizeAreSent(t *testing.T) {
	agents := &recorder{part: func(r *http.Request) string { return r.UserAgent() + " " + r.URL.Query().Get("limit") }}
	cp := startControlPlane(t, agents.wrap)
	e := newExporter(t, func(s *connect.Settings) { s.UserAgent, s.PageSize = "agent/1", 7 })
	e.use(target("a", cp.URL, withKey))
	e.expect("a: up")
	if got := agents.take(); len(got) != 1 || got[0] != "agent/1 7" {
		t.Errorf("sent %q", got)
	}
}

// A control plane that reports the length of a page as the total of a longer list is
// reported once, also across reloads.
func TestAWrongTotalIsLoggedOnce(t *testing.T) {
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
