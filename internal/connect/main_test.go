package connect_test

import (
	"context"
	"maps"
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
	"time"

	"github.com/go-kit/log"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// withKey is how a target has its key in a file. The one that newExporter writes
// is good for all control planes.
const withKey = "authorization: {credentials_file: key}"

// exporter is a Set with its collector, and a directory for its files.
type exporter struct {
	*collector.Collector
	*clock

	set  *connect.Set
	log  *metricstest.Log
	dir  string
	t    *testing.T
	errs map[string]float64
}

// newExporter returns an exporter that has no targets yet.
func newExporter(t *testing.T, choose ...func(*connect.Settings)) *exporter {
	t.Helper()
	e := &exporter{clock: &clock{now: time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC)}, log: new(metricstest.Log), dir: t.TempDir(), t: t}
	logger := log.NewLogfmtLogger(e.log)
	settings := connect.Settings{PageSize: 1000, UserAgent: "test", MaxConcurrency: 4, Now: e.Now, Logger: logger}
	for _, f := range choose {
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

// write writes a file of the directory as a whole.
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

// configure writes and loads a file of the targets, and returns them.
func (e *exporter) configure(entries ...string) []config.Target {
	e.t.Helper()
	e.write("targets.yml", file(entries...))
	list, err := config.Load(e.path("targets.yml"))
	if err != nil {
		e.t.Fatal(err)
	}
	return list
}

// use makes the targets those of the Set.
func (e *exporter) use(entries ...string) {
	e.t.Helper()
	e.set.Replace(e.configure(entries...))
}

// file is the text of a file of the targets.
func file(entries ...string) string { return "targets:\n" + strings.Join(entries, "") }

// target is a target of a file, with more of its fields.
func target(name, url string, fields ...string) string {
	return strings.Join(append([]string{"- name: " + name, "url: " + url}, fields...), "\n  ") + "\n"
}

// expect scrapes, and compares how it went: "a: up, b: timeout".
func (e *exporter) expect(want string) {
	e.t.Helper()
	e.expectWithin(patience, want)
}

func (e *exporter) expectWithin(timeout time.Duration, want string) {
	e.t.Helper()
	if got := e.outcome(e.gather(timeout)); got != want {
		e.t.Errorf("the scrape went %q, want %q; the log:\n%s", got, want, e.log)
	}
}

// gather scrapes with the timeout.
func (e *exporter) gather(timeout time.Duration) []*dto.MetricFamily {
	e.t.Helper()
	return slices.Collect(maps.Values(metricstest.Parse(e.t, e.scrape(timeout))))
}

// scrape returns what a scrape with the timeout exposes.
func (e *exporter) scrape(timeout time.Duration) string {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), timeout)
	defer cancel()
	return metricstest.Exposition(e.t, e.Scrape(ctx))
}

// outcome tells of each target that it is up, or for which reasons its listings
// failed since the last call.
func (e *exporter) outcome(families []*dto.MetricFamily) string {
	errs, reasons := map[string]float64{}, map[string][]string{}
	each(families, "truefoundry_listing_errors_total", func(label func(string) string, value float64) {
		name, reason := label("target"), label("reason")
		of := name + "/" + label("kind") + "/" + reason
		errs[of] = value
		if value > e.errs[of] && !slices.Contains(reasons[name], reason) {
			reasons[name] = append(reasons[name], reason)
		}
	})
	e.errs = errs
	var all []string
	for name, up := range ups(families) {
		if up {
			reasons[name] = append(reasons[name], "up")
		}
		all = append(all, name+": "+strings.Join(reasons[name], " and "))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// ups returns truefoundry_up of each target.
func ups(families []*dto.MetricFamily) map[string]bool {
	found := map[string]bool{}
	each(families, "truefoundry_up", func(label func(string) string, value float64) { found[label("target")] = value == 1 })
	return found
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// each calls f for each metric of a family.
func each(families []*dto.MetricFamily, name string, f func(label func(string) string, value float64)) {
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.Metric {
			label := func(name string) string {
				for _, pair := range m.Label {
					if pair.GetName() == name {
						return pair.GetValue()
					}
				}
				return ""
			}
			f(label, m.GetGauge().GetValue()+m.GetCounter().GetValue())
		}
	}
}

// exposition scrapes, and returns all metrics as text.
func (e *exporter) exposition() string {
	e.t.Helper()
	return metricstest.WithoutControlPlane(e.scrape(patience))
}

// startControlPlane starts a control plane that has one token.
func startControlPlane(t *testing.T, faults ...controlplanetest.Fault) *controlplanetest.ControlPlane {
	t.Helper()
	return controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(1)...), faults...)
}

// serve serves on loopback until the test ends.
func serve(t *testing.T, handler http.Handler, choose ...func(*httptest.Server)) string {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	for _, f := range choose {
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

// handler is a control plane that serves nowhere yet.
func handler(t *testing.T) *controlplanetest.ControlPlane {
	t.Helper()
	return controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(1)...))
}

// recorder keeps a part of each request.
type recorder struct {
	part func(*http.Request) string

	mu    sync.Mutex
	parts []string
}

// record returns a recorder of a header.
func record(header string) *recorder {
	return &recorder{part: func(r *http.Request) string { return r.Header.Get(header) }}
}

// wrap is a controlplanetest.Fault.
func (s *recorder) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.parts = append(s.parts, s.part(r))
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// take returns what differs from what came right before it, since the last call.
func (s *recorder) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.parts = nil }()
	return slices.Compact(s.parts)
}

// connections are those of a server that are open.
type connections struct {
	mu      sync.Mutex
	open    map[net.Conn]bool
	changed chan struct{}
}

// watch returns the connections of a server, and what makes it tell of them.
func watch() (c *connections, choose func(*httptest.Server)) {
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

// expectNone waits until all are closed.
func (c *connections) expectNone(t *testing.T) {
	t.Helper()
	late := time.After(5 * time.Second)
	for c.count() > 0 {
		select {
		case <-c.changed:
		case <-late:
			t.Errorf("%d connections stay open", c.count())
			return
		}
	}
}

// gate holds requests up.
type gate struct {
	arrived chan struct{}
	open    chan struct{}

	mu        sync.Mutex
	now, most int
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
	g.now += n
	g.most = max(g.most, g.now)
}

// atOnce returns the largest number of requests that were there at a time.
func (g *gate) atOnce() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.most
}

// wait waits until so many requests have come.
func (g *gate) wait(t *testing.T, n int) {
	t.Helper()
	late := time.After(patience)
	for range n {
		select {
		case <-g.arrived:
		case <-late:
			t.Fatal("too few requests come")
		}
	}
}

// waitForGoroutines waits until n of them are in the function, or enough is true.
func waitForGoroutines(t *testing.T, n int, function string, enough func() bool) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for start := time.Now(); !enough(); runtime.Gosched() {
		if strings.Count(string(stacks[:runtime.Stack(stacks, true)]), function) >= n {
			return
		}
		if time.Since(start) > patience {
			t.Fatalf("too few goroutines come to %s", function)
		}
	}
}

// clock is one that a test sets.
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
