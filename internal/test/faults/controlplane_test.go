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

// controlPlane is a control plane whose faults and items can be changed while it is served.
type controlPlane struct {
	*controlplanetest.ControlPlane
	tokens int
	fault  *faults.Switchable
	server *httptest.Server
	sent   atomic.Int64 // bytes
	// generation is the number of calls of killConnections.
	generation atomic.Int64

	mu    sync.Mutex
	items func() []any
}

// newControlPlane returns a control plane with n healthy tokens, which is not served yet.
func newControlPlane(t *testing.T, n int) *controlPlane {
	t.Helper()
	cp := &controlPlane{tokens: n, fault: faults.Switch()}
	cp.resetItems()
	cp.ControlPlane = controlplanetest.New(t, func() []any {
		cp.mu.Lock()
		defer cp.mu.Unlock()
		return cp.items()
	})
	cp.server = httptest.NewUnstartedServer(cp.With(cp.fault.Wrap))
	cp.server.Listener = &listener{cp.server.Listener, cp}
	return cp
}

// startControlPlane returns a control plane that is served until the test ends.
func startControlPlane(t *testing.T) *controlPlane {
	t.Helper()
	cp := newControlPlane(t, faultyTokens)
	cp.serve(t)
	return cp
}

// startTLS returns a control plane that is served over HTTPS until the test ends.
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

// setFault sets the fault of all requests. nil is no fault.
func (cp *controlPlane) setFault(fault controlplanetest.Fault) { cp.fault.Set(fault) }

// setItems sets the items of the list.
func (cp *controlPlane) setItems(items ...any) { cp.setItemsFunc(controlplanetest.Always(items...)) }

// setItemsFunc sets a function that returns the items of the list for each request.
func (cp *controlPlane) setItemsFunc(items func() []any) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.items = items
}

// resetItems makes the healthy tokens the items of the list.
func (cp *controlPlane) resetItems() { cp.setItems(controlplanetest.Tokens(cp.tokens)...) }

// port returns the port of the server, after a colon.
func (cp *controlPlane) port() string { return cp.URL[strings.LastIndexByte(cp.URL, ':'):] }

// closeConnections closes the connections from the exporter. The exporter must be
// sequential: another one may be dialing a connection.
func (cp *controlPlane) closeConnections() { cp.server.CloseClientConnections() }

// killConnections makes the current connections drop all data without closing them, like a
// load balancer whose backend was replaced.
func (cp *controlPlane) killConnections() { cp.generation.Add(1) }

// listener counts the bytes that its connections send, and can kill them.
type listener struct {
	net.Listener
	cp *controlPlane
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{accepted.(*net.TCPConn), l.cp, l.cp.generation.Load()}, nil
}

type conn struct {
	*net.TCPConn
	cp         *controlPlane
	generation int64 // of the control plane, when the connection was accepted
}

func (c *conn) isDead() bool { return c.cp.generation.Load() != c.generation }

// Read implements io.Reader. A dead connection drops what it receives.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.TCPConn.Read(p)
		if err != nil || !c.isDead() {
			return n, err
		}
	}
}

// Write implements io.Writer. A dead connection drops what it should send.
func (c *conn) Write(p []byte) (int, error) {
	if c.isDead() {
		return len(p), nil
	}
	n, err := c.TCPConn.Write(p)
	c.cp.sent.Add(int64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	c.cp.sent.Add(n)
	return n, err
}
