package faults_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/metricstest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/server"
)

const (
	// patience is the deadline of scrapes that end long before it, even where the
	// machine is busy.
	patience = 5 * time.Minute
	// pageSize makes a few pages of the tokens of a control plane.
	pageSize = 20
)

// upstream is a control plane whose answers a test changes.
type upstream struct {
	*controlplanetest.ControlPlane
	fault  *faults.Switchable
	server *httptest.Server
	sent   atomic.Int64 // bytes

	mu    sync.Mutex
	items func() []any
}

// newUpstream returns one that does not serve yet.
func newUpstream(t *testing.T, tokens int) *upstream {
	t.Helper()
	u := &upstream{fault: faults.Switch(), items: controlplanetest.Always(controlplanetest.Tokens(tokens)...)}
	u.ControlPlane = controlplanetest.New(t, func() []any {
		u.mu.Lock()
		defer u.mu.Unlock()
		return u.items()
	})
	u.server = httptest.NewUnstartedServer(u.With(u.fault.Wrap))
	u.server.Listener = &meter{u.server.Listener, &u.sent}
	return u
}

// start serves until the test ends: by HTTPS where the server has a
// configuration of that.
func (u *upstream) start(t *testing.T) {
	t.Helper()
	if u.server.TLS != nil {
		u.server.StartTLS()
	} else {
		u.server.Start()
	}
	t.Cleanup(u.server.Close)
	u.URL = u.server.URL
}

// list makes the items those that are listed, and returns what they were.
func (u *upstream) list(items func() []any) (before func() []any) {
	u.mu.Lock()
	defer u.mu.Unlock()
	before, u.items = u.items, items
	return before
}

// port is where it serves.
func (u *upstream) port() string { return u.URL[strings.LastIndexByte(u.URL, ':'):] }

// meter counts what its connections send.
type meter struct {
	net.Listener
	sent *atomic.Int64
}

// Accept implements net.Listener.
func (m *meter) Accept() (net.Conn, error) {
	conn, err := m.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &metered{conn.(*net.TCPConn), m.sent}, nil
}

type metered struct {
	*net.TCPConn
	sent *atomic.Int64
}

// Write implements io.Writer.
func (c *metered) Write(p []byte) (int, error) {
	n, err := c.TCPConn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (c *metered) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	c.sent.Add(n)
	return n, err
}

// clock is that of the machine, unless it is set to another time.
type clock struct{ ahead atomic.Int64 }

// Now returns the time.
func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) set(ahead time.Duration) { c.ahead.Store(int64(ahead)) }

// exporter is an exporter as main makes one of a file of targets.
type exporter struct {
	clock
	url string
	log metricstest.Log
}

// newExporter starts an exporter for the targets, whose files are in dir.
func newExporter(t *testing.T, dir string, concurrency int, file string) *exporter {
	t.Helper()
	e := new(exporter)
	path := filepath.Join(dir, "targets.yml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte(controlplanetest.Key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	logger := log.NewLogfmtLogger(&e.log)
	c, err := collector.New(collector.Options{Timeout: patience, Logger: logger, Now: e.Now})
	if err != nil {
		t.Fatal(err)
	}
	set := connect.NewSet(c, connect.Settings{PageSize: pageSize, UserAgent: "test", MaxConcurrency: concurrency, Now: e.Now, Logger: logger})
	set.Replace(list)
	t.Cleanup(set.Close)
	registry := prometheus.NewRegistry()
	registry.MustRegister(versioncollector.NewCollector("truefoundry_exporter"))
	handler, err := server.New(server.Config{
		Collector:         c,
		Registry:          registry,
		InstrumentHandler: true,
		TelemetryPath:     "/metrics",
		MaxRequests:       40,
		TimeoutOffset:     500 * time.Millisecond,
		Description:       "an exporter",
		Now:               e.Now,
		Logger:            logger,
	})
	if err != nil {
		t.Fatal(err)
	}
	served := httptest.NewServer(handler)
	t.Cleanup(served.Close)
	e.url = served.URL + "/metrics"
	e.log.Take()
	return e
}

// scrape is what a scraper gets, and what was logged meanwhile.
type scrape struct {
	metricstest.Families
	text string
	took time.Duration
	log  []string
}

// scrape scrapes as Prometheus does, and checks what holds for each scrape.
func (e *exporter) scrape(t *testing.T, timeout time.Duration) *scrape {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	begin := time.Now()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	s := &scrape{text: string(body), took: time.Since(begin)}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", resp.Status, s.text)
	}
	// A busy machine is slower than it should be, but does not wait for ever.
	const slack = 10 * time.Second
	if s.took > timeout+slack {
		t.Errorf("it took %v with a timeout of %v", s.took, timeout)
	}
	s.Families = metricstest.Parse(t, s.text)
	if logged := strings.TrimSpace(e.log.Take()); logged != "" {
		s.log = strings.Split(logged, "\n")
	}
	return s
}

// tokens are the series of a target's tokens.
func (s *scrape) tokens(target string) []string {
	return s.series(target, "truefoundry_token_", "truefoundry_listing_tokens{")
}

// series are those of a target whose text begins so.
func (s *scrape) series(target string, begin ...string) []string {
	var all []string
	for line := range strings.Lines(s.text) {
		begins := func(begin string) bool { return strings.HasPrefix(line, begin) }
		if slices.ContainsFunc(begin, begins) && strings.Contains(line, `target="`+target+`"`) {
			all = append(all, line)
		}
	}
	return all
}
