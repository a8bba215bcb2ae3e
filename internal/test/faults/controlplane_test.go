package faults_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
)

// controlPlane is a control plane whose answers a test changes while it serves.
type controlPlane struct {
	*controlplanetest.ControlPlane
	tokens int
	fault  *faults.Switchable
	server *httptest.Server
	sent   atomic.Int64 // bytes
	// deaths counts how often its connections died.
	deaths atomic.Int64

	mu    sync.Mutex
	items func() []any
}

// newControlPlane returns a control plane with so many healthy tokens, which does
// not serve yet.
func newControlPlane(t *testing.T, tokens int) *controlPlane {
	t.Helper()
	cp := &controlPlane{tokens: tokens, fault: faults.Switch()}
	cp.listsItsTokens()
	cp.ControlPlane = controlplanetest.New(t, func() []any {
		cp.mu.Lock()
		defer cp.mu.Unlock()
		return cp.items()
	})
	cp.server = httptest.NewUnstartedServer(cp.With(cp.fault.Wrap))
	cp.server.Listener = &meter{cp.server.Listener, cp}
	return cp
}

// startControlPlane returns a control plane that serves until the test ends.
func startControlPlane(t *testing.T) *controlPlane {
	t.Helper()
	cp := newControlPlane(t, faultyTokens)
	cp.serve(t)
	return cp
}

// startTLS returns a control plane that serves by HTTPS until the test ends.
func startTLS(t *testing.T, cfg *tls.Config) *controlPlane {
	t.Helper()
	cp := newControlPlane(t, faultyTokens)
	cp.serveTLS(t, cfg)
	return cp
}

func (cp *controlPlane) serveTLS(t *testing.T, cfg *tls.Config) {
	t.Helper()
	cp.server.TLS = cfg
	cp.server.StartTLS()
	t.Cleanup(cp.server.Close)
	cp.URL = cp.server.URL
}

func (cp *controlPlane) serve(t *testing.T) {
	t.Helper()
	cp.server.Start()
	t.Cleanup(cp.server.Close)
	cp.URL = cp.server.URL
}

// answers makes the fault the answer to each request; nil is none.
func (cp *controlPlane) answers(fault controlplanetest.Fault) { cp.fault.Set(fault) }

// lists makes these the items that are listed.
func (cp *controlPlane) lists(items ...any) { cp.listsEachTime(controlplanetest.Always(items...)) }

// listsItsTokens makes the healthy tokens those that are listed.
func (cp *controlPlane) listsItsTokens() { cp.lists(controlplanetest.Tokens(cp.tokens)...) }

// listsEachTime lists what items returns for each request.
func (cp *controlPlane) listsEachTime(items func() []any) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.items = items
}

// port is where it serves, with a colon.
func (cp *controlPlane) port() string { return cp.URL[strings.LastIndexByte(cp.URL, ':'):] }

// closeConnections closes the connections from the exporter. Only an exporter
// that sends one request at a time cannot be about to make another one.
func (cp *controlPlane) closeConnections() { cp.server.CloseClientConnections() }

// letConnectionsDie lets the connections from the exporter stay open, but nothing go
// through them any more, as behind a load balancer whose backend was replaced.
func (cp *controlPlane) letConnectionsDie() { cp.deaths.Add(1) }

// meter counts what its connections send, and lets them die.
type meter struct {
	net.Listener
	cp *controlPlane
}

// Accept implements net.Listener.
func (m *meter) Accept() (net.Conn, error) {
	conn, err := m.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &metered{conn.(*net.TCPConn), m.cp, m.cp.deaths.Load()}, nil
}

type metered struct {
	*net.TCPConn
	cp     *controlPlane
	deaths int64 // when it was made
}

func (c *metered) isDead() bool { return c.cp.deaths.Load() != c.deaths }

// Read implements io.Reader. What a dead connection receives is lost.
func (c *metered) Read(p []byte) (int, error) {
	for {
		n, err := c.TCPConn.Read(p)
		if err != nil || !c.isDead() {
			return n, err
		}
	}
}

// Write implements io.Writer. What a dead connection sends is lost.
func (c *metered) Write(p []byte) (int, error) {
	if c.isDead() {
		return len(p), nil
	}
	n, err := c.TCPConn.Write(p)
	c.cp.sent.Add(int64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (c *metered) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	c.cp.sent.Add(n)
	return n, err
}
