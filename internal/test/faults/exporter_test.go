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

// Each exporter has two targets: the control plane of the first one is faulty,
// and the second one has nothing to do with that.
const (
	faulty    = "faulty"
	neighbour = "neighbour"
)

// The tokens that they list while all is well, on several pages each.
const (
	faultyTokens    = 9
	neighbourTokens = 5
	pageSize        = 4
	// lastPage is the offset of the last page that has tokens.
	lastPage = faultyTokens / pageSize * pageSize
)

const (
	// patience is the timeout of scrapes that end long before it, even where the
	// machine is busy.
	patience = 5 * time.Minute
	// short is the timeout of scrapes that would take for ever.
	short = 5 * time.Second
	// long is the timeout of scrapes that succeed at half of it.
	long = 3 * short
)

// How many requests an exporter sends at a time.
const (
	oneByOne = 1
	several  = 4
)

// clock is that of the machine, unless it is set to another time.
type clock struct{ ahead atomic.Int64 }

// Now returns the time.
func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) set(ahead time.Duration) { c.ahead.Store(int64(ahead)) }

// exporter is an exporter as main makes one of a file of targets.
type exporter struct {
	clock
	t *testing.T
	// controlPlane is the faulty one.
	controlPlane, neighbour *controlPlane
	// keyFile is the file of the API key for the faulty control plane.
	keyFile string
	// timeout is that of the scraper.
	timeout time.Duration
	url     string
	log     metricstest.Log
	// before is the scrape from before there was a fault, and last the latest one.
	before, last *scrape
}

// start starts an exporter for a control plane that it asks directly by HTTP.
// Like startExporter, it returns after a scrape in which all was well.
func start(t *testing.T) *exporter {
	t.Helper()
	cp := startControlPlane(t)
	return startExporter(t, cp, several, "url: "+cp.URL)
}

// startExporter starts an exporter that sends so many requests at a time to a
// control plane. The lines are those of the target in the file of targets.
func startExporter(t *testing.T, cp *controlPlane, concurrency int, lines ...string) *exporter {
	t.Helper()
	e := &exporter{t: t, controlPlane: cp, neighbour: newControlPlane(t, neighbourTokens), timeout: patience}
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
	e.url = served.URL
	e.log.Take()

	e.before = e.scrape()
	e.before.expectListed(faultyTokens)
	e.before.expectLog()
	return e
}

// get asks for a page of the exporter.
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

// scrape scrapes as Prometheus does, and looks at the landing page. It checks
// what holds for each scrape, whatever becomes of the faulty target.
func (e *exporter) scrape() *scrape {
	e.t.Helper()
	s := &scrape{t: e.t, before: e.last}
	requests, sent, allocated, begin := len(e.controlPlane.Requests()), e.controlPlane.sent.Load(), allocations(), time.Now()
	s.text = e.get("/metrics")
	took := time.Since(begin)
	s.allocated, s.sent, s.requests = allocations()-allocated, e.controlPlane.sent.Load()-sent, len(e.controlPlane.Requests())-requests
	s.Families = metricstest.Parse(e.t, s.text)
	if logged := strings.TrimSpace(e.log.Take()); logged != "" {
		s.log = strings.Split(logged, "\n")
	}
	s.page = metricstest.PageText(e.get("/"))

	// A busy machine is slower than it should be, but does not wait for ever.
	const slack = 10 * time.Second
	if took > e.timeout+slack {
		e.t.Errorf("it took %v with a timeout of %v", took, e.timeout)
	}
	for _, line := range s.log {
		if len(line) > 4<<10 || !strings.Contains(line, "target="+faulty) {
			e.t.Errorf("logged %s", line)
		}
	}
	if all := fmt.Sprint(s.text, s.log, s.page); strings.Contains(all, controlplanetest.Key) {
		e.t.Errorf("the key is in %s", all)
	}
	if e.before != nil {
		s.expectTokensOf(neighbour, e.before)
	}
	s.expectValues("truefoundry_up", "target", neighbour, map[string]float64{neighbour: 1})
	e.last = s
	return s
}

// expectHealthy scrapes twice: the tokens are those from before the fault, and
// nothing is logged.
func (e *exporter) expectHealthy() *scrape {
	e.t.Helper()
	return e.expectTwice(func(s *scrape) { s.expectSameTokens(e.before) })
}

// expectListing scrapes twice: so many tokens are listed, and nothing is logged.
func (e *exporter) expectListing(tokens int) *scrape {
	e.t.Helper()
	return e.expectTwice(func(s *scrape) { s.expectListed(tokens) })
}

// expectFailure scrapes twice: the listing fails with the reason, which is logged
// once, with the text.
func (e *exporter) expectFailure(reason client.Reason, logged string) *scrape {
	e.t.Helper()
	return e.expectTwice(func(s *scrape) { s.expectFailed(reason) },
		"level=error", `msg="listing failed"`, "reason="+string(reason), logged)
}

// expectLoss scrapes twice: so many tokens are listed, but parts of them cannot be
// read. That is logged once, with the text.
func (e *exporter) expectLoss(tokens int, logged string) *scrape {
	e.t.Helper()
	return e.expectTwice(func(s *scrape) { s.expectListed(tokens) },
		"level=warn", `msg="parts of the listing cannot be read"`, logged)
}

// expectRecovery scrapes twice, with patience: the tokens are those from before
// the fault, and it is logged once that the listing works again.
func (e *exporter) expectRecovery() {
	e.t.Helper()
	e.timeout = patience
	e.expectTwice(func(s *scrape) { s.expectSameTokens(e.before) }, "level=info", `msg="listing works again"`, fmt.Sprintf("tokens=%d", faultyTokens))
}

// expectRepair is expectRecovery after a loss.
func (e *exporter) expectRepair() {
	e.t.Helper()
	e.expectTwice(func(s *scrape) { s.expectSameTokens(e.before) }, "level=info", `msg="everything in the listing can be read again"`)
}

// expectTwice expects the same of two scrapes, and that the first one logs a line
// with these parts. It returns the first one.
func (e *exporter) expectTwice(expect func(*scrape), logged ...string) *scrape {
	e.t.Helper()
	first := e.scrape()
	expect(first)
	first.expectLog(logged...)
	second := e.scrape()
	expect(second)
	second.expectLog()
	return first
}
