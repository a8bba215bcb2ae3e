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

// tokensIn is how many tokens an exposition has.
func tokensIn(metrics string) int { return strings.Count(metrics, "\ntruefoundry_token_info{") }

// dial connects to the exporter, with small buffers.
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

// answer is one whose body is still to be read.
type answer struct {
	status int
	header http.Header
	body   io.Reader
}

// send sends a request, and returns the answer as soon as its header is there.
func send(t *testing.T, conn net.Conn, request string) answer {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("to %.100q: %v", request, err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return answer{resp.StatusCode, resp.Header, resp.Body}
}

const scrape = "GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"

// many is how many of wordyTokens are more than the buffers of a connection hold,
// which are some megabytes.
const many = 1000

func wordyTokens() []any {
	items, word := make([]any, many), strings.Repeat("x", 250)
	for i := range items {
		token := controlplanetest.Token(i)
		token.Name, token.TenantName, token.CreatedBySubject.Slug, token.Manifest.OwnedBy.Team = word, word, word, word
		items[i] = token
	}
	return items
}

func TestASlowReaderHoldsUpNobodyAndGetsAll(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(wordyTokens()...))
	p := start(t, []string{"TFY_API_KEY=" + controlplanetest.Key}, "--truefoundry.url="+cp.URL)
	slow := send(t, dial(t, p), scrape)
	metrics := get(t, p.url+"/metrics")
	if n := tokensIn(metrics); n != many {
		t.Errorf("%d tokens beside the slow reader", n)
	}
	if !strings.Contains(metrics, "\npromhttp_metric_handler_requests_in_flight 2\n") {
		t.Error("the slow reader has its answer already")
	}
	body, err := io.ReadAll(slow.body)
	if n := tokensIn(string(body)); err != nil || n != many {
		t.Errorf("%d tokens for the slow reader, and then %v", n, err)
	}
}

// A scraper that gives up is no error of the exporter's.
func TestAScraperThatHangsUpInTheMiddleOfTheAnswer(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(wordyTokens()...))
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
		if n := tokensIn(metrics); n != many {
			t.Fatalf("%d tokens after somebody hung up", n)
		}
		if strings.Contains(metrics, "\npromhttp_metric_handler_requests_in_flight 1\n") {
			break
		}
	}
	if logged := p.end(t, syscall.SIGTERM); strings.Contains(logged, "level=error") || strings.Contains(logged, "level=warn") {
		t.Errorf("logged\n%s", logged)
	}
}

func TestAHugeHeaderIsRefused(t *testing.T) {
	p := start(t, nil, "--demo")
	for size, want := range map[int]int{32 << 10: http.StatusOK, 80 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		header := "X-Long: " + strings.Repeat("a", size) + "\r\n\r\n"
		if resp := send(t, dial(t, p), strings.Replace(scrape, "\r\n\r\n", "\r\n"+header, 1)); resp.status != want {
			t.Errorf("a header of %d bytes: %d", size, resp.status)
		}
	}
	wantLines(t, get(t, p.url+"/metrics"), `truefoundry_up{target="demo-personal"} 1`)
}

// So many scrapes at once as are allowed share one listing, and the others are
// told so.
func TestEverythingAtOnce(t *testing.T) {
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
	answers := make(chan string, scrapes)
	for range scrapes {
		go func() {
			resp, err := http.Get(p.url + "/metrics") //nolint:noctx // it ends with the exporter
			if err != nil {
				answers <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			answers <- fmt.Sprintln(resp.StatusCode, err) + string(body)
		}()
	}
	for range scrapes - allowed {
		if got := <-answers; !strings.HasPrefix(got, "503 <nil>\n3 scrapes are under way") {
			t.Errorf("above the limit: %s", got)
		}
	}
	for _, path := range []string{"/", "/-/healthy", "/-/ready"} {
		get(t, p.url+path)
	}
	close(finish)
	for range allowed {
		if got := <-answers; !strings.HasPrefix(got, "200 <nil>\n") || tokensIn(got) != 3 {
			t.Errorf("within the limit: %s", got)
		}
	}
	if n := len(cp.Requests()); n != 1 {
		t.Errorf("%d requests, want those of one listing", n)
	}
	if metrics := get(t, p.url+"/metrics"); tokensIn(metrics) != 3 {
		t.Errorf("afterwards: %s", metrics)
	}
}

// closing answers each request on a connection of its own.
func closing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		next.ServeHTTP(w, r)
	})
}

// Those who have a connection are still answered, with what is true.
func TestOutOfFileDescriptors(t *testing.T) {
	const limit = 40
	cp := serveTokens(t, controlplanetest.Key, 3, 0, closing)
	file := write(t, "targets.yml", configOf("inline", cp.URL, controlplanetest.Key)+
		"- {name: file, url: "+cp.URL+", authorization: {credentials_file: key}}\n")
	rewrite(t, filepath.Join(filepath.Dir(file), "key"), controlplanetest.Key)
	p := start(t, []string{fmt.Sprint(descriptors, "=", limit)}, "--config.file="+file, "--web.enable-lifecycle")
	up := []string{`truefoundry_up{target="inline"} 1`, `truefoundry_up{target="file"} 1`}

	scraper := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer scraper.CloseIdleConnections()
	_, metrics := ask(t, scraper, p.url+"/metrics", func(*http.Request) {})
	wantLines(t, metrics, up...)

	// The exporter closes what is silent, and gets the next one then.
	silent := make([]net.Conn, 10*limit)
	for i := range silent {
		silent[i] = dial(t, p)
	}
	p.awaitLog(t, "too many open files")
	status, metrics := ask(t, scraper, p.url+"/metrics", func(*http.Request) {})
	wantLines(t, metrics, `truefoundry_up{target="inline"} 0`, `truefoundry_up{target="file"} 0`,
		`truefoundry_listing_errors_total{kind="personal-access-token",reason="connection",target="inline"} 1`,
		`truefoundry_listing_errors_total{kind="personal-access-token",reason="credentials",target="file"} 1`)
	if status != http.StatusOK || tokensIn(metrics) != 0 {
		t.Errorf("without descriptors: %d with %d tokens", status, tokensIn(metrics))
	}
	resp, err := scraper.Post(p.url+"/-/reload", "", nil) //nolint:noctx // the exporter ends with the test
	if err != nil {
		t.Fatal(err)
	}
	reason, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusInternalServerError || !strings.Contains(string(reason), "too many open files") {
		t.Errorf("a reload without descriptors: %s %s", resp.Status, reason)
	}

	for _, conn := range silent {
		conn.Close()
	}
	metrics = get(t, p.url+"/metrics")
	wantLines(t, metrics, up...)
	if tokensIn(metrics) != 2*3 {
		t.Errorf("afterwards: %d tokens", tokensIn(metrics))
	}
}

// net/http logs by itself what a server sends without being asked.
func TestWhatNobodyAskedForIsLoggedLikeEverythingElse(t *testing.T) {
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
	line := p.awaitLog(t, "Unsolicited response")
	if !strings.HasPrefix(line, "level=warn ts=") {
		t.Errorf("logged %s", line)
	}
	if logged := p.end(t, os.Interrupt); strings.Contains(logged, controlplanetest.Key) {
		t.Errorf("the key is shown:\n%s", logged)
	}
}

func TestOnlyGETAndHEADAndTheReloadAreAnswered(t *testing.T) {
	cp := serveTokens(t, "the-key", 1, 0)
	p := start(t, nil, "--config.file="+write(t, "targets.yml", configOf("acme", cp.URL, "the-key")), "--web.enable-lifecycle")
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
	// Two of the scrapes asked, and nothing else did.
	if n := len(cp.Requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestNoProfilesAreServed(t *testing.T) {
	p := start(t, nil, "--demo")
	for _, path := range []string{
		"/debug", "/debug/", "/debug/pprof", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/profile", "/debug/pprof/symbol",
		"/debug/pprof/trace", "/debug/pprof/heap", "/debug/pprof/goroutine?debug=2", "/debug/vars", "/debug/requests", "/debug/events", "/pprof/",
	} {
		if status, body := ask(t, http.DefaultClient, p.url+path, func(*http.Request) {}); status != http.StatusNotFound {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if page := get(t, p.url); strings.Contains(page, "/pprof") || strings.Contains(page, "/debug") {
		t.Errorf("the landing page links profiles:\n%s", page)
	}
}

// Nobody keeps a connection for longer than that, and nobody is cut off before.
func TestWhoIsSilentOrSlowIsCutOff(t *testing.T) {
	const timeout = time.Minute
	for _, tt := range []struct {
		name string
		talk func(conn net.Conn)
		want time.Duration
	}{
		{"who says nothing", func(net.Conn) {}, 10 * time.Second},
		{"who sends a byte of the header each second", func(conn net.Conn) {
			go io.Copy(io.Discard, conn)
			for _, b := range []byte("GET / HTTP/1.1\r\nX-A: b") {
				<-time.After(time.Second)
				if _, err := conn.Write([]byte{b}); err != nil {
					return
				}
			}
		}, 10 * time.Second},
		{"who does not send the body", func(conn net.Conn) {
			io.WriteString(conn, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
		}, timeout + 30*time.Second},
		{"who does not read the answer", func(conn net.Conn) {
			io.WriteString(conn, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
		}, timeout + 30*time.Second},
		{"who asks nothing more", func(conn net.Conn) {
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
					t.Errorf("it was cut off after %v, want %v", took, tt.want)
				}
				conn.Close()
				talking.Wait()
			})
		})
	}
}

func TestALongScrapeIsAnsweredAndReadSlowly(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, time.Minute, maxTimeout} {
		t.Run(timeout.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const size = 1 << 20
				srv := newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					select {
					case <-time.After(timeout):
					case <-r.Context().Done():
						t.Errorf("it ends before: %v", r.Context().Err())
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
					t.Errorf("%d bytes, and then %v", n, err)
				}
			})
		})
	}
}
