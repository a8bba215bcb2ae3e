package faults_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
)

func TestProxies(t *testing.T) {
	t.Parallel()
	t.Run("a proxy that cannot be reached fails the listing", func(t *testing.T) {
		t.Parallel()
		cp := startControlPlane(t)
		names.add(t, "proxy.example")
		e := startExporter(t, cp, oneByOne, "url: http://acme.example", "proxy_url: http://user:s3cret@proxy.example"+cp.port())

		names.set("proxy.example", nobody)
		cp.closeConnections()
		s := e.expectFailure(client.ReasonConnection, "connect: connection refused")
		s.expectRequests(0)
		s.expectRetries(2)

		names.set("proxy.example", loopback)
		e.expectRecovery()
	})

	t.Run("a proxy that refuses to forward fails the listing", func(t *testing.T) {
		t.Parallel()
		cp := startControlPlane(t) // is asked for another host
		e := startExporter(t, cp, several, "url: http://acme.example", "proxy_url: "+cp.URL)

		cp.answers(faults.Status(http.StatusProxyAuthRequired))
		s := e.expectFailure(client.ReasonIntermediary, "the proxy "+cp.server.Listener.Addr().String()+" refused: 407 Proxy Authentication Required")
		s.expectPage("the API key is not the problem")
		s.expectRequests(1)
		s.expectRetries(0)

		cp.answers(nil)
		e.expectRecovery()
	})

	for _, tt := range []struct {
		name         string
		refusal      controlplanetest.Fault
		reason       client.Reason
		logged, page string
		tunnels      int // that are asked for
	}{
		{
			"a proxy that wants a password for a tunnel is asked once", faults.Page(http.StatusProxyAuthRequired, "Proxy-Authenticate", `Basic realm="proxy"`), client.ReasonIntermediary,
			"refused: 407 Proxy Authentication Required (server proxy/1.0, wants Basic)", "the API key is not the problem", 1,
		},
		{
			"a proxy that denies a tunnel is asked once", faults.Status(http.StatusForbidden), client.ReasonIntermediary,
			"refused: 403 Forbidden", "the API key is not the problem", 1,
		},
		{
			"a proxy that cannot reach the control plane is asked again", faults.Page(http.StatusServiceUnavailable), client.ReasonConnection,
			"refused: 503 Service Unavailable (server proxy/1.0)", "check the proxy, and that it may and can reach the control plane", 3,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			authority := faults.NewAuthority(t)
			cp := startTLS(t, authority.Config())
			refusal := faults.Switch()
			var tunnels atomic.Int64
			proxy := httptest.NewServer(count(&tunnels, refusal.Wrap(tunnel(cp.server.Listener.Addr().String()))))
			t.Cleanup(proxy.Close)
			e := startExporter(t, cp, oneByOne, "url: https://acme.example", trusting(t, authority), "proxy_url: "+proxy.URL)

			refusal.Set(tt.refusal)
			cp.closeConnections()
			tunnels.Store(0)
			s := e.expectFailure(tt.reason, "the proxy "+proxy.Listener.Addr().String()+" "+tt.logged)
			s.expectPage(tt.page)
			s.expectRequests(0)
			s.expectRetries(float64(tt.tunnels - 1))
			if n := tunnels.Load(); n != 2*int64(tt.tunnels) {
				t.Errorf("%d tunnels were asked for in two scrapes, want %d", n, 2*tt.tunnels)
			}

			refusal.Set(nil)
			e.expectRecovery()
		})
	}

	t.Run("a proxy of https that speaks plain http is no TLS problem of the control plane", func(t *testing.T) {
		t.Parallel()
		authority := faults.NewAuthority(t)
		cp := newControlPlane(t, faultyTokens) // is asked for another host
		listener := &sometimesTLS{Listener: cp.server.Listener, config: authority.Config()}
		cp.server.Listener = listener
		cp.serve(t)
		e := startExporter(t, cp, oneByOne, "url: http://acme.example", trusting(t, authority), "proxy_url: https://"+listener.Addr().String())

		listener.plain.Store(true)
		cp.closeConnections()
		s := e.expectFailure(client.ReasonConnection, "no trusted TLS connection to the proxy: the server does not speak TLS")
		s.expectPage("check the proxy's URL: if the proxy is to be reached by plain HTTP, it begins with http://")
		s.expectRequests(0)
		s.expectRetries(2)

		listener.plain.Store(false)
		e.expectRecovery()
	})
}

// count counts the requests.
func count(n *atomic.Int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		next.ServeHTTP(w, r)
	})
}

// sometimesTLS speaks TLS, unless it is plain.
type sometimesTLS struct {
	net.Listener
	config *tls.Config
	plain  atomic.Bool
}

// Accept implements net.Listener.
func (l *sometimesTLS) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.plain.Load() {
		return conn, err
	}
	return tls.Server(conn, l.config), nil
}

// tunnel is a proxy that leads to the address, whatever it is asked for.
func tunnel(address string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			faults.Status(http.StatusMethodNotAllowed)(nil).ServeHTTP(w, r)
			return
		}
		there, err := new(net.Dialer).DialContext(r.Context(), "tcp", address)
		if err != nil {
			faults.Status(http.StatusBadGateway)(nil).ServeHTTP(w, r)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			io.Copy(there, here)
			there.Close()
		}()
		io.Copy(here, there)
		here.Close()
	})
}
