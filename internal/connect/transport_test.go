package connect_test

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

func TestCAFileMayBeCreatedLaterAndReplaced(t *testing.T) {
	good, other := faults.NewAuthority(t), faults.NewAuthority(t)
	url := serve(t, newControlPlane(t), good.ServeTLS())
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

func TestCAFileThatIsInvalidAtTheStartMayBeCorrected(t *testing.T) {
	good := faults.NewAuthority(t)
	url := serve(t, newControlPlane(t), good.ServeTLS())
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

func TestTLSConfigIsUsed(t *testing.T) {
	good := faults.NewAuthority(t)
	modern := func(cfg *tls.Config) { cfg.MinVersion = tls.VersionTLS13 }
	url := serve(t, newControlPlane(t), good.ServeTLS(modern))
	indented := strings.ReplaceAll(strings.TrimSpace(good.PEM), "\n", "\n      ")
	for name, tt := range map[string]struct{ fields, want string }{
		"no configuration":        {"{}", "tls"},
		"no verification":         {"{insecure_skip_verify: true}", "up"},
		"an inline CA":            {"\n    ca: |\n      " + indented, "up"},
		"a CA":                    {"{ca_file: ca.pem}", "up"},
		"a CA and the right name": {"{ca_file: ca.pem, server_name: acme.example}", "up"},
		"a CA and a wrong name":   {"{ca_file: ca.pem, server_name: other.example}", "tls"},
		"an unsupported version":  {"{ca_file: ca.pem, max_version: TLS12}", "tls"},
		"a supported version":     {"{ca_file: ca.pem, min_version: TLS13}", "up"},
		"a version without a CA":  {"{min_version: TLS13}", "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExporter(t)
			e.write("ca.pem", good.PEM)
			e.use(target("a", url, withKey, "tls_config: "+tt.fields))
			e.expect("a: " + tt.want)
		})
	}
}

func TestHTTP2IsUsedUnlessDisabled(t *testing.T) {
	private := faults.NewAuthority(t)
	protocols := &recorder{part: func(r *http.Request) string { return r.Proto }}
	url := serve(t, protocols.wrap(newControlPlane(t)), private.ServeTLS(), func(s *httptest.Server) { s.EnableHTTP2 = true })
	e := newExporter(t)
	e.write("ca.pem", private.PEM)
	for enabled, want := range map[string]string{"true": "HTTP/2.0", "false": "HTTP/1.1"} {
		e.use(target("a", url, withKey, "tls_config: {ca_file: ca.pem}", "enable_http2: "+enabled))
		e.expect("a: up")
		if got := protocols.take(); !slices.Equal(got, []string{want}) {
			t.Errorf("enable_http2 %s uses %q", enabled, got)
		}
	}
}

func TestClientCertificateMayBeCreatedLaterAndReplaced(t *testing.T) {
	servers, clients, others := faults.NewAuthority(t), faults.NewAuthority(t), faults.NewAuthority(t)
	url := serve(t, newControlPlane(t), servers.ServeTLS(clients.RequireClientCert))
	e := newExporter(t)
	e.write("ca.pem", servers.PEM)
	e.use(target("a", url, withKey, "tls_config: {ca_file: ca.pem, cert_file: client.pem, key_file: client.key}"))
	e.expect("a: credentials")

	cert, key := clients.Issue()
	e.write("client.pem", cert)
	e.expect("a: credentials")
	e.write("client.key", key)
	e.expect("a: up")

	// While the files are replaced, the certificate and the key do not match.
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

func TestMissingClientCertificateIsATLSFailure(t *testing.T) {
	servers := faults.NewAuthority(t)
	url := serve(t, newControlPlane(t), servers.ServeTLS(servers.RequireClientCert))
	e := newExporter(t)
	e.write("ca.pem", servers.PEM)
	e.use(target("a", url, withKey, "tls_config: {ca_file: ca.pem}"))
	e.expect("a: tls")
}

func TestTokenEndpointHasItsOwnTLSConfig(t *testing.T) {
	private := faults.NewAuthority(t)
	cp, o := startControlPlane(t), newEndpoint(t)
	o.URL = serve(t, o, private.ServeTLS())
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2("tls_config: {ca_file: ca.pem}")))
	e.expect("a: credentials")
	metricstest.Present(t, e.log.String(), "no access token from the OAuth2 endpoint: a file that the connection needs cannot be read: "+e.path("ca.pem"))
	e.write("ca.pem", faults.NewAuthority(t).PEM)
	e.expect("a: tls")
	e.write("ca.pem", "no PEM")
	e.expect("a: tls")
	o.wantRequests(t)
	e.write("ca.pem", private.PEM)
	e.expect("a: up")
	o.wantRequests(t, tokenRequest)
}

// startProxy starts an HTTP proxy that responds itself instead of forwarding requests.
func startProxy(t *testing.T, next http.Handler) (url string, hosts *recorder) {
	t.Helper()
	hosts = &recorder{part: func(r *http.Request) string { return r.URL.Host }}
	return serve(t, hosts.wrap(next)), hosts
}

func TestProxyOfTheTargetIsUsed(t *testing.T) {
	p, hosts := startProxy(t, newControlPlane(t))
	e := newExporter(t)
	e.use(target("a", "http://acme.example", withKey, "proxy_url: "+p))
	e.expect("a: up")
	if got := hosts.take(); !slices.Equal(got, []string{"acme.example"}) {
		t.Errorf("the proxy got requests for %q", got)
	}

	direct := startControlPlane(t)
	e.use(target("a", direct.URL, withKey, "proxy_url: "+p, "no_proxy: 127.0.0.1"))
	e.expect("a: up")
	if got := hosts.take(); len(got) > 0 {
		t.Errorf("the proxy got requests for %q", got)
	}
}

// The response is the proxy's and not the control plane's. Failed authentications are not
// retried, since that may lock the account.
func TestProxyThatRefusesCONNECT(t *testing.T) {
	for status, want := range map[int]struct {
		outcome  string
		requests int64
	}{
		401: {"intermediary", 1}, 403: {"intermediary", 1}, 407: {"intermediary", 1}, 404: {"connection", 3}, 503: {"connection", 3},
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			headers := recordHeader("X-Proxy")
			var requests atomic.Int64
			url := serve(t, headers.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if r.Method != http.MethodConnect {
					t.Errorf("the proxy got a %s request", r.Method)
				}
				w.Header().Set("Server", "squid "+r.Header.Get("X-Proxy"))
				w.Header().Set("Proxy-Authenticate", "NTLM")
				w.WriteHeader(status)
				fmt.Fprint(w, `{"statusCode":401,"message":"not the API's"}`)
			})))
			withoutWaits(t, func(t *testing.T) {
				e := newExporter(t)
				e.use(target("a", "https://acme.example", withKey, "proxy_url: "+strings.Replace(url, "//", "//user:s3cret@", 1), "proxy_connect_header: {X-Proxy: [s3cret]}"))
				e.expect("a: " + want.outcome)
				metricstest.Present(t, e.log.String(), fmt.Sprintf("the proxy %s refused: %d %s (server squid <redacted>, wants NTLM)",
					strings.TrimPrefix(url, "http://"), status, http.StatusText(status)))
				metricstest.Absent(t, e.log.String(), "s3cret")
			})
			if n := requests.Load(); n != want.requests {
				t.Errorf("the proxy got %d requests, want %d", n, want.requests)
			}
			if got := headers.take(); !slices.Equal(got, []string{"s3cret"}) {
				t.Errorf("the proxy got %q", got)
			}
		})
	}
}

func TestProxyThatRequiresAuthentication(t *testing.T) {
	url, _ := startProxy(t, faults.Status(http.StatusProxyAuthRequired)(nil))
	e := newExporter(t)
	e.use(target("a", "http://acme.example", withKey, "proxy_url: "+url))
	e.expect("a: intermediary")
	metricstest.Present(t, e.log.String(), "the proxy "+strings.TrimPrefix(url, "http://")+" refused: 407 Proxy Authentication Required")
}

// The scheme of the proxy's URL is the protocol between the exporter and the proxy.
func TestProxyThatDoesNotSpeakTLS(t *testing.T) {
	url, _ := startProxy(t, newControlPlane(t))
	for _, address := range []string{"http://acme.example", "https://acme.example"} {
		withoutWaits(t, func(t *testing.T) {
			e := newExporter(t)
			e.use(target("a", address, withKey, "proxy_url: "+strings.Replace(url, "http:", "https:", 1)))
			e.expect("a: connection")
			metricstest.Present(t, e.log.String(), "no trusted TLS connection to the proxy: the server does not speak TLS")
			metricstest.Present(t, e.log.String(), "it should start with http://")
		})
	}
}

func TestPasswordOfTheProxyIsNotLogged(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	withoutWaits(t, func(t *testing.T) {
		e := newExporter(t)
		e.use(target("a", "http://acme.example", withKey, "proxy_url: http://user:s3cret@"+closed.Listener.Addr().String()))
		e.expect("a: connection")
		metricstest.Present(t, e.log.String(), "refused")
		metricstest.Absent(t, e.log.String(), "s3cret")
	})
}

// net/http does not use proxies for loopback addresses, but for 0.0.0.0 it does.
func TestProxyOfTheEnvironment(t *testing.T) {
	control := newControlPlane(t)
	p, hosts := startProxy(t, control)
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
		"is the default": {nil, true},
		"is enabled":     {[]string{"proxy_from_environment: true"}, true},
		"has no value":   {[]string{"proxy_from_environment:"}, true},
		"is disabled":    {[]string{"proxy_from_environment: false"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := newExporter(t)
			e.use(target("a", url, append(tt.fields, withKey)...))
			e.expect("a: up")
			viaProxy, unproxied := hosts.take(), direct.take()
			if want := []string{host}; tt.proxied && (!slices.Equal(viaProxy, want) || len(unproxied) > 0) ||
				!tt.proxied && (!slices.Equal(unproxied, want) || len(viaProxy) > 0) {
				t.Errorf("the proxy got requests for %q, and the server for %q", viaProxy, unproxied)
			}
		})
	}
}

// Targets of flags have the default configuration.
func TestProxyOfTheEnvironmentIsTheDefault(t *testing.T) {
	p, hosts := startProxy(t, newControlPlane(t))
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
		t.Errorf("the proxy got requests for %q", got)
	}
}

func TestTokenEndpointHasItsOwnProxy(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	p, hosts := startProxy(t, o)
	o.URL = "http://login.example/token"
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2("proxy_url: '"+p+"'")))
	e.expect("a: up")
	if got := hosts.take(); !slices.Equal(got, []string{"login.example"}) {
		t.Errorf("the proxy got requests for %q", got)
	}
}

func TestHeadersAreSentAndTheirFilesReadForEachRequest(t *testing.T) {
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

func TestTokenEndpointGetsNoHeadersOfTheTarget(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	headers := recordHeader("X-A")
	o.setHandler(headers.wrap(o.handler))
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

func TestPathsAreRelativeToTheConfigFile(t *testing.T) {
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

func TestDialTimeoutIsReported(t *testing.T) {
	t.Parallel()
	address := faults.DropPackets(t, "127.0.0.1:0")
	e := newExporter(t)
	e.use(target("a", "http://"+address, withKey))
	e.expectWithin(time.Second, "a: timeout")
	metricstest.Present(t, e.log.String(), "no connection to "+address)
	metricstest.Present(t, e.log.String(), "check the firewall, the NetworkPolicy, the proxy")
	metricstest.Absent(t, e.log.String(), "raise scrape_timeout")
}

// waitUntilIdle waits until connections count as idle.
func waitUntilIdle() { <-time.After(600 * time.Millisecond) }

func TestRequestOnADeadConnectionIsRepeated(t *testing.T) {
	t.Parallel()
	private := faults.NewAuthority(t)
	e := newExporter(t)
	e.write("ca.pem", private.PEM)
	listeners := map[string]*faults.Listener{}
	var entries []string
	for name, configure := range map[string]func(*httptest.Server){
		"http1": func(*httptest.Server) {},
		"https": private.ServeTLS(),
		"http2": func(s *httptest.Server) { private.ServeTLS()(s); s.EnableHTTP2 = true },
	} {
		url := serve(t, newControlPlane(t), configure, func(s *httptest.Server) { listeners[name] = faults.WrapListener(s) })
		entries = append(entries, target(name, url, withKey, "tls_config: {ca_file: ca.pem}"))
	}
	e.use(entries...)
	const up = "http1: up, http2: up, https: up"
	e.expect(up)
	for range 2 {
		before := map[string]int64{}
		for name, listener := range listeners {
			before[name] = listener.Connections()
		}
		e.expect(up)
		for name, listener := range listeners {
			if n := listener.Connections() - before[name]; n != 0 {
				t.Errorf("%s: %d connections were made, want none", name, n)
			}
			listener.KillConnections()
		}
		waitUntilIdle()
		e.expectWithin(2*time.Second, up)
		for name, listener := range listeners {
			if n := listener.Connections() - before[name]; n != 1 {
				t.Errorf("%s: %d connections were made, want one", name, n)
			}
		}
	}
}

func TestNewConnectionIsUsedAfterATimeout(t *testing.T) {
	t.Parallel()
	private := faults.NewAuthority(t)
	g := newGate()
	fault := faults.Switch()
	var listener *faults.Listener
	url := serve(t, fault.Wrap(newControlPlane(t)), private.ServeTLS(), func(s *httptest.Server) {
		s.EnableHTTP2, listener = true, faults.WrapListener(s)
	})
	e := newExporter(t)
	e.write("ca.pem", private.PEM)
	e.use(target("a", url, withKey, "tls_config: {ca_file: ca.pem}"))
	fault.Set(g.wrap)
	e.expectWithin(time.Second, "a: timeout") // the connection is new, so there is no second attempt
	fault.Set(nil)
	before := listener.Connections()
	e.expect("a: up")
	if n := listener.Connections() - before; n != 1 {
		t.Errorf("%d connections were made, want one", n)
	}
}

func TestSlowResponseOnAnIdleConnectionIsAccepted(t *testing.T) {
	t.Parallel()
	fault := faults.Switch()
	cp := startControlPlane(t, fault.Wrap)
	e := newExporter(t)
	e.use(target("a", cp.URL, withKey))
	e.expect("a: up")
	waitUntilIdle()
	g := newGate()
	fault.Set(g.wrap)
	outcome := make(chan bool)
	go func() { outcome <- upByTarget(e.scrapeFamilies(2 * time.Second))["a"] }()
	g.wait(t, 2) // the second attempt has a new connection
	close(g.open)
	if !<-outcome {
		t.Errorf("the scrape failed:\n%s", e.log)
	}
}
