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
	t.Run("an unreachable proxy fails the listing", func(t *testing.T) {
		t.Parallel()
		cp := startControlPlane(t)
		dns.add(t, "proxy.example")
		e := startExporter(t, cp, sequential, "url: http://acme.example", "proxy_url: http://user:s3cret@proxy.example"+cp.port())

		dns.set("proxy.example", otherLoopback)
		cp.closeConnections()
		s := e.expectFailure(client.ReasonConnection, "connect: connection refused")
		s.expectRequests(0)
		s.expectRetries(2)

		dns.set("proxy.example", loopback)
		e.expectRecovery()
	})

	t.Run("a proxy that refuses to forward fails the listing", func(t *testing.T) {
		t.Parallel()
		cp := startControlPlane(t) // it is the proxy, too
		e := startExporter(t, cp, concurrent, "url: http://acme.example", "proxy_url: "+cp.URL)

		cp.setFault(faults.Status(http.StatusProxyAuthRequired))
		s := e.expectFailure(client.ReasonIntermediary, "the proxy "+cp.server.Listener.Addr().String()+" refused: 407 Proxy Authentication Required")
		s.expectPage("the API key is not the problem")
		s.expectRequests(1)
		s.expectRetries(0)

		cp.setFault(nil)
		e.expectRecovery()
	})

	for _, tt := range []struct {
		name         string
		refusal      controlplanetest.Fault
		reason       client.Reason
		logged, page string
		requests     int // to the proxy
	}{
		{
			"a proxy that requires a password fails the listing without a retry", faults.ErrorPage(http.StatusProxyAuthRequired, "Proxy-Authenticate", `Basic realm="proxy"`), client.ReasonIntermediary,
			"refused: 407 Proxy Authentication Required (server proxy/1.0, wants Basic)", "the API key is not the problem", 1,
		},
		{
			"a proxy that denies CONNECT fails the listing without a retry", faults.Status(http.StatusForbidden), client.ReasonIntermediary,
			"refused: 403 Forbidden", "the API key is not the problem", 1,
		},
		{
			"a proxy that cannot reach the control plane is retried", faults.ErrorPage(http.StatusServiceUnavailable), client.ReasonConnection,
			"refused: 503 Service Unavailable (server proxy/1.0)", "check the proxy, and that it may and can reach the control plane", 3,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			authority := faults.NewAuthority(t)
			cp := startTLS(t, authority.Config())
			refusal := faults.Switch()
			var requests atomic.Int64
			proxy := httptest.NewServer(count(&requests, refusal.Wrap(connectProxy(cp.server.Listener.Addr().String()))))
			t.Cleanup(proxy.Close)
			e := startExporter(t, cp, sequential, "url: https://acme.example", trusting(t, authority), "proxy_url: "+proxy.URL)

			refusal.Set(tt.refusal)
			cp.closeConnections()
			requests.Store(0)
			s := e.expectFailure(tt.reason, "the proxy "+proxy.Listener.Addr().String()+" "+tt.logged)
			s.expectPage(tt.page)
			s.expectRequests(0)
			s.expectRetries(float64(tt.requests - 1))
			if n := requests.Load(); n != int64(tt.requests*scrapesPerCheck()) {
				t.Errorf("the proxy got %d requests in %d scrapes, want %d in each", n, scrapesPerCheck(), tt.requests)
			}

			refusal.Set(nil)
			e.expectRecovery()
		})
	}

	t.Run("an HTTPS proxy that does not speak TLS fails the listing", func(t *testing.T) {
		t.Parallel()
		authority := faults.NewAuthority(t)
		cp := newControlPlane(t, faultyTokens) // it is the proxy, too
		listener := &switchableTLS{Listener: cp.server.Listener, config: authority.Config()}
		cp.server.Listener = listener
		cp.serve(t)
		e := startExporter(t, cp, sequential, "url: http://acme.example", trusting(t, authority), "proxy_url: https://"+listener.Addr().String())

		listener.plain.Store(true)
		cp.closeConnections()
		s := e.expectFailure(client.ReasonConnection, "no trusted TLS connection to the proxy: the server does not speak TLS")
		s.expectPage("check the proxy's URL: if the proxy speaks plain HTTP, it should start with http://")
		s.expectRequests(0)
		s.expectRetries(2)

		listener.plain.Store(false)
		e.expectRecovery()
	})
}

// count counts requests.
func count(n *atomic.Int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		next.ServeHTTP(w, r)
	})
}

// switchableTLS is a listener for TLS, or for plain connections while plain is true.
type switchableTLS struct {
	net.Listener
	config *tls.Config
	plain  atomic.Bool
}

// Accept implements net.Listener.
func (l *switchableTLS) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || l.plain.Load() {
		return conn, err
	}
	return tls.Server(conn, l.config), nil
}

// connectProxy returns a proxy that connects to the address, whatever the request says.
func connectProxy(address string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			faults.Status(http.StatusMethodNotAllowed)(nil).ServeHTTP(w, r)
			return
		}
		server, err := new(net.Dialer).DialContext(r.Context(), "tcp", address)
		if err != nil {
			faults.Status(http.StatusBadGateway)(nil).ServeHTTP(w, r)
			return
		}
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() {
			io.Copy(server, client)
			server.Close()
		}()
		io.Copy(client, server)
		client.Close()
	})
}
