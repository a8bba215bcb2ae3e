package server_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"go.uber.org/goleak"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/server"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves the pages of an exporter of the control plane at an address.
func start(t *testing.T, address string, configure ...func(*server.Config)) string {
	t.Helper()
	handler, err := newHandler(t, address, configure...)
	if err != nil {
		t.Fatal(err)
	}
	exporter := httptest.NewServer(handler)
	t.Cleanup(exporter.Close)
	return exporter.URL
}

// newHandler returns the handler of an exporter of the control plane at an address.
func newHandler(t *testing.T, address string, configure ...func(*server.Config)) (http.Handler, error) {
	t.Helper()
	return newHandlerWithTransport(t, new(http.Transport), address, configure...)
}

func newHandlerWithTransport(t *testing.T, transport *http.Transport, address string, configure ...func(*server.Config)) (http.Handler, error) {
	t.Helper()
	t.Cleanup(transport.CloseIdleConnections)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	cfg := server.Config{
		Collector:         newCollector(t, time.Now, newTarget(t, transport, "acme", address, client.PersonalAccessToken)),
		Registry:          registry,
		InstrumentHandler: true,
		TelemetryPath:     "/metrics",
		Description:       "an exporter",
		TimeoutOffset:     offset,
		Now:               time.Now,
		Logger:            log.NewNopLogger(),
	}
	for _, f := range configure {
		f(&cfg)
	}
	return server.New(cfg)
}

func newCollector(tb testing.TB, now func() time.Time, targets ...collector.Target) *collector.Collector {
	tb.Helper()
	c, err := collector.New(collector.Options{Now: now}, targets...)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func newTarget(t *testing.T, transport *http.Transport, name, address string, kinds ...client.Kind) collector.Target {
	t.Helper()
	u, err := client.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	return collector.Target{Name: name, Kinds: kinds, Client: client.Config{
		URL: u, APIPrefix: fakecontrolplane.Prefix, Credentials: client.StaticKey(controlplanetest.Key, "inline"), PageSize: 1000,
		Limiter: client.NewLimiter(4), Transport: transport, UserAgent: "test", Now: time.Now,
	}}
}

// get sends a GET request and returns the status, the body and the header of the response.
// header consists of names and values.
func get(t *testing.T, url string, header ...string) (int, string, http.Header) {
	t.Helper()
	return do(t, http.MethodGet, url, header...)
}

func do(t *testing.T, method, url string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body), resp.Header
}

const (
	offset        = 500 * time.Millisecond
	timeoutHeader = "X-Prometheus-Scrape-Timeout-Seconds"
)

func TestMetricsOfTargetsAndExporterAreServed(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(3)...))
	url := start(t, cp.URL)
	get(t, url+"/metrics")
	status, body, _ := get(t, url+"/metrics")
	body = metricstest.WithoutControlPlane(body)
	for _, want := range []string{
		"truefoundry_up{target=\"acme\"} 1\n",
		`truefoundry_listing_tokens{kind="personal-access-token",target="acme"} 3`,
		"\ngo_goroutines ",
		"\npromhttp_metric_handler_requests_total{code=\"200\"} 1\n",
		"\npromhttp_metric_handler_errors_total{cause=\"gathering\"} 0\n",
	} {
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%d without %q", status, want)
		}
	}
}

func TestInstrumentHandlerMayBeDisabled(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always())
	url := start(t, cp.URL, func(cfg *server.Config) { cfg.InstrumentHandler = false })
	if _, body, _ := get(t, url+"/metrics"); strings.Contains(body, "promhttp_") || !strings.Contains(body, "truefoundry_exporter_api_requests_total") {
		t.Errorf("got %s", body)
	}
}

func TestFormatAndEncodingAreNegotiated(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(1)...))
	url := start(t, cp.URL)
	_, plain, header := get(t, url+"/metrics", "Accept-Encoding", "identity")
	if !strings.HasPrefix(header.Get("Content-Type"), "text/plain; version=0.0.4") || strings.Contains(plain, "# EOF") {
		t.Errorf("by default: %s", header.Get("Content-Type"))
	}
	_, open, header := get(t, url+"/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	if !strings.HasPrefix(header.Get("Content-Type"), "application/openmetrics-text") || !strings.HasSuffix(open, "# EOF\n") {
		t.Errorf("OpenMetrics: %s", header.Get("Content-Type"))
	}
	for accept, want := range map[string]string{"gzip": "gzip", "zstd, gzip;q=0.5": "gzip", "gzip;q=0": "", "br": ""} {
		_, body, header := get(t, url+"/metrics", "Accept-Encoding", accept)
		if got := header.Get("Content-Encoding"); got != want {
			t.Errorf("Accept %q: %q, want %q", accept, got, want)
		}
		if want == "gzip" {
			unzipped, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(unzipped)
			if err != nil {
				t.Fatal(err)
			}
			body = string(text)
		}
		if !strings.Contains(metricstest.WithoutControlPlane(body), `truefoundry_listing_tokens{kind="personal-access-token",target="acme"} 1`) {
			t.Errorf("Accept %q: %s", accept, body)
		}
	}
}

// name[] is not supported either.
func TestUnsupportedFormatsFallBackToText(t *testing.T) {
	const (
		text        = "text/plain; version=0.0.4; charset=utf-8; escaping="
		openMetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping="
		protobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding="
	)
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(2)...))
	url := start(t, cp.URL)
	for accept, want := range map[string]string{
		"": text + "underscores", "*/*": text + "underscores", "image/png": text + "underscores",
		"text/plain": text + "underscores", "text/plain;version=0.0.4;escaping=allow-utf-8": text + "allow-utf-8",
		"application/openmetrics-text;version=1.0.0;escaping=underscores,text/plain;q=0.5": openMetrics + "underscores",
		"application/openmetrics-text;version=0.0.1":                                       "application/openmetrics-text; version=0.0.1; charset=utf-8; escaping=underscores",
		protobuf + "delimited": text + "underscores", protobuf + "text": text + "underscores",
		protobuf + "delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1": openMetrics + "allow-utf-8",
	} {
		for _, query := range []string{"", "?name[]=truefoundry_up"} {
			status, body, header := get(t, url+"/metrics"+query, "Accept", accept)
			if got := header.Get("Content-Type"); status != http.StatusOK || got != want {
				t.Errorf("Accept %q: %d %q, want %q", accept, status, got, want)
			}
			if vary := header.Values("Vary"); !slices.Contains(vary, "Accept") || !slices.Contains(vary, "Accept-Encoding") {
				t.Errorf("Accept %q: Vary is %q", accept, vary)
			}
			for _, metric := range []string{"truefoundry_up{", "truefoundry_token_info{", "go_goroutines ", "promhttp_metric_handler_requests_in_flight "} {
				if strings.Count(body, "\n"+metric) < 1 {
					t.Errorf("Accept %q: no %s", accept, metric)
				}
			}
			if end := strings.HasSuffix(body, "\n# EOF\n"); end != strings.HasPrefix(want, openMetrics[:20]) || strings.Count(body, "# EOF") > 1 {
				t.Errorf("Accept %q: it ends with %q", accept, body[len(body)-40:])
			}
		}
	}
}

// In OpenMetrics, the name of a counter's family has no suffix _total. No other family may
// have that name, or the name of a sample of another family.
func TestFamiliesDoNotCollideInOpenMetrics(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(2)...))
	url := start(t, cp.URL, func(cfg *server.Config) {
		cfg.Registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), versioncollector.NewCollector("x"))
	})
	get(t, url+"/metrics")
	_, body, _ := get(t, url+"/metrics", "Accept", "application/openmetrics-text")
	taken := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(body, -1) {
		name, suffixes := found[1], map[string][]string{"counter": {"_total", "_created"}, "histogram": {"_bucket", "_count", "_sum", "_created"}, "summary": {"_count", "_sum", "_created"}}[found[2]]
		for _, suffix := range append(suffixes, "") {
			if other, ok := taken[name+suffix]; ok {
				t.Errorf("%s belongs to %s and to %s", name+suffix, other, name)
			}
			taken[name+suffix] = name
		}
	}
	metricstest.Present(t, body, "\ngo_memstats_alloc_bytes_total ")
	if _, text, _ := get(t, url+"/metrics"); !strings.Contains(text, "\ngo_memstats_alloc_bytes ") {
		t.Error("the text format lacks go_memstats_alloc_bytes")
	}
}

func TestScrapeEndsBeforeTheTimeoutOfTheScraper(t *testing.T) {
	for _, tt := range []struct {
		name, header string
		want         time.Duration
	}{
		{"the header minus the offset", "10", 10*time.Second - offset},
		{"half of a short header", "0.6", 300 * time.Millisecond},
		{"the limit of the exporter is shorter", "100", time.Minute},
		{"no header", "", time.Minute},
		{"the shortest valid header", "0.1", 50 * time.Millisecond},
		{"a header that is too short", "0.0999", time.Minute},
		{"a tiny header", "0.0000001", time.Minute},
		{"a header of 0", "0", time.Minute},
		{"a negative header", "-5", time.Minute},
		{"a header that is not a number", "NaN", time.Minute},
		{"a header of text", "soon", time.Minute},
		{"a long header", "1e9", time.Minute},
		{"a huge header", "1e300", time.Minute},
		{"an infinite header", "Inf", time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cp := controlplanetest.New(t, controlplanetest.Always())
				transport, stop := controlplanetest.InMemory(cp.With(faults.Hang()))
				defer stop()
				handler, err := newHandlerWithTransport(t, transport, "http://control-plane")
				if err != nil {
					t.Fatal(err)
				}
				req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
				req.Header.Set(timeoutHeader, tt.header)
				start, response := time.Now(), httptest.NewRecorder()
				handler.ServeHTTP(response, req)
				if took := time.Since(start); took != tt.want {
					t.Errorf("took %v, want %v", took, tt.want)
				}
				if body := response.Body.String(); response.Code != http.StatusOK || !strings.Contains(body, `reason="timeout",target="acme"} 1`) {
					t.Errorf("%d: %s", response.Code, body)
				}
			})
		})
	}
}

func TestScrapesAboveTheLimitAreRejected(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	wait := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begun <- struct{}{}
			<-finish
			next.ServeHTTP(w, r)
		})
	}
	cp := controlplanetest.Start(t, controlplanetest.Always(), faults.First(1, wait))
	url := start(t, cp.URL, func(cfg *server.Config) { cfg.MaxRequests = 1 })
	first := make(chan int)
	go func() {
		status, _, _ := get(t, url+"/metrics")
		first <- status
	}()
	<-begun
	if status, body, _ := get(t, url+"/metrics"); status != http.StatusServiceUnavailable || !strings.Contains(body, "--web.max-requests") {
		t.Errorf("the second: %d %s", status, body)
	}
	if status, _, _ := get(t, url+"/-/healthy"); status != http.StatusOK {
		t.Errorf("healthy: %d", status)
	}
	close(finish)
	if status := <-first; status != http.StatusOK {
		t.Errorf("the first: %d", status)
	}
	if status, _, _ := get(t, url+"/metrics"); status != http.StatusOK {
		t.Errorf("the third: %d", status)
	}
}

func TestDisconnectedScraperCancelsTheListing(t *testing.T) {
	begun, gone := make(chan struct{}), make(chan struct{})
	cp := controlplanetest.Start(t, controlplanetest.Always(), faults.First(1, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
			close(gone)
		})
	}))
	url := start(t, cp.URL)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultTransport.RoundTrip(req); err == nil {
		resp.Body.Close()
		t.Fatal("got a response")
	}
	<-gone
	if _, body, _ := get(t, url+"/metrics"); !strings.Contains(metricstest.WithoutControlPlane(body), `truefoundry_up{target="acme"} 1`) {
		t.Errorf("the next scrape: %s", body)
	}
}

// The failure to write is logged once, and not for each metric.
func TestDisconnectedScraperIsNotLoggedAsAnError(t *testing.T) {
	begun, done := make(chan struct{}), make(chan struct{})
	cp := controlplanetest.Start(t, controlplanetest.Always(), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
		})
	})
	var written metricstest.Log
	handler, err := newHandler(t, cp.URL, func(cfg *server.Config) { cfg.Logger = log.NewLogfmtLogger(&written) })
	if err != nil {
		t.Fatal(err)
	}
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		handler.ServeHTTP(w, r)
	}))
	defer exporter.Close()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", exporter.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	<-done
	if got := written.String(); strings.Contains(got, "level=error") || strings.Count(got, "level=debug") != 1 {
		t.Errorf("logged %s", got)
	}
}

func TestPagesAndMethods(t *testing.T) {
	unexpected := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the control plane got a request: %s", r.URL) })
	}
	cp := controlplanetest.Start(t, controlplanetest.Always(), unexpected)
	url := start(t, cp.URL, func(cfg *server.Config) { cfg.Notice, cfg.TelemetryPath = `a <"notice">`, "/m&m" })
	for _, tt := range []struct {
		path   string
		status int
		want   string
	}{
		{"/", http.StatusOK, "truefoundry_exporter"},
		{"/", http.StatusOK, `href="./m&amp;m"`},
		{"/", http.StatusOK, "a &lt;&#34;notice&#34;&gt;"},
		{"/-/healthy", http.StatusOK, "healthy"},
		{"/-/ready", http.StatusOK, "ready"},
		{"/metrics", http.StatusNotFound, ""},
		{"/debug/pprof/", http.StatusNotFound, ""},
		{"/-/", http.StatusNotFound, ""},
		{"/-/reload", http.StatusMethodNotAllowed, ""},
	} {
		status, body, _ := get(t, url+tt.path)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %q, want %d and %q", tt.path, status, body, tt.status, tt.want)
		}
		if strings.Contains(body, "/pprof") {
			t.Errorf("%s links profiles", tt.path)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		for _, path := range []string{"/", "/m&m", "/-/healthy", "/-/ready"} {
			if status, _, _ := do(t, method, url+path); status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, status)
			}
		}
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodOptions} {
		if status, _, header := do(t, method, url+"/-/reload"); status != http.StatusMethodNotAllowed || header.Get("Allow") != http.MethodPost {
			t.Errorf("%s /-/reload: %d, allowed %q", method, status, header.Get("Allow"))
		}
	}
	if status, body, _ := do(t, http.MethodHead, url+"/-/ready"); status != http.StatusOK || body != "" {
		t.Errorf("HEAD: %d %q", status, body)
	}
}

func TestReloadByHTTP(t *testing.T) {
	works := func() error { return nil }
	for _, tt := range []struct {
		name    string
		reload  func() error
		enabled bool
		status  int
		want    string
	}{
		{"is disabled", works, false, http.StatusForbidden, "--web.enable-lifecycle"},
		{"has nothing to reload", nil, true, http.StatusForbidden, "--web.enable-lifecycle"},
		{"succeeds", works, true, http.StatusOK, "The configuration is reloaded.\n"},
		{"fails", func() error { return errors.New("line 7: no such field") }, true, http.StatusInternalServerError, "line 7: no such field\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			calls := 0
			url := start(t, "http://unused", func(cfg *server.Config) {
				cfg.EnableLifecycle = tt.enabled
				if tt.reload != nil {
					cfg.Reload = func() error { calls++; return tt.reload() }
				}
			})
			if status, _, _ := get(t, url+"/-/reload"); status != http.StatusMethodNotAllowed || calls != 0 {
				t.Errorf("GET: %d, reloaded %d times", status, calls)
			}
			status, body, _ := do(t, http.MethodPost, url+"/-/reload")
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%d %q, want %d and %q", status, body, tt.status, tt.want)
			}
			if reloaded := calls == 1; reloaded != (tt.status != http.StatusForbidden) {
				t.Errorf("reloaded %d times", calls)
			}
		})
	}
}

func TestTelemetryPathMayReplaceTheLandingPage(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always())
	url := start(t, cp.URL, func(cfg *server.Config) { cfg.TelemetryPath = "/" })
	if _, body, _ := get(t, url); !strings.Contains(body, "truefoundry_up") {
		t.Errorf("got %s", body)
	}
	if status, _, _ := get(t, url+"/other"); status != http.StatusNotFound {
		t.Errorf("other paths: %d", status)
	}
}

func TestInvalidTelemetryPathIsRejected(t *testing.T) {
	for _, path := range []string{"", "metrics", "/-/healthy", "/-/ready", "/-/reload", "/{x}", "/a b", "/a?b", "/a#b", "/%zz", "/a\nb", "//", "//metrics", "/a//b", "/a/../b", "/./a"} {
		if _, err := newHandler(t, "http://unused", func(cfg *server.Config) { cfg.TelemetryPath = path }); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", path)) {
			t.Errorf("%q: %v", path, err)
		}
	}
}
