package faults_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/server"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// Each exporter has two targets: the control plane of one has faults, and the other must
// not be affected by them.
const (
	faulty    = "faulty"
	neighbour = "neighbour"
)

// Without faults, the targets list these numbers of tokens, on several pages.
const (
	faultyTokens    = 9
	neighbourTokens = 5
	pageSize        = 4
	// lastPage is the offset of the last page.
	lastPage = faultyTokens / pageSize * pageSize
)

const (
	// maxTimeout is the timeout of scrapes that end long before it, even on a busy
	// machine.
	maxTimeout = 5 * time.Minute
	// shortTimeout is the timeout of scrapes that last until their deadline.
	shortTimeout = 5 * time.Second
	// longTimeout is the timeout of scrapes that succeed after half of it.
	longTimeout = 3 * shortTimeout
)

// Limits of concurrent requests.
const (
	sequential = 1
	concurrent = 4
)

// clock is the system's clock with an offset.
type clock struct{ offset atomic.Int64 }

// Now returns the time.
func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *clock) set(offset time.Duration) { c.offset.Store(int64(offset)) }

// exporter is an exporter with a configuration file.
type exporter struct {
	clock
	t *testing.T
	// controlPlane is the one with faults.
	controlPlane, neighbour *controlPlane
	// keyFile contains the API key of the faulty target.
	keyFile string
	// timeout is the timeout of scrapes.
	timeout time.Duration
	url     string
	log     metricstest.Log
	// before is the scrape before any faults, and last the latest scrape.
	before, last *scrape
}

// start starts an exporter of a control plane without TLS or a proxy. Like startExporter,
// it returns after a successful scrape.
func start(t *testing.T) *exporter {
	t.Helper()
	cp := startControlPlane(t)
	return startExporter(t, cp, concurrent, "url: "+cp.URL)
}

// startExporter starts an exporter of a control plane. The lines are the fields of the
// target in the configuration file.
func startExporter(t *testing.T, cp *controlPlane, concurrency int, lines ...string) *exporter {
	t.Helper()
	e := &exporter{t: t, controlPlane: cp, neighbour: newControlPlane(t, neighbourTokens), timeout: maxTimeout}
	e.neighbour.serve(t)
	dir := t.TempDir()
	write := func(name, content string) (path string) {
		path = filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	entry := func(name string, lines ...string) string {
		return "\n- name: " + name + "\n  authorization: {credentials_file: " + name + ".key}\n  " + strings.Join(lines, "\n  ")
	}
	e.keyFile = write(faulty+".key", controlplanetest.Key+"\n")
	write(neighbour+".key", controlplanetest.Key+"\n")
	path := write("targets.yml", "targets:"+entry(faulty, lines...)+entry(neighbour, "url: "+e.neighbour.URL))
	list, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	logger := log.NewLogfmtLogger(&e.log)
	c, err := collector.New(collector.Options{Timeout: maxTimeout, Logger: logger, Now: e.Now})
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
	e.url = served.URL
	e.log.Take()

	e.before = e.scrape()
	e.before.expectListed(faultyTokens)
	e.before.expectLog()
	return e
}

// get returns a page of the exporter.
func (e *exporter) get(path string) string {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.t.Context(), http.MethodGet, e.url+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(e.timeout.Seconds(), 'f', -1, 64))
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		e.t.Fatalf("%s: %s %s", path, resp.Status, body)
	}
	return string(body)
}

// scrape scrapes, gets the landing page, and checks what must hold for each scrape.
func (e *exporter) scrape() *scrape {
	e.t.Helper()
	s := &scrape{t: e.t, before: e.last}
	requests, sent, allocated, begin := len(e.controlPlane.Requests()), e.controlPlane.listener.Sent(), allocations(), time.Now()
	s.text = e.get("/metrics")
	took := time.Since(begin)
	s.allocated, s.sent, s.requests = allocations()-allocated, e.controlPlane.listener.Sent()-sent, len(e.controlPlane.Requests())-requests
	s.Families = metricstest.Parse(e.t, s.text)
	if logged := strings.TrimSpace(e.log.Take()); logged != "" {
		s.log = strings.Split(logged, "\n")
	}
	s.page = metricstest.PageText(e.get("/"))

	// A busy machine may exceed the timeout.
	const tolerance = 10 * time.Second
	if took > e.timeout+tolerance {
		e.t.Errorf("the scrape took %v with a timeout of %v", took, e.timeout)
	}
	for _, line := range s.log {
		if len(line) > 4<<10 || !strings.Contains(line, "target="+faulty) {
			e.t.Errorf("logged %s", line)
		}
	}
	if all := fmt.Sprint(s.text, s.log, s.page); strings.Contains(all, controlplanetest.Key) {
		e.t.Errorf("the key is exposed in %s", all)
	}
	if e.before != nil {
		s.expectTokensOf(neighbour, e.before)
	}
	s.expectValues("truefoundry_up", "target", neighbour, map[string]float64{neighbour: 1})
	e.last = s
	return s
}

// expectHealthy scrapes and expects the tokens from before the fault, and no log.
func (e *exporter) expectHealthy() *scrape {
	e.t.Helper()
	return e.expect(func(s *scrape) { s.expectSameTokens(e.before) })
}

// expectListing scrapes and expects a number of tokens, and no log.
func (e *exporter) expectListing(tokens int) *scrape {
	e.t.Helper()
	return e.expect(func(s *scrape) { s.expectListed(tokens) })
}

// expectFailure scrapes and expects that the listing fails, which is logged once.
func (e *exporter) expectFailure(reason client.Reason, logged string) *scrape {
	e.t.Helper()
	return e.expect(func(s *scrape) { s.expectFailed(reason) },
		"level=error", `msg="listing failed"`, "reason="+string(reason), logged)
}

// expectDecodeErrors scrapes and expects a number of tokens, parts of which are invalid.
// That is logged once.
func (e *exporter) expectDecodeErrors(tokens int, logged string) *scrape {
	e.t.Helper()
	return e.expect(func(s *scrape) { s.expectListed(tokens) },
		"level=warn", `msg="parts of the listing cannot be read"`, logged)
}

// expectRecovery scrapes and expects the tokens from before the failure. The recovery is
// logged once.
func (e *exporter) expectRecovery() {
	e.t.Helper()
	e.timeout = maxTimeout
	e.expect(func(s *scrape) { s.expectSameTokens(e.before) }, "level=info", `msg="listing works again"`, fmt.Sprintf("tokens=%d", faultyTokens))
}

// expectDecodeErrorsEnd is like expectRecovery, after decode errors.
func (e *exporter) expectDecodeErrorsEnd() {
	e.t.Helper()
	e.expect(func(s *scrape) { s.expectSameTokens(e.before) }, "level=info", `msg="everything in the listing can be read again"`)
}

// scrapesPerCheck is the number of scrapes of a check. With -short, nothing is repeated.
func scrapesPerCheck() int {
	if testing.Short() {
		return 1
	}
	return 2
}

// expect checks scrapes. The first one must log one line with these parts, if there are
// any, and the others nothing. expect returns the first scrape.
func (e *exporter) expect(check func(*scrape), logged ...string) *scrape {
	e.t.Helper()
	first := e.scrape()
	check(first)
	first.expectLog(logged...)
	for range scrapesPerCheck() - 1 {
		repeated := e.scrape()
		check(repeated)
		repeated.expectLog()
	}
	return first
}
