package connect_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/metricstest"
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

func TestAProxyThatWantsHTTPSIsAskedWithTheHeaders(t *testing.T) {
	headers := record("X-Proxy")
	refusal := faults.CloseAfter("HTTP/1.1 403 not with that\r\n\r\n")
	e := newExporter(t)
	e.use(target("a", "https://acme.example", withKey, "proxy_url: "+serve(t, headers.wrap(refusal(nil))), "proxy_connect_header: {X-Proxy: [s3cret]}"))
	e.expect("a: connection")
	if got := headers.take(); !slices.Equal(got, []string{"s3cret"}) {
		t.Errorf("the proxy got %q", got)
	}
	metricstest.Present(t, e.log.String(), "not with")
	metricstest.Absent(t, e.log.String(), "s3cret")
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
