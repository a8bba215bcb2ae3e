package server_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/truefoundry-community/truefoundry_exporter/internal/server"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
)

// unreadResponse is the http.ResponseWriter of a scraper that never reads: writes block
// until the deadline.
type unreadResponse struct {
	header   http.Header
	status   int
	deadline time.Time
}

func (u *unreadResponse) Header() http.Header { return u.header }

func (u *unreadResponse) WriteHeader(status int) { u.status = status }

func (u *unreadResponse) SetWriteDeadline(deadline time.Time) error {
	u.deadline = deadline
	return nil
}

func (u *unreadResponse) Write([]byte) (int, error) {
	if u.deadline.IsZero() {
		select {} // no deadline
	}
	<-time.After(time.Until(u.deadline))
	return 0, os.ErrDeadlineExceeded
}

// latency is the latency of the control plane in inBubble.
const latency = time.Second

// inBubble runs a test in a synctest bubble with the handler of an exporter of n tokens.
func inBubble(t *testing.T, n int, test func(t *testing.T, handler http.Handler), configure ...func(*server.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cp := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(n)...))
		transport, stop := controlplanetest.InMemory(cp.With(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				<-time.After(latency)
				next.ServeHTTP(w, r)
			})
		}))
		defer stop()
		handler, err := newHandlerWithTransport(t, transport, "http://control-plane", append(configure, func(cfg *server.Config) {
			cfg.Registry, cfg.InstrumentHandler = prometheus.NewRegistry(), true
		})...)
		if err != nil {
			t.Fatal(err)
		}
		test(t, handler)
	})
}

// scrapeUnread starts n scrapes that are never read. When all of them block, it returns the
// size of the heap.
func scrapeUnread(t *testing.T, wait *sync.WaitGroup, handler http.Handler, n int, header ...string) uint64 {
	t.Helper()
	for range n {
		wait.Go(func() { handler.ServeHTTP(&unreadResponse{header: http.Header{}}, request(t, header...)) })
	}
	<-time.After(10 * latency)
	synctest.Wait()
	var memory runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&memory)
	return memory.HeapAlloc
}

func request(t *testing.T, header ...string) *http.Request {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// The metrics of all scrapes are shared. Each scrape has its own buffers.
func TestScrapersThatDoNotReadShareTheirMemory(t *testing.T) {
	const tokens, maxEach = 2_000, 1 << 20
	for _, encoding := range []string{"identity", "gzip"} {
		t.Run(encoding, func(t *testing.T) {
			inBubble(t, tokens, func(t *testing.T, handler http.Handler) {
				var wait sync.WaitGroup
				one := scrapeUnread(t, &wait, handler, 1, "Accept-Encoding", encoding)
				wait.Wait()
				forty := scrapeUnread(t, &wait, handler, 40, "Accept-Encoding", encoding)
				wait.Wait()
				if forty > one && (forty-one)/39 > maxEach {
					t.Errorf("one scrape needs %d bytes, forty need %d: %d for each", one, forty, (forty-one)/39)
				}
			})
		})
	}
}

func TestWriteDeadlineFollowsTheTimeoutOfTheScraper(t *testing.T) {
	const limit = time.Minute
	listing := latency // one page
	for header, want := range map[string]time.Duration{
		"10": 10 * time.Second, "30.5": 30500 * time.Millisecond, "61": 61 * time.Second,
		"63": listing + limit, "1e9": listing + limit,
		"": listing + limit, "0.05": listing + limit, "-1": listing + limit, "soon": listing + limit,
	} {
		t.Run(fmt.Sprintf("%q", header), func(t *testing.T) {
			inBubble(t, 3, func(t *testing.T, handler http.Handler) {
				start := time.Now()
				handler.ServeHTTP(&unreadResponse{header: http.Header{}}, request(t, timeoutHeader, header))
				if took := time.Since(start); took != want {
					t.Errorf("it took %v, want %v", took, want)
				}
			})
		})
	}
}

func TestScrapersThatDoNotReadBlockOthersOnlyUntilTheirTimeout(t *testing.T) {
	const limit, timeout = 40, 10 * time.Second
	inBubble(t, 3, func(t *testing.T, handler http.Handler) {
		scrape := func() int {
			response := httptest.NewRecorder()
			handler.ServeHTTP(response, request(t))
			return response.Code
		}
		start := time.Now()
		var wait sync.WaitGroup
		for range limit {
			wait.Go(func() { handler.ServeHTTP(&unreadResponse{header: http.Header{}}, request(t, timeoutHeader, "10")) })
		}
		<-time.After(timeout - time.Millisecond)
		if status := scrape(); status != http.StatusServiceUnavailable {
			t.Errorf("while the limit is reached: %d", status)
		}
		wait.Wait()
		if took := time.Since(start); took != timeout {
			t.Errorf("the scrapes ended after %v, want %v", took, timeout)
		}
		if status := scrape(); status != http.StatusOK {
			t.Errorf("after the timeout: %d", status)
		}
	}, func(cfg *server.Config) { cfg.MaxRequests = limit })
}

// shortDeadline sets a short write deadline.
type shortDeadline struct{ http.ResponseWriter }

// SetWriteDeadline is called by http.ResponseController.
func (i shortDeadline) SetWriteDeadline(time.Time) error {
	return http.NewResponseController(i.ResponseWriter).SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
}

func TestUnreadConnectionIsClosed(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(4000)...))
	handler, err := newHandler(t, cp.URL)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		handler.ServeHTTP(shortDeadline{w}, r)
	}))
	defer exporter.Close()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(exporter.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: exporter\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-ended
	if response, err := io.ReadAll(conn); strings.HasSuffix(string(response), "\r\n0\r\n\r\n") {
		t.Errorf("got the complete response of %d bytes and %v", len(response), err)
	}
}
