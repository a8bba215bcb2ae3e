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

// unread is the connection of a scraper that never reads: it takes nothing until
// its deadline has passed.
type unread struct {
	header   http.Header
	status   int
	deadline time.Time
}

func (u *unread) Header() http.Header { return u.header }

func (u *unread) WriteHeader(status int) { u.status = status }

func (u *unread) SetWriteDeadline(deadline time.Time) error {
	u.deadline = deadline
	return nil
}

func (u *unread) Write([]byte) (int, error) {
	if u.deadline.IsZero() {
		select {} // for ever
	}
	<-time.After(time.Until(u.deadline)) // of the bubble's time
	return 0, os.ErrDeadlineExceeded
}

// latency is how long the control plane takes for a page in inBubble.
const latency = time.Second

// inBubble runs a test with a handler, for a control plane of n tokens, whose time
// is the bubble's.
func inBubble(t *testing.T, n int, test func(t *testing.T, handler http.Handler), choose ...func(*server.Config)) {
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
		handler, err := newHandlerThrough(t, transport, "http://control-plane", append(choose, func(cfg *server.Config) {
			cfg.Registry, cfg.InstrumentHandler = prometheus.NewRegistry(), true
		})...)
		if err != nil {
			t.Fatal(err)
		}
		test(t, handler)
	})
}

// leaveUnread lets n scrapers ask that never read, and returns how many bytes are
// in use when all of them are waited for.
func leaveUnread(t *testing.T, wait *sync.WaitGroup, handler http.Handler, n int, header ...string) uint64 {
	t.Helper()
	for range n {
		wait.Go(func() { handler.ServeHTTP(&unread{header: http.Header{}}, request(t, header...)) })
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

// What forty scrapers that do not read have in common is held once. Each has
// buffers of its own, those of gzip included.
func TestScrapersThatDoNotReadCostLittleMoreThanOne(t *testing.T) {
	const tokens, most = 2_000, 1 << 20
	for _, encoding := range []string{"identity", "gzip"} {
		t.Run(encoding, func(t *testing.T) {
			inBubble(t, tokens, func(t *testing.T, handler http.Handler) {
				var wait sync.WaitGroup
				one := leaveUnread(t, &wait, handler, 1, "Accept-Encoding", encoding)
				wait.Wait()
				forty := leaveUnread(t, &wait, handler, 40, "Accept-Encoding", encoding)
				wait.Wait()
				if forty > one && (forty-one)/39 > most {
					t.Errorf("one holds %d bytes, forty hold %d: each of them %d more", one, forty, (forty-one)/39)
				}
			})
		})
	}
}

func TestHowLongAScraperMayTakeToRead(t *testing.T) {
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
				handler.ServeHTTP(&unread{header: http.Header{}}, request(t, timeoutHeader, header))
				if took := time.Since(start); took != want {
					t.Errorf("it took %v, want %v", took, want)
				}
			})
		})
	}
}

// Those who do not read hold the others up until the timeouts that they announced
// are over, and no longer.
func TestScrapersThatDoNotReadMakeRoom(t *testing.T) {
	const limit, timeout = 40, 10 * time.Second
	inBubble(t, 3, func(t *testing.T, handler http.Handler) {
		scrape := func() int {
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request(t))
			return answer.Code
		}
		start := time.Now()
		var wait sync.WaitGroup
		for range limit {
			wait.Go(func() { handler.ServeHTTP(&unread{header: http.Header{}}, request(t, timeoutHeader, "10")) })
		}
		<-time.After(timeout - time.Millisecond)
		if status := scrape(); status != http.StatusServiceUnavailable {
			t.Errorf("while there is no room: %d", status)
		}
		wait.Wait()
		if took := time.Since(start); took != timeout {
			t.Errorf("there is room after %v, want %v", took, timeout)
		}
		if status := scrape(); status != http.StatusOK {
			t.Errorf("when there is room: %d", status)
		}
	}, func(cfg *server.Config) { cfg.MaxRequests = limit })
}

// impatient leaves little time to read the answer, however long it took to make it.
type impatient struct{ http.ResponseWriter }

// SetWriteDeadline implements what http.ResponseController looks for.
func (i impatient) SetWriteDeadline(time.Time) error {
	return http.NewResponseController(i.ResponseWriter).SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
}

// The same over a real connection, which cannot hold the answer.
func TestConnectionThatIsNotReadIsCut(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(4000)...))
	handler, err := newHandler(t, cp.URL)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		handler.ServeHTTP(impatient{w}, r)
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
	if answer, err := io.ReadAll(conn); strings.HasSuffix(string(answer), "\r\n0\r\n\r\n") {
		t.Errorf("it has sent everything: %d bytes, %v", len(answer), err)
	}
}
