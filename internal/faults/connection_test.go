package faults_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/faults"
)

const (
	loopback = "127.0.0.1"
	// Nobody listens at another loopback address, and at the port of a server at
	// the first.
	nobody = "127.0.0.2"
)

// The beginnings of answers.
const (
	header = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	body   = `{"data":[{"id":"t0000"}`
)

func connectionFaults() []upstreamTest {
	return []upstreamTest{
		{name: "a connection that is refused fails the listing", arrange: named("refused.example", nobody), reason: client.ReasonConnection, logged: "connect: connection refused", retries: 2},
		{name: "a host without an address fails the listing", arrange: named("unknown.example", noSuchHost), reason: client.ReasonConnection, logged: "lookup unknown.example", retries: 2},
		{name: "a name server that is out of order fails the listing", arrange: named("broken.example", misbehaves), reason: client.ReasonConnection, logged: "lookup broken.example", retries: 2},
		{name: "a name server that does not answer is left at the deadline", arrange: named("silent.example", noAnswer), reason: client.ReasonConnection, logged: "the host name could not be looked up", hangs: true},
		{name: "a reset before the header fails the listing", fault: faults.Reset(), reason: client.ReasonConnection, logged: "the connection failed", retries: 2},
		{name: "a reset within the header fails the listing", fault: faults.ResetAfter(header), reason: client.ReasonConnection, logged: "the connection failed", requests: 3, retries: 2},
		{name: "a reset within the body fails the listing", fault: faults.ResetAfter(header + "\r\n" + body), reason: client.ReasonConnection, logged: "the connection failed", requests: 3, retries: 2},
		{name: "a connection that is closed before the header fails the listing", fault: faults.CloseAfter(""), reason: client.ReasonConnection, logged: "EOF", retries: 2},
		{name: "a connection that is closed within the header fails the listing", fault: faults.CloseAfter(header), reason: client.ReasonConnection, logged: "unexpected EOF", requests: 3, retries: 2},
		{name: "a body shorter than its Content-Length fails the listing", fault: faults.CloseAfter(header + "Content-Length: 100\r\n\r\n" + body + "]}"), reason: client.ReasonConnection, logged: "unexpected EOF", requests: 3, retries: 2},
		{name: "a header that never comes is left at the deadline", fault: faults.Hang(), reason: client.ReasonTimeout, logged: "within the scrape's deadline", hangs: true},
		{name: "a header that never comes for a later page is left at the deadline", fault: faults.At(pageSize, faults.Hang()), reason: client.ReasonTimeout, logged: "within the scrape's deadline", hangs: true},
		{name: "a header without an end is cut off", fault: faults.Endless("HTTP/1.1 200 OK\r\n", "X-A: "+strings.Repeat("a", 1000)+"\r\n"), reason: client.ReasonConnection, logged: "headers exceeded", requests: 3, sent: 3 * (10 + slack) << 20},
		{name: "a header that repeats itself is cut off", fault: faults.Endless("", "HTTP/1.1 103 Early Hints\r\nX-A: "+strings.Repeat("a", 1000)+"\r\n\r\n"), reason: client.ReasonConnection, logged: "headers exceeded", requests: 3, sent: 3 * (10 + slack) << 20},
		{name: "a body that drips a byte a second is left at the deadline", fault: faults.Drip(body+"]}", time.Second), reason: client.ReasonTimeout, logged: "within the scrape's deadline", hangs: true, requests: 1},
	}
}

// slack is more than what the sockets of a connection hold, in MiB.
const slack = 64

// named arranges that the control plane is found by its host's name, whose record
// is another one as long as the fault lasts.
func named(host string, fault record) func(*testing.T, *stage) {
	return func(t *testing.T, st *stage) {
		t.Helper()
		st.faulty.start(t)
		names.add(t, host, loopback)
		st.target = "url: http://" + host + st.faulty.port()
		st.concurrency = 1
		st.begin = func() {
			names.set(host, fault)
			st.reconnect()
		}
		st.end = func() { names.set(host, loopback) }
	}
}

func tlsFaults() []upstreamTest {
	issued := func(change func(*x509.Certificate)) func(*testing.T, *faults.Authority) *tls.Config {
		return func(_ *testing.T, a *faults.Authority) *tls.Config { return a.Config(change) }
	}
	return []upstreamTest{
		{name: "a certificate of an unknown CA fails the listing", arrange: encrypted(func(t *testing.T, _ *faults.Authority) *tls.Config { return faults.NewAuthority(t).Config() }), reason: client.ReasonTLS, logged: "certificate signed by unknown authority"},
		{name: "an expired certificate fails the listing", arrange: encrypted(issued(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })), reason: client.ReasonTLS, logged: "certificate has expired"},
		{name: "the certificate of another host fails the listing", arrange: encrypted(issued(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP(nobody)} })), reason: client.ReasonTLS, logged: "certificate is valid for 127.0.0.2, not 127.0.0.1"},
		{name: "a client certificate that is required fails the listing", arrange: encrypted(func(_ *testing.T, a *faults.Authority) *tls.Config {
			cfg := a.Config()
			a.Admits(cfg)
			return cfg
		}), reason: client.ReasonTLS, logged: "tls: certificate required"},
	}
}

// encrypted arranges that the control plane serves by HTTPS, with another
// configuration as long as the fault lasts.
func encrypted(fault func(*testing.T, *faults.Authority) *tls.Config) func(*testing.T, *stage) {
	return func(t *testing.T, st *stage) {
		t.Helper()
		authority := faults.NewAuthority(t)
		good, bad := authority.Config(), fault(t, authority)
		var current atomic.Pointer[tls.Config]
		current.Store(good)
		st.faulty.server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.Load(), nil }}
		st.faulty.start(t)
		st.trust(t, authority)
		st.concurrency = 1
		st.begin = func() {
			current.Store(bad)
			st.reconnect()
		}
		st.end = func() { current.Store(good) }
	}
}

// trust makes the faulty target trust the authority.
func (st *stage) trust(t *testing.T, authority *faults.Authority) {
	t.Helper()
	if err := os.WriteFile(st.path("ca.pem"), []byte(authority.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	st.target = "url: " + st.faulty.URL + "\ntls_config: {ca_file: ca.pem}"
}

func proxyFaults() []upstreamTest {
	return []upstreamTest{
		{name: "a proxy that cannot be reached fails the listing", arrange: func(t *testing.T, st *stage) {
			t.Helper()
			named("proxy.example", nobody)(t, st)
			st.target = "url: http://acme.example\nproxy_url: http://user:s3cret@proxy.example" + st.faulty.port()
		}, reason: client.ReasonConnection, logged: "connect: connection refused", retries: 2},
		{name: "a proxy that refuses to forward fails the listing", fault: faults.Status(http.StatusProxyAuthRequired), arrange: func(t *testing.T, st *stage) {
			t.Helper()
			st.faulty.start(t) // to be asked for another host
			st.target = "url: http://acme.example\nproxy_url: " + st.faulty.URL
		}, reason: client.ReasonIntermediary, logged: "407 Proxy Authentication Required", requests: 1},
		{name: "a proxy that refuses a tunnel fails the listing", arrange: func(t *testing.T, st *stage) {
			t.Helper()
			authority := faults.NewAuthority(t)
			authority.Serves()(st.faulty.server)
			st.faulty.start(t)
			st.trust(t, authority)
			refusal := faults.Switch()
			proxy := httptest.NewServer(refusal.Wrap(tunnel(st.faulty.server.Listener.Addr().String())))
			t.Cleanup(proxy.Close)
			st.target = "url: https://acme.example\ntls_config: {ca_file: ca.pem}\nproxy_url: " + proxy.URL
			st.concurrency = 1
			st.begin = func() {
				refusal.Set(faults.Status(http.StatusForbidden))
				st.reconnect()
			}
			st.end = func() { refusal.Set(nil) }
		}, reason: client.ReasonIntermediary, logged: "refused: 403 Forbidden"},
	}
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

func redirects() []upstreamTest {
	// to arranges that the faulty control plane redirects to a server that would
	// answer as it should, but must not be asked.
	to := func(code int, scheme, host, elsewhere string) func(*testing.T, *stage) {
		return func(t *testing.T, st *stage) {
			t.Helper()
			trap := newUpstream(t, faultyTokens)
			trap.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					t.Error("somebody followed the redirect")
				}
			}
			trap.start(t)
			names.add(t, elsewhere, loopback)
			names.add(t, host, loopback)
			if scheme == "https" {
				authority := faults.NewAuthority(t)
				authority.Serves()(st.faulty.server)
				st.faulty.start(t)
				st.trust(t, authority)
			} else {
				st.faulty.start(t)
				st.target = "url: http://" + host + st.faulty.port()
			}
			st.begin = func() { st.faulty.fault.Set(faults.Redirect(code, "http://"+elsewhere+trap.port())) }
			st.end = func() { st.faulty.fault.Set(nil) }
		}
	}
	const start = "redirects are not followed, so that the API key goes nowhere else; "
	all := []upstreamTest{
		{name: "a redirect to another host is not followed", arrange: to(http.StatusFound, "http", "acme.example", "elsewhere.example"), logged: "(to http://elsewhere.example:"},
		{name: "a redirect to a subdomain is not followed", arrange: to(http.StatusTemporaryRedirect, "http", "moved.example", "login.moved.example"), logged: "(to http://login.moved.example:"},
		{name: "a redirect to another port is not followed", arrange: to(http.StatusPermanentRedirect, "http", loopback, loopback), logged: "(to http://127.0.0.1:"},
		{name: "a redirect to http on the same host is not followed", arrange: to(http.StatusMovedPermanently, "https", loopback, loopback), logged: "(to http://127.0.0.1:"},
		{name: "a redirect to itself is not followed", fault: faults.Redirect(http.StatusSeeOther, ""), requests: 1, logged: start + "it leads to the same path again"},
		{name: "a redirect of a later page is not followed", fault: faults.At(pageSize, faults.Redirect(http.StatusFound, "")), logged: start},
	}
	for i := range all {
		all[i].reason = client.ReasonRedirect
		if all[i].fault == nil {
			all[i].requests = 1
		}
	}
	return all
}
