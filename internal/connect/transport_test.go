package connect_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

func TestAPrivateCAMayComeLaterAndBeReplaced(t *testing.T) {
	good, other := faults.NewAuthority(t), faults.NewAuthority(t)
	url := serve(t, handler(t), good.Serves())
	e := newExporter(t)
	e.use(target("a", url, withKey, "tls_config: {ca_file: ca.pem}"), target("b", startControlPlane(t).URL, withKey))
	e.expect("a: credentials, b: up")
	metricstest.Present(t, e.log.String(), "a file that the connection needs cannot be read: "+e.path("ca.pem")+": no such file or directory")

	for _, step := range []struct{ text, want string }{
		{good.PEM, "up"},
		{"no PEM", "tls"},
		{good.PEM, "up"},
		{other.PEM, "tls"},
		{other.PEM + good.PEM, "up"},
		{"", "tls"},
		{good.PEM, "up"},
	} {
		e.write("ca.pem", step.text)
		e.expect("a: " + step.want + ", b: up")
	}
	metricstest.Present(t, e.log.String(), "tls_config cannot be used: unable to use specified CA cert file "+e.path("ca.pem")+": correct what it names")
	metricstest.Present(t, e.log.String(), "certificate signed by unknown authority")

	e.remove("ca.pem")
	e.expect("a: credentials, b: up")
	if err := os.Mkdir(e.path("ca.pem"), 0o700); err != nil {
		t.Fatal(err)
	}
	e.expect("a: credentials, b: up")
}

// One that was bad from the start is as one that becomes bad.
func TestAPrivateCAThatIsBadFromTheStart(t *testing.T) {
	good := faults.NewAuthority(t)
	url := serve(t, handler(t), good.Serves())
	for name, text := range map[string]string{"empty": "", "no PEM": "no PEM", "a key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		t.Run(name, func(t *testing.T) {
			e := newExporter(t)
			e.write("ca.pem", text)
			e.use(target("a", url, withKey, "tls_config: {ca_file: ca.pem}"))
			e.expect("a: tls")
			e.write("ca.pem", good.PEM)
			e.expect("a: up")
		})
	}
}

func TestWhatTLSIsConfiguredIsUsed(t *testing.T) {
	good := faults.NewAuthority(t)
	modern := func(cfg *tls.Config) { cfg.MinVersion = tls.VersionTLS13 }
	url := serve(t, handler(t), good.Serves(modern))
	indented := strings.ReplaceAll(strings.TrimSpace(good.PEM), "\n", "\n      ")
	for name, tt := range map[string]struct{ fields, want string }{
		"nothing":                      {"{}", "tls"},
		"no verification":              {"{insecure_skip_verify: true}", "up"},
		"an inline CA":                 {"\n    ca: |\n      " + indented, "up"},
		"a CA":                         {"{ca_file: ca.pem}", "up"},
		"a CA and the right name":      {"{ca_file: ca.pem, server_name: acme.example}", "up"},
		"a CA and a wrong name":        {"{ca_file: ca.pem, server_name: other.example}", "tls"},
		"a version that is refused":    {"{ca_file: ca.pem, max_version: TLS12}", "tls"},
		"a version that is there":      {"{ca_file: ca.pem, min_version: TLS13}", "up"},
		"versions, and no certificate": {"{min_version: TLS13}", "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExporter(t)
			e.write("ca.pem", good.PEM)
			e.use(target("a", url, withKey, "tls_config: "+tt.fields))
			e.expect("a: " + tt.want)
		})
	}
}

func TestHTTP2IsSpokenUnlessItIsOff(t *testing.T) {
	private := faults.NewAuthority(t)
	protocols := &recorder{part: func(r *http.Request) string { return r.Proto }}
	url := serve(t, protocols.wrap(handler(t)), private.Serves(), func(s *httptest.Server) { s.EnableHTTP2 = true })
	e := newExporter(t)
	e.write("ca.pem", private.PEM)
	for enabled, want := range map[string]string{"true": "HTTP/2.0", "false": "HTTP/1.1"} {
		e.use(target("a", url, withKey, "tls_config: {ca_file: ca.pem}", "enable_http2: "+enabled))
		e.expect("a: up")
		if got := protocols.take(); !slices.Equal(got, []string{want}) {
			t.Errorf("with enable_http2 %s it spoke %q", enabled, got)
		}
	}
}

func TestAClientCertificateMayComeLaterAndBeReplaced(t *testing.T) {
	servers, clients, others := faults.NewAuthority(t), faults.NewAuthority(t), faults.NewAuthority(t)
	url := serve(t, handler(t), servers.Serves(clients.Admits))
	e := newExporter(t)
	e.write("ca.pem", servers.PEM)
	e.use(target("a", url, withKey, "tls_config: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key}"))
	e.expect("a: credentials")

	cert, key := clients.Issue()
	e.write("client.pem", cert)
	e.expect("a: credentials")
	e.write("client.key", key)
	e.expect("a: up")

	// The next one has another key: for a moment, the files do not fit.
	cert, key = clients.Issue()
	e.write("client.pem", cert)
	e.expect("a: tls")
	metricstest.Present(t, e.log.String(), "tls_config cannot be used: unable to use specified client cert (file "+e.path("client.pem")+") & key (file "+e.path("client.key")+")")
	e.write("client.key", key)
	e.expect("a: up")

	cert, key = others.Issue()
	e.write("client.pem", cert)
	e.write("client.key", key)
	e.expect("a: tls")
	metricstest.Present(t, e.log.String(), "remote error: tls")

	e.remove("client.key")
	e.expect("a: credentials")
}

func TestWithoutAClientCertificateTheServerRefuses(t *testing.T) {
	servers := faults.NewAuthority(t)
	url := serve(t, handler(t), servers.Serves(servers.Admits))
	e := newExporter(t)
	e.write("ca.pem", servers.PEM)
	e.use(target("a", url, withKey, "tls_config: {ca_file: ca.pem}"))
	e.expect("a: tls")
}

func TestTheEndpointHasATLSOfItsOwn(t *testing.T) {
	private := faults.NewAuthority(t)
	cp, o := startControlPlane(t), newEndpoint(t)
	o.URL = serve(t, o, private.Serves())
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2("tls_config: {ca_file: ca.pem}")))
	e.expect("a: credentials")
	metricstest.Present(t, e.log.String(), "no access token from the OAuth2 endpoint: a file that the connection needs cannot be read: "+e.path("ca.pem"))
	e.write("ca.pem", faults.NewAuthority(t).PEM)
	e.expect("a: tls")
	e.write("ca.pem", "no PEM")
	e.expect("a: tls")
	o.expect(t)
	e.write("ca.pem", private.PEM)
	e.expect("a: up")
	o.expect(t, asked)
}

// proxy is one of HTTP that answers itself, as if it were the control plane.
func proxy(t *testing.T, next http.Handler) (url string, hosts *recorder) {
	t.Helper()
	hosts = &recorder{part: func(r *http.Request) string { return r.URL.Host }}
	return serve(t, hosts.wrap(next)), hosts
}

func TestTheProxyOfATargetIsUsed(t *testing.T) {
	p, hosts := proxy(t, handler(t))
	e := newExporter(t)
	e.use(target("a", "http://acme.example", withKey, "proxy_url: "+p))
	e.expect("a: up")
	if got := hosts.take(); !slices.Equal(got, []string{"acme.example"}) {
		t.Errorf("the proxy was asked for %q", got)
	}

	direct := startControlPlane(t)
	e.use(target("a", direct.URL, withKey, "proxy_url: "+p, "no_proxy: 127.0.0.1"))
	e.expect("a: up")
	if got := hosts.take(); len(got) > 0 {
		t.Errorf("the proxy was asked for %q", got)
	}
}

// A proxy that refuses CONNECT says so itself: the control plane was not asked. It is
// asked once, since retries may lock an account.
func TestAProxyThatRefusesToConnect(t *testing.T) {
	for status, want := range map[int]struct {
		outcome  string
		requests int
	}{
		401: {"intermediary", 1}, 403: {"intermediary", 1}, 407: {"intermediary", 1}, 404: {"connection", 3}, 503: {"connection", 3},
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			headers := record("X-Proxy")
			requests := 0
			url := serve(t, headers.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				if r.Method != http.MethodConnect {
					t.Errorf("it was asked to %s", r.Method)
				}
				w.Header().Set("Server", "squid "+r.Header.Get("X-Proxy"))
				w.Header().Set("Proxy-Authenticate", "NTLM")
				w.WriteHeader(status)
				fmt.Fprint(w, `{"statusCode":401,"message":"not the API's"}`)
			})))
			e := newExporter(t)
			e.use(target("a", "https://acme.example", withKey, "proxy_url: "+strings.Replace(url, "//", "//user:s3cret@", 1), "proxy_connect_header: {X-Proxy: [s3cret]}"))
			e.expect("a: " + want.outcome)
			if requests != want.requests {
				t.Errorf("the proxy was asked %d times, want %d", requests, want.requests)
			}
			if got := headers.take(); !slices.Equal(got, []string{"s3cret"}) {
				t.Errorf("the proxy got %q", got)
			}
			metricstest.Present(t, e.log.String(), fmt.Sprintf("the proxy %s refused: %d %s (server squid <redacted>, wants NTLM)",
				strings.TrimPrefix(url, "http://"), status, http.StatusText(status)))
			metricstest.Absent(t, e.log.String(), "s3cret")
		})
	}
}

// So does a proxy that refuses to forward.
func TestAProxyThatWantsCredentialsToForward(t *testing.T) {
	url, _ := proxy(t, faults.Status(http.StatusProxyAuthRequired)(nil))
	e := newExporter(t)
	e.use(target("a", "http://acme.example", withKey, "proxy_url: "+url))
	e.expect("a: intermediary")
	metricstest.Present(t, e.log.String(), "the proxy "+strings.TrimPrefix(url, "http://")+" refused: 407 Proxy Authentication Required")
}

// The scheme of a proxy's URL says how the proxy is to be reached.
func TestAProxyThatDoesNotSpeakTLS(t *testing.T) {
	url, _ := proxy(t, handler(t))
	for _, address := range []string{"http://acme.example", "https://acme.example"} {
		e := newExporter(t)
		e.use(target("a", address, withKey, "proxy_url: "+strings.Replace(url, "http:", "https:", 1)))
		e.expect("a: connection")
		metricstest.Present(t, e.log.String(), "no trusted TLS connection to the proxy: the server does not speak TLS")
		metricstest.Present(t, e.log.String(), "it begins with http://")
	}
}

// What fails may be a proxy that has a password.
func TestTheProxysPasswordIsInNoError(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	e := newExporter(t)
	e.use(target("a", "http://acme.example", withKey, "proxy_url: http://user:s3cret@"+closed.Listener.Addr().String()))
	e.expect("a: connection")
	metricstest.Present(t, e.log.String(), "refused")
	metricstest.Absent(t, e.log.String(), "s3cret")
}

// 0.0.0.0 is this machine, but not one of the loopback addresses for which no
// proxy is ever asked.
func TestTheProxyOfTheEnvironment(t *testing.T) {
	control := handler(t)
	p, hosts := proxy(t, control)
	direct := &recorder{part: func(r *http.Request) string { return r.Host }}
	url := strings.Replace(serve(t, direct.wrap(control)), "127.0.0.1", "0.0.0.0", 1)
	host := strings.TrimPrefix(url, "http://")
	for _, name := range []string{"NO_PROXY", "no_proxy", "HTTPS_PROXY", "https_proxy", "REQUEST_METHOD"} {
		t.Setenv(name, "")
	}
	t.Setenv("HTTP_PROXY", p)
	for name, tt := range map[string]struct {
		fields  []string
		proxied bool
	}{
		"is used":                       {nil, true},
		"is used where it is asked for": {[]string{"proxy_from_environment: true"}, true},
		"is used where nothing is said": {[]string{"proxy_from_environment:"}, true},
		"is not used where it is off":   {[]string{"proxy_from_environment: false"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExporter(t)
			e.use(target("a", url, append(tt.fields, withKey)...))
			e.expect("a: up")
			byProxy, byItself := hosts.take(), direct.take()
			if want := []string{host}; tt.proxied && (!slices.Equal(byProxy, want) || len(byItself) > 0) ||
				!tt.proxied && (!slices.Equal(byItself, want) || len(byProxy) > 0) {
				t.Errorf("the proxy was asked for %q, and the server for %q", byProxy, byItself)
			}
		})
	}
}

// A target that comes from flags has no configuration.
func TestTheProxyOfTheEnvironmentIsUsedWhereNothingIsConfigured(t *testing.T) {
	p, hosts := proxy(t, handler(t))
	for _, name := range []string{"NO_PROXY", "no_proxy", "REQUEST_METHOD"} {
		t.Setenv(name, "")
	}
	t.Setenv("HTTP_PROXY", p)
	e := newExporter(t)
	bare := e.configure(target("a", "http://acme.example", withKey))
	bare[0].HTTP = config.DefaultHTTP()
	e.set.Replace(bare)
	e.expect("a: up")
	if got := hosts.take(); !slices.Equal(got, []string{"acme.example"}) {
		t.Errorf("the proxy was asked for %q", got)
	}
}

func TestTheEndpointHasAProxyOfItsOwn(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	p, hosts := proxy(t, o)
	o.URL = "http://login.example/token"
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2("proxy_url: '"+p+"'")))
	e.expect("a: up")
	if got := hosts.take(); !slices.Equal(got, []string{"login.example"}) {
		t.Errorf("the proxy was asked for %q", got)
	}
}

func TestHeadersAreSentAndTheirFilesReadAnew(t *testing.T) {
	all := &recorder{part: func(r *http.Request) string { return strings.Join(r.Header.Values("X-A"), " ") }}
	cp := startControlPlane(t, all.wrap)
	e := newExporter(t)
	e.use(
		target("a", cp.URL, withKey, "http_headers: {X-A: {values: [one], secrets: [two], files: [header]}}"),
		target("b", startControlPlane(t).URL, withKey),
	)
	e.expect("a: credentials, b: up")
	metricstest.Present(t, e.log.String(), "a file that the connection needs cannot be read: "+e.path("header")+": no such file or directory")
	if n := len(cp.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
	for _, text := range []string{"three", "four"} {
		e.write("header", text+"\n")
		e.expect("a: up, b: up")
		if got, want := all.take(), "one two "+text; !slices.Equal(got, []string{want}) {
			t.Errorf("sent %q, want %q", got, want)
		}
	}
}

// The headers are the control plane's: the endpoint may be somebody else's.
func TestTheEndpointGetsNoHeadersOfTheTarget(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	headers := record("X-A")
	o.set(headers.wrap(o.answer))
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2(), "http_headers: {X-A: {secrets: [s3cret]}}"))
	e.expect("a: up")
	if got := headers.take(); !slices.Equal(got, []string{""}) {
		t.Errorf("the endpoint got %q", got)
	}
}

func TestRedirectsOfTheControlPlaneAreNotFollowed(t *testing.T) {
	elsewhere := startControlPlane(t)
	e := newExporter(t)
	e.use(target("a", startControlPlane(t, faults.Status(http.StatusTemporaryRedirect, "Location", elsewhere.URL)).URL, withKey))
	e.expect("a: redirect")
	if n := len(elsewhere.Requests()); n > 0 {
		t.Errorf("the other control plane got %d requests", n)
	}
}

// Paths are relative to the file, wherever the exporter was started.
func TestEveryPathIsRelativeToTheFile(t *testing.T) {
	e := newExporter(t)
	list := e.configure(target("a", "http://a.example", "authorization: {credentials_file: none/key}",
		"tls_config: {ca_file: none/ca, cert_file: none/cert, key_file: none/key}", "http_headers: {X-A: {files: [none/header]}}"))
	problems, _ := connect.Check(t.Context(), &list[0])
	for _, name := range []string{"key", "ca", "header"} {
		metricstest.Present(t, strings.Join(problems, "\n"), filepath.Join(e.dir, "none", name))
	}
	cfg := list[0].HTTP.TLSConfig
	if cfg.CertFile != e.path("none/cert") || cfg.KeyFile != e.path("none/key") {
		t.Errorf("the client's certificate is in %s and %s", cfg.CertFile, cfg.KeyFile)
	}
}

// blackHole returns an address to which no connection can be made, and that nobody
// refuses either: its listener has no room for more connections.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for { // until there is no room left
		conn, err := (&net.Dialer{Timeout: 200 * time.Millisecond}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
}

// A dial ends long before the scrape does, and says what it was about.
func TestAnAddressThatDropsPackets(t *testing.T) {
	address := blackHole(t)
	e := newExporter(t)
	e.use(target("a", "http://"+address, withKey))
	e.expectWithin(time.Second, "a: timeout")
	metricstest.Present(t, e.log.String(), "no connection to "+address)
	metricstest.Present(t, e.log.String(), "check the firewall, the NetworkPolicy, the proxy")
	metricstest.Absent(t, e.log.String(), "raise scrape_timeout")
}

// halfDead relays connections. Those that are open when it is told to die stay open,
// and nothing goes through them any more, as behind a load balancer whose backend was
// replaced.
type halfDead struct {
	net.Listener
	backend string

	mu    sync.Mutex
	alive chan struct{} // closed when the present connections die
	conns []net.Conn
	count int
}

func newHalfDead(t *testing.T, backend string) *halfDead {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &halfDead{Listener: listener, backend: backend, alive: make(chan struct{})}
	var relays sync.WaitGroup
	relays.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := new(net.Dialer).DialContext(t.Context(), "tcp", backend)
			if err != nil {
				t.Error(err)
				return
			}
			h.mu.Lock()
			h.count++
			h.conns = append(h.conns, client, server)
			alive := h.alive
			h.mu.Unlock()
			relays.Go(func() { relay(client, server, alive) })
			relays.Go(func() { relay(server, client, alive) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		h.mu.Lock()
		for _, conn := range h.conns {
			conn.Close()
		}
		h.mu.Unlock()
		relays.Wait()
	})
	return h
}

// relay copies what comes, and nothing once it is dead.
func relay(from, to net.Conn, alive <-chan struct{}) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		dead := false
		select {
		case <-alive:
			dead = true
		default:
			to.Write(buffer[:n])
		}
		if err != nil {
			if !dead {
				to.Close()
			}
			return
		}
	}
}

// die lets the present connections die.
func (h *halfDead) die() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.alive)
	h.alive = make(chan struct{})
}

func (h *halfDead) connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// idle lets time pass without requests, so that connections are idle.
func idle() { <-time.After(600 * time.Millisecond) }

// A connection that died without notice costs no scrape: the request is sent again on
// a new one.
func TestAConnectionThatDiedSilently(t *testing.T) {
	t.Parallel()
	private := faults.NewAuthority(t)
	for name, tt := range map[string]struct {
		choose func(*httptest.Server)
		scheme string
	}{
		"HTTP/1.1":          {func(*httptest.Server) {}, "http://"},
		"HTTP/1.1 over TLS": {private.Serves(), "https://"},
		"HTTP/2":            {func(s *httptest.Server) { private.Serves()(s); s.EnableHTTP2 = true }, "https://"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cp := handler(t)
			url := serve(t, cp, tt.choose)
			h := newHalfDead(t, strings.TrimPrefix(url, tt.scheme))
			e := newExporter(t)
			e.write("ca.pem", private.PEM)
			e.use(target("a", tt.scheme+h.Addr().String(), withKey, "tls_config: {ca_file: ca.pem}"))
			for range 2 {
				e.expect("a: up")
				before := h.connections()
				e.expect("a: up")
				if n := h.connections(); n != before {
					t.Errorf("%d connections were made although there was one", n-before)
				}
				h.die()
				idle()
				e.expectWithin(2*time.Second, "a: up")
				if n := h.connections() - before; n != 1 {
					t.Errorf("%d connections were made, want one", n)
				}
			}
		})
	}
}

// If there is no time left for a second attempt, the next scrape has a new connection.
func TestAfterATimeoutTheNextScrapeHasANewConnection(t *testing.T) {
	private := faults.NewAuthority(t)
	g := newGate()
	fault := faults.Switch()
	url := serve(t, fault.Wrap(handler(t)), func(s *httptest.Server) { private.Serves()(s); s.EnableHTTP2 = true })
	h := newHalfDead(t, strings.TrimPrefix(url, "https://"))
	e := newExporter(t)
	e.write("ca.pem", private.PEM)
	e.use(target("a", "https://"+h.Addr().String(), withKey, "tls_config: {ca_file: ca.pem}"))
	fault.Set(g.wrap)
	e.expectWithin(time.Second, "a: timeout") // on a connection that is new, so that there is no second attempt
	fault.Set(nil)
	before := h.connections()
	e.expect("a: up")
	if n := h.connections() - before; n != 1 {
		t.Errorf("%d connections were made, want one", n)
	}
}

// A slow response is waited for, also on a connection that was idle.
func TestASlowResponseOnAConnectionThatWasIdle(t *testing.T) {
	t.Parallel()
	fault := faults.Switch()
	cp := startControlPlane(t, fault.Wrap)
	e := newExporter(t)
	e.use(target("a", cp.URL, withKey))
	e.expect("a: up")
	idle()
	g := newGate()
	fault.Set(g.wrap)
	outcome := make(chan bool)
	go func() { outcome <- ups(e.gather(2 * time.Second))["a"] }()
	g.wait(t, 2) // the second one on a new connection
	close(g.open)
	if !<-outcome {
		t.Errorf("the scrape failed:\n%s", e.log)
	}
}

// resolveTo makes all host names have these IPv4 addresses, in this order.
func resolveTo(t *testing.T, addresses ...[4]byte) {
	t.Helper()
	server, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		packet := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			// The question of RFC 1035, without what follows it.
			end := 12
			for end < n && packet[end] > 0 {
				end += 1 + int(packet[end])
			}
			reply := append([]byte{}, packet[:end+5]...)
			reply[2], reply[3], reply[7], reply[9], reply[11] = 0x80, 0x80, 0, 0, 0
			if packet[end+2] == 1 { // type A
				reply[7] = byte(len(addresses))
				for _, address := range addresses {
					reply = append(append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), address[:]...)
				}
			}
			server.WriteTo(reply, from)
		}
	})
	before := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = before
		server.Close()
		served.Wait()
	})
}

// A name with two addresses, one of which drops packets, is reached at the other one
// within the same scrape.
func TestANameWithAnAddressThatDropsPackets(t *testing.T) {
	dead := blackHole(t)
	_, port, err := net.SplitHostPort(dead)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler(t), ReadHeaderTimeout: time.Minute}
	served := make(chan struct{})
	go func() {
		defer close(served)
		server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	resolveTo(t, [4]byte{127, 0, 0, 1}, [4]byte{127, 0, 0, 2})
	e := newExporter(t)
	e.use(target("a", "http://acme.example:"+port, withKey))
	e.expectWithin(9500*time.Millisecond, "a: up")
}
