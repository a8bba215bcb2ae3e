package faults_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
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

		cp.answers(nil)
		e.expectRecovery()
	})

	t.Run("a proxy that refuses a tunnel fails the listing", func(t *testing.T) {
		t.Parallel()
		authority := faults.NewAuthority(t)
		cp := startTLS(t, authority.Config())
		refusal := faults.Switch()
		proxy := httptest.NewServer(refusal.Wrap(tunnel(cp.server.Listener.Addr().String())))
		t.Cleanup(proxy.Close)
		e := startExporter(t, cp, oneByOne, "url: https://acme.example", trusting(t, authority), "proxy_url: "+proxy.URL)

		refusal.Set(faults.Status(http.StatusForbidden))
		cp.closeConnections()
		s := e.expectFailure(client.ReasonIntermediary, "the proxy "+proxy.Listener.Addr().String()+" refused: 403 Forbidden")
		s.expectPage("the API key is not the problem")
		s.expectRequests(0)
		s.expectRetries(0)

		refusal.Set(nil)
		e.expectRecovery()
	})
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
