package faults_test

import (
	"crypto/tls"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
)

// controlPlane is a control plane whose faults and items can be changed while it is served.
type controlPlane struct {
	*controlplanetest.ControlPlane
	tokens   int
	fault    *faults.Switchable
	server   *httptest.Server
	listener *faults.Listener

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
	cp.listener = faults.WrapListener(cp.server)
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
