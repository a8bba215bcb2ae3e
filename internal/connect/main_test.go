package connect_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"go.uber.org/goleak"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTimeout is how long a test waits for an event.
const testTimeout = 30 * time.Second

// withKey is the field for a key file. newExporter writes a key that all control planes
// accept.
const withKey = "authorization: {credentials_file: key}"

// exporter is a Set with its collector and a directory for its files.
type exporter struct {
	*collector.Collector
	*clock

	set  *connect.Set
	log  *metricstest.Log
	dir  string
	t    *testing.T
	errs map[string]float64 // truefoundry_listing_errors_total as of the last outcome
}

// newExporter returns an exporter that has no targets yet.
func newExporter(t *testing.T, configure ...func(*connect.Settings)) *exporter {
	t.Helper()
	e := &exporter{clock: &clock{now: time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC)}, log: new(metricstest.Log), dir: t.TempDir(), t: t}
	logger := log.NewLogfmtLogger(e.log)
	settings := connect.Settings{PageSize: 1000, UserAgent: "test", MaxConcurrency: 4, Now: e.Now, Logger: logger}
	for _, f := range configure {
		f(&settings)
	}
	var err error
	if e.Collector, err = collector.New(collector.Options{Logger: logger, Now: e.Now}); err != nil {
		t.Fatal(err)
	}
	e.set = connect.NewSet(e.Collector, settings)
	t.Cleanup(e.set.Close)
	e.write("key", controlplanetest.Key+"\n")
	return e
}

func (e *exporter) path(name string) string { return filepath.Join(e.dir, name) }

// write atomically writes a file of the directory.
func (e *exporter) write(name, text string) {
	e.t.Helper()
	if err := os.WriteFile(e.path(name+".new"), []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Rename(e.path(name+".new"), e.path(name)); err != nil {
		e.t.Fatal(err)
	}
}

func (e *exporter) remove(name string) {
	e.t.Helper()
	if err := os.RemoveAll(e.path(name)); err != nil {
		e.t.Fatal(err)
	}
}

// configure writes and loads a configuration file, and returns its targets.
func (e *exporter) configure(entries ...string) []config.Target {
	e.t.Helper()
	e.write("targets.yml", file(entries...))
	list, err := config.Load(e.path("targets.yml"))
	if err != nil {
		e.t.Fatal(err)
	}
	return list
}

// use replaces the targets of the Set.
func (e *exporter) use(entries ...string) {
	e.t.Helper()
	e.set.Replace(e.configure(entries...))
}

// file returns the text of a configuration file.
func file(entries ...string) string { return "targets:\n" + strings.Join(entries, "") }

// target returns the text of a target in a configuration file.
func target(name, url string, fields ...string) string {
	return strings.Join(append([]string{"- name: " + name, "url: " + url}, fields...), "\n  ") + "\n"
}

// expect scrapes and compares the outcome, which looks like "a: up, b: timeout".
func (e *exporter) expect(want string) {
	e.t.Helper()
	e.expectWithin(testTimeout, want)
}

func (e *exporter) expectWithin(timeout time.Duration, want string) {
	e.t.Helper()
	if got := e.outcome(e.scrapeFamilies(timeout)); got != want {
		e.t.Errorf("the outcome is %q, want %q; the log:\n%s", got, want, e.log)
	}
}

// scrapeFamilies scrapes with a timeout.
func (e *exporter) scrapeFamilies(timeout time.Duration) metricstest.Families {
	e.t.Helper()
	return metricstest.Parse(e.t, e.scrape(timeout))
}

// scrape scrapes with a timeout and returns the exposition.
func (e *exporter) scrape(timeout time.Duration) string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), timeout)
	defer cancel()
	return metricstest.Exposition(e.t, e.Scrape(ctx))
}

// outcome returns for each target that it is up, or for which reasons its listings failed
// since the last call.
func (e *exporter) outcome(families metricstest.Families) string {
	outcomes, errs := map[string][]string{}, map[string]float64{}
	for _, reason := range client.Reasons() {
		failed := map[string]bool{}
		for _, kind := range client.Kinds() {
			for name, count := range families.Values("truefoundry_listing_errors_total", "target", "kind", string(kind), "reason", string(reason)) {
				listing := name + "/" + string(kind) + "/" + string(reason)
				failed[name] = failed[name] || count > e.errs[listing]
				errs[listing] = count
			}
		}
		for name := range failed {
			if failed[name] {
				outcomes[name] = append(outcomes[name], string(reason))
			}
		}
	}
	e.errs = errs
	var all []string
	for name, up := range upByTarget(families) {
		if up {
			outcomes[name] = append(outcomes[name], "up")
		}
		all = append(all, name+": "+strings.Join(outcomes[name], " and "))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// upByTarget returns truefoundry_up of each target.
func upByTarget(families metricstest.Families) map[string]bool {
	up := map[string]bool{}
	for name, value := range families.Values("truefoundry_up", "target") {
		up[name] = value == 1
	}
	return up
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// exposition scrapes and returns the exposition without labels control_plane.
func (e *exporter) exposition() string {
	e.t.Helper()
	return metricstest.WithoutControlPlane(e.scrape(testTimeout))
}

// startControlPlane starts a control plane that has one token.
func startControlPlane(t *testing.T, faults ...controlplanetest.Fault) *controlplanetest.ControlPlane {
	t.Helper()
	return controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(1)...), faults...)
}

// serve serves on loopback until the test ends.
func serve(t *testing.T, handler http.Handler, configure ...func(*httptest.Server)) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	for _, f := range configure {
		f(server)
	}
	if server.TLS != nil {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server.URL
}

// withoutWaits runs a test in a synctest bubble, in which the waits before retries take no
// time. Time stands still there while a connection is open: all servers must be outside,
// and all connections to them must fail.
func withoutWaits(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// newControlPlane returns a control plane that is not served yet.
func newControlPlane(t *testing.T) *controlplanetest.ControlPlane {
	t.Helper()
	return controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(1)...))
}

// recorder records a part of each request.
type recorder struct {
	part func(*http.Request) string

	mu    sync.Mutex
	parts []string
}

// recordHeader returns a recorder of a header.
func recordHeader(header string) *recorder {
	return &recorder{part: func(r *http.Request) string { return r.Header.Get(header) }}
}

// wrap is a controlplanetest.Fault.
func (r *recorder) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.parts = append(r.parts, r.part(req))
		r.mu.Unlock()
		next.ServeHTTP(w, req)
	})
}

// take returns what was recorded since the last call, without adjacent duplicates.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.parts = nil }()
	return slices.Compact(r.parts)
}

// connections are the open connections of a server.
type connections struct {
	mu      sync.Mutex
	open    map[net.Conn]bool
	changed chan struct{}
}

// trackConnections returns the connections of a server that configure is applied to.
func trackConnections() (c *connections, configure func(*httptest.Server)) {
	c = &connections{open: map[net.Conn]bool{}, changed: make(chan struct{}, 1)}
	return c, func(server *httptest.Server) {
		server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
			c.mu.Lock()
			if state == http.StateClosed {
				delete(c.open, conn)
			} else {
				c.open[conn] = true
			}
			c.mu.Unlock()
			select {
			case c.changed <- struct{}{}:
			default:
			}
		}
	}
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// waitForNone waits until all connections are closed.
func (c *connections) waitForNone(t *testing.T) {
	t.Helper()
	timeout := time.After(testTimeout)
	for c.count() > 0 {
		select {
		case <-c.changed:
		case <-timeout:
			t.Errorf("%d connections stay open", c.count())
			return
		}
	}
}

// gate blocks requests until it is opened.
type gate struct {
	arrived chan struct{}
	open    chan struct{}

	mu           sync.Mutex
	current, max int
}

func newGate() *gate { return &gate{arrived: make(chan struct{}, 1000), open: make(chan struct{})} }

// wrap is a controlplanetest.Fault.
func (g *gate) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.count(1)
		defer g.count(-1)
		g.arrived <- struct{}{}
		select {
		case <-g.open:
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}

func (g *gate) count(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.current += n
	g.max = max(g.max, g.current)
}

// maxConcurrency returns the maximum number of concurrent requests so far.
func (g *gate) maxConcurrency() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.max
}

// wait waits until n more requests have arrived.
func (g *gate) wait(t *testing.T, n int) {
	t.Helper()
	timeout := time.After(testTimeout)
	for range n {
		select {
		case <-g.arrived:
		case <-timeout:
			t.Fatal("too few requests arrived")
		}
	}
}

// waitForGoroutines waits until n goroutines run a function, or enough returns true.
func waitForGoroutines(t *testing.T, n int, function string, enough func() bool) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for start := time.Now(); !enough(); runtime.Gosched() {
		if strings.Count(string(stacks[:runtime.Stack(stacks, true)]), function) >= n {
			return
		}
		if time.Since(start) > testTimeout {
			t.Fatalf("too few goroutines run %s", function)
		}
	}
}

// clock is a clock that tests advance.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
