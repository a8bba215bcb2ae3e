package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
)

// countTokens returns the number of tokens in an exposition.
func countTokens(metrics string) int { return strings.Count(metrics, "\ntruefoundry_token_info{") }

// dial connects to the exporter with a small receive buffer.
func dial(t *testing.T, p *process) *net.TCPConn {
	t.Helper()
	address, err := net.ResolveTCPAddr("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTCP("tcp", nil, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	return conn
}

// response is a response whose body has not been read.
type response struct {
	status int
	header http.Header
	body   io.Reader
}

// send sends a request and reads the header of the response.
func send(t *testing.T, conn net.Conn, request string) response {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("to %.100q: %v", request, err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return response{resp.StatusCode, resp.Header, resp.Body}
}

const scrape = "GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"

// longTokenCount is a number of longTokens that exceeds the buffers of a connection,
// which hold some megabytes.
const longTokenCount = 1000

// longTokens returns tokens with long labels.
func longTokens() []any {
	items, word := make([]any, longTokenCount), strings.Repeat("x", 250)
	for i := range items {
		token := controlplanetest.Token(i)
		token.Name, token.TenantName, token.CreatedBySubject.Slug, token.Manifest.OwnedBy.Team = word, word, word, word
		items[i] = token
	}
	return items
}

func TestSlowScraperDoesNotDelayOthers(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Always(longTokens()...))
	p := start(t, []string{"TFY_API_KEY=" + controlplanetest.Key}, "--truefoundry.url="+cp.URL)
	slow := send(t, dial(t, p), scrape)
	metrics := get(t, p.url+"/metrics")
	if n := countTokens(metrics); n != longTokenCount {
		t.Errorf("another scraper got %d tokens", n)
	}
	if !strings.Contains(metrics, "\npromhttp_metric_handler_requests_in_flight 2\n") {
		t.Error("the slow scraper has got its response already")
	}
	body, err := io.ReadAll(slow.body)
	if n := countTokens(string(body)); err != nil || n != longTokenCount {
		t.Errorf("the slow scraper got %d tokens and %v", n, err)
	}
}

func TestDisconnectedScraperIsNotLoggedAsAnError(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Always(longTokens()...))
	p := start(t, []string{"TFY_API_KEY=" + controlplanetest.Key}, "--truefoundry.url="+cp.URL)
	for range 2 {
		conn := dial(t, p)
		send(t, conn, scrape)
		if err := conn.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	for {
		metrics := get(t, p.url+"/metrics")
		if n := countTokens(metrics); n != longTokenCount {
			t.Fatalf("%d tokens after a scraper disconnected", n)
		}
		if strings.Contains(metrics, "\npromhttp_metric_handler_requests_in_flight 1\n") {
			break
		}
	}
	if logged := p.stop(t, syscall.SIGTERM); strings.Contains(logged, "level=error") || strings.Contains(logged, "level=warn") {
		t.Errorf("logged\n%s", logged)
	}
}

func TestLargeRequestHeaderIsRejected(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "--demo")
	for size, want := range map[int]int{32 << 10: http.StatusOK, 80 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		header := "X-Long: " + strings.Repeat("a", size) + "\r\n\r\n"
		if resp := send(t, dial(t, p), strings.Replace(scrape, "\r\n\r\n", "\r\n"+header, 1)); resp.status != want {
			t.Errorf("a header of %d bytes: %d", size, resp.status)
		}
	}
	wantLines(t, get(t, p.url+"/metrics"), `truefoundry_up{target="demo-personal"} 1`)
}

// As many concurrent scrapes as allowed share one listing.
func TestScrapesAboveMaxRequestsAreRejected(t *testing.T) {
	t.Parallel()
	const scrapes, allowed = 20, 3
	finish := make(chan struct{})
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(3)...), faults.First(1, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-finish:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		})
	}))
	p := start(t, []string{"TFY_API_KEY=" + controlplanetest.Key}, "--truefoundry.url="+cp.URL, fmt.Sprintf("--web.max-requests=%d", allowed))
	responses := make(chan string, scrapes)
	for range scrapes {
		go func() {
			resp, err := http.Get(p.url + "/metrics") //nolint:noctx // it ends with the exporter
			if err != nil {
				responses <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			responses <- fmt.Sprintln(resp.StatusCode, err) + string(body)
		}()
	}
	for range scrapes - allowed {
		if got := <-responses; !strings.HasPrefix(got, "503 <nil>\n3 scrapes are under way") {
			t.Errorf("above the limit: %s", got)
		}
	}
	for _, path := range []string{"/", "/-/healthy", "/-/ready"} {
		get(t, p.url+path)
	}
	close(finish)
	for range allowed {
		if got := <-responses; !strings.HasPrefix(got, "200 <nil>\n") || countTokens(got) != 3 {
			t.Errorf("within the limit: %s", got)
		}
	}
	if n := len(cp.Requests()); n != 1 {
		t.Errorf("%d requests, want one listing", n)
	}
	if metrics := get(t, p.url+"/metrics"); countTokens(metrics) != 3 {
		t.Errorf("afterwards: %s", metrics)
	}
}

// closeConnections closes the connection after each response.
func closeConnections(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		next.ServeHTTP(w, r)
	})
}

// Existing connections are still served.
func TestExporterSurvivesRunningOutOfFileDescriptors(t *testing.T) {
	t.Parallel()
	const limit = 40
	cp := serveTokens(t, controlplanetest.Key, 3, 0, closeConnections)
	file := writeFile(t, "targets.yml", configFile("inline", cp.URL, controlplanetest.Key)+
		"- {name: file, url: "+cp.URL+", authorization: {credentials_file: key}}\n")
	replaceFile(t, filepath.Join(filepath.Dir(file), "key"), controlplanetest.Key)
	p := start(t, []string{fmt.Sprint(envMaxFiles, "=", limit)}, "--config.file="+file, "--web.enable-lifecycle")
	up := []string{`truefoundry_up{target="inline"} 1`, `truefoundry_up{target="file"} 1`}

	scraper := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer scraper.CloseIdleConnections()
	_, metrics := fetch(t, scraper, p.url+"/metrics", func(*http.Request) {})
	wantLines(t, metrics, up...)

	// The exporter closes idle connections and then accepts the next ones.
	idle := make([]net.Conn, 10*limit)
	for i := range idle {
		idle[i] = dial(t, p)
	}
	p.waitForLog(t, "too many open files")
	status, metrics := fetch(t, scraper, p.url+"/metrics", func(*http.Request) {})
	wantLines(t, metrics, `truefoundry_up{target="inline"} 0`, `truefoundry_up{target="file"} 0`,
		`truefoundry_listing_errors_total{kind="personal-access-token",reason="connection",target="inline"} 1`,
		`truefoundry_listing_errors_total{kind="personal-access-token",reason="credentials",target="file"} 1`)
	if status != http.StatusOK || countTokens(metrics) != 0 {
		t.Errorf("without descriptors: %d with %d tokens", status, countTokens(metrics))
	}
	resp, err := scraper.Post(p.url+"/-/reload", "", nil) //nolint:noctx // the exporter ends with the test
	if err != nil {
		t.Fatal(err)
	}
	reason, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusInternalServerError || !strings.Contains(string(reason), "too many open files") {
		t.Errorf("reload without descriptors: %s %s", resp.Status, reason)
	}

	for _, conn := range idle {
		conn.Close()
	}
	metrics = get(t, p.url+"/metrics")
	wantLines(t, metrics, up...)
	if countTokens(metrics) != 2*3 {
		t.Errorf("afterwards: %d tokens", countTokens(metrics))
	}
}

// net/http logs unsolicited responses to the standard logger.
func TestUnsolicitedResponseIsLogged(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Always(), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { conn.Close() })
			const page = `{"data":[]}`
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sHTTP/1.1 200 %s\r\n\r\n", len(page), page, r.Header.Get("Authorization"))
		})
	})
	p := start(t, []string{"TFY_API_KEY=" + controlplanetest.Key, "TFY_HOST=" + cp.URL}, "--log.level=debug")
	wantLines(t, get(t, p.url+"/metrics"), `truefoundry_up{target="`+strings.TrimPrefix(cp.URL, "http://")+`"} 1`)
	line := p.waitForLog(t, "Unsolicited response")
	if !strings.HasPrefix(line, "level=warn ts=") {
		t.Errorf("logged %s", line)
	}
	if logged := p.stop(t, os.Interrupt); strings.Contains(logged, controlplanetest.Key) {
		t.Errorf("the key is exposed:\n%s", logged)
	}
}

func TestUnsupportedMethodsAndPathsAreRejected(t *testing.T) {
	t.Parallel()
	cp := serveTokens(t, "the-key", 1, 0)
	p := start(t, nil, "--config.file="+writeFile(t, "targets.yml", configFile("acme", cp.URL, "the-key")), "--web.enable-lifecycle")
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW", "get"}
	for path, allowed := range map[string][]string{
		"/": {"GET", "HEAD"}, "/metrics": {"GET", "HEAD"}, "/-/healthy": {"GET", "HEAD"}, "/-/ready": {"GET", "HEAD"}, "/-/reload": {"POST"},
	} {
		for _, method := range methods {
			resp := send(t, dial(t, p), method+" "+path+" HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n\r\n")
			want, allow := http.StatusOK, ""
			if !slices.Contains(allowed, method) {
				want, allow = http.StatusMethodNotAllowed, strings.Join(allowed, ", ")
			}
			if got := resp.header.Get("Allow"); resp.status != want || got != allow {
				t.Errorf("%s %s: %d, allowed %q; want %d and %q", method, path, resp.status, got, want, allow)
			}
		}
	}
	for request, want := range map[string]int{
		"OPTIONS *": http.StatusBadRequest, "GET *": http.StatusBadRequest, "PRI *": http.StatusBadRequest,
		"CONNECT example.com:443": http.StatusMethodNotAllowed, "GET http://example.com/": http.StatusOK,
		"GET /metrics/": http.StatusNotFound, "GET /favicon.ico": http.StatusNotFound, "POST /-/": http.StatusNotFound,
	} {
		if resp := send(t, dial(t, p), request+" HTTP/1.1\r\nHost: exporter\r\nConnection: close\r\n\r\n"); resp.status != want {
			t.Errorf("%s: %d, want %d", request, resp.status, want)
		}
	}
	// Only GET and HEAD of /metrics have listed tokens.
	if n := len(cp.Requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestProfilesAreNotServed(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "--demo")
	for _, path := range []string{
		"/debug", "/debug/", "/debug/pprof", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/profile", "/debug/pprof/symbol",
		"/debug/pprof/trace", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/vars", "/debug/requests", "/debug/events", "/pprof/",
	} {
		if status, body := fetch(t, http.DefaultClient, p.url+path, func(*http.Request) {}); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if page := get(t, p.url); strings.Contains(page, "/pprof") || strings.Contains(page, "/debug") {
		t.Errorf("the landing page links profiles:\n%s", page)
	}
}

func TestIdleAndSlowConnectionsAreClosed(t *testing.T) {
	const timeout = time.Minute
	for _, tt := range []struct {
		name string
		talk func(conn net.Conn)
		want time.Duration
	}{
		{"no request", func(net.Conn) {}, 10 * time.Second},
		{"one byte of the header per second", func(conn net.Conn) {
			go io.Copy(io.Discard, conn)
			for _, b := range []byte("GET / HTTP/1.1\r\nX-A: b") {
				<-time.After(time.Second)
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
			}
		}, 10 * time.Second},
		{"no body", func(conn net.Conn) {
			io.WriteString(conn, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
		}, timeout + 30*time.Second},
		{"unread response", func(conn net.Conn) {
			io.WriteString(conn, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
		}, timeout + 30*time.Second},
		{"no further request", func(conn net.Conn) {
			io.WriteString(conn, "GET /small HTTP/1.1\r\nHost: a\r\n\r\n")
			io.Copy(io.Discard, conn)
		}, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					size := map[string]int{"/small": 10, "/large": 1 << 20}[r.URL.Path]
					w.Write(make([]byte, size))
				}), timeout, log.NewNopLogger())
				ended := make(chan time.Time, 1)
				srv.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateClosed {
						ended <- time.Now()
					}
				}
				transport, stop := controlplanetest.ServeInMemory(srv)
				defer stop()
				conn, err := transport.DialContext(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				var talking sync.WaitGroup
				talking.Go(func() { tt.talk(conn) })
				if took := (<-ended).Sub(begin); took != tt.want {
					t.Errorf("closed after %v, want %v", took, tt.want)
				}
				conn.Close()
				talking.Wait()
			})
		})
	}
}

func TestServerTimeoutsAllowLongScrapes(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, time.Minute, maxTimeout} {
		t.Run(timeout.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 1 << 20
				srv := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-time.After(timeout):
					case <-r.Context().Done():
						t.Errorf("cancelled before the timeout: %v", r.Context().Err())
					}
					w.Write(make([]byte, size))
				}), timeout, log.NewNopLogger())
				transport, stop := controlplanetest.ServeInMemory(srv)
				defer stop()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://exporter/metrics", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := transport.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				<-time.After(20 * time.Second)
				if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
					t.Errorf("read %d bytes and got %v", n, err)
				}
			})
		})
	}
}
