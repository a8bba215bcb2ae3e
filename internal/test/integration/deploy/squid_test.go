package deploy

import (
	"crypto/md5"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// squidConfig is the configuration of Squid. The words in capitals are replaced: DIR is a
// directory. Squid caches nothing and sends no DNS queries.
const squidConfig = `
http_port ADDRESS
pid_filename none
pinger_enable off
netdb_filename none
cache deny all
cache_mem 8 MB
cache_log /dev/null
logformat request request %rm %>Hs
access_log stdio:DIR/requests.log request
shutdown_lifetime 0 seconds
visible_hostname squid.example
dns_nameservers 127.0.0.1
hosts_file DIR/hosts
auth_param basic program /usr/lib/squid/basic_ncsa_auth DIR/users
auth_param basic children 1
acl known proxy_auth REQUIRED
RULES
`

// squid is a running Squid.
type squid struct {
	*process
	dir string
}

// startSquid starts Squid with rules. Its only user is ci with the password s3cret. For Squid,
// acme.svc is a name of this machine.
func startSquid(t *testing.T, address, rules string) *squid {
	t.Helper()
	dir := t.TempDir()
	// If root starts Squid, it runs as another user.
	for path, mode := range map[string]os.FileMode{filepath.Dir(dir): 0o755, dir: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	password := md5.Sum([]byte("s3cret"))
	for name, text := range map[string]string{
		"hosts":      "127.0.0.1 acme.svc\n",
		"users":      "ci:" + hex.EncodeToString(password[:]) + "\n",
		"squid.conf": strings.NewReplacer("ADDRESS", address, "DIR", dir, "RULES", rules).Replace(squidConfig),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &squid{start(t, regexp.MustCompile(`Accepting HTTP Socket connections`), command(t, "squid", "-N", "-d1", "-f", filepath.Join(dir, "squid.conf"))), dir}
}

// expectRequests stops Squid and checks the requests in its log.
func (s *squid) expectRequests(t *testing.T, want ...string) {
	t.Helper()
	s.stop(t)
	log, err := os.ReadFile(filepath.Join(s.dir, "requests.log"))
	if err != nil {
		t.Fatal(err)
	}
	if got := requests(string(log)); !slices.Equal(got, want) {
		t.Errorf("the requests are %q, want %q", got, want)
	}
}

// origins are a control plane behind Squid, served with both schemes.
type origins struct{ http, https *httptest.Server }

// startOrigins starts a control plane. caFile contains its certificate authority.
func startOrigins(t *testing.T) (o origins, caFile string) {
	t.Helper()
	dir := t.TempDir()
	authority := certificates(t, dir)
	handler := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(tokens)...))
	o.http, o.https = httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	o.https.TLS = authority.Config(func(c *x509.Certificate) { c.DNSNames = []string{"acme.svc"} })
	o.https.StartTLS()
	t.Cleanup(o.http.Close)
	t.Cleanup(o.https.Close)
	return o, filepath.Join(dir, "ca.pem")
}

// behindSquid returns the fields of a target whose name only Squid can resolve.
func behindSquid(origin *httptest.Server, caFile, proxy string) []string {
	return []string{"url: " + byName(origin.URL), "tls_config: {ca_file: " + caFile + "}", "proxy_url: " + proxy}
}

// byName returns a URL with a name that only Squid can resolve.
func byName(url string) string { return strings.Replace(url, "127.0.0.1", "acme.svc", 1) }

// Requests that Squid refuses are not retried, since a proxy may lock accounts.
func TestSquid(t *testing.T) {
	o, caFile := startOrigins(t)
	address := reservePort(t)
	for _, tt := range []struct {
		name, rules string
		origin      *httptest.Server
		logged      []string
		refused     string
		works       []string
	}{
		{
			name: "requires a password for HTTP", rules: "http_access allow known", origin: o.http,
			logged:  []string{"the proxy " + address + " refused: 407 Proxy Authentication Required (server squid/", `title \"ERROR: Cache Access Denied\"`, "wants Basic)"},
			refused: "GET 407", works: []string{"GET 200", "GET 200"},
		},
		{
			name: "requires a password for HTTPS", rules: "http_access allow known", origin: o.https,
			logged:  []string{"the proxy " + address + " refused: 407 Proxy Authentication Required (server squid/", "wants Basic)"},
			refused: "CONNECT 407", works: []string{"CONNECT 200"},
		},
		{
			name: "denies a request", rules: "http_access deny all", origin: o.http,
			logged:  []string{"403 Forbidden, which did not come from the API (server squid/", `title \"ERROR: The requested URL could not be retrieved\"`},
			refused: "GET 403", works: []string{"GET 200", "GET 200"},
		},
		{
			name: "denies CONNECT", rules: "http_access deny CONNECT", origin: o.https,
			logged:  []string{"the proxy " + address + " refused: 403 Forbidden (server squid/"},
			refused: "CONNECT 403", works: []string{"CONNECT 200"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startSquid(t, address, tt.rules)
			x := startExporter(t, controlplanetest.Key, behindSquid(tt.origin, caFile, "http://"+address))
			x.expectFailure(t, failure{client.ReasonIntermediary, tt.logged, "the API key is not the problem"})
			s.expectRequests(t, tt.refused, tt.refused)

			s = startSquid(t, address, "http_access allow all")
			x.expectRecovery(t)
			s.expectRequests(t, tt.works...)
		})
	}
}

// The password of the proxy in the environment is not logged.
func TestSquidOfTheEnvironment(t *testing.T) {
	o, caFile := startOrigins(t)
	for name, origin := range map[string]*httptest.Server{"HTTP_PROXY": o.http, "HTTPS_PROXY": o.https} {
		t.Run(name, func(t *testing.T) {
			address := reservePort(t)
			startSquid(t, address, "http_access allow known")
			lines := []string{"url: " + byName(origin.URL), "tls_config: {ca_file: " + caFile + "}"}
			x := startExporter(t, controlplanetest.Key, lines, name+"=http://ci:s3cret@"+address)
			x.expectHealthy(t)
			metricstest.Absent(t, x.stop(t), "s3cret")

			x = startExporter(t, controlplanetest.Key, lines, name+"=http://ci:wr0ng@"+address)
			x.expectFailure(t, failure{
				client.ReasonIntermediary,
				[]string{"the proxy " + address + " refused: 407 Proxy Authentication Required (server squid/"},
				"the API key is not the problem",
			})
			metricstest.Absent(t, x.stop(t), "wr0ng")
		})
	}
}

// If the proxy in the environment is invalid, the exporter does not start.
func TestSquidOfTheEnvironmentMustBeAURL(t *testing.T) {
	file := filepath.Join(t.TempDir(), "targets.yml")
	write(t, filepath.Join(filepath.Dir(file), "key"), controlplanetest.Key)
	write(t, file, "targets: [{name: acme, url: 'https://acme.svc', authorization: {credentials_file: key}}]")
	for name, args := range map[string][]string{
		"at the start": {"--config.file=" + file, "--web.listen-address=127.0.0.1:0"},
		"in the check": {"--config.file=" + file, "--config.check"},
		"with flags":   {"--truefoundry.url=https://acme.svc", "--truefoundry.api-key-file=" + filepath.Join(filepath.Dir(file), "key"), "--web.listen-address=127.0.0.1:0"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, exporter, args...)
			cmd.Env = []string{"HTTPS_PROXY=http://ci:s3cret@squid.example:31 28"}
			output, err := cmd.CombinedOutput()
			if _, failed := errors.AsType[*exec.ExitError](err); !failed {
				t.Errorf("it ended with %v", err)
			}
			metricstest.Present(t, string(output), "HTTPS_PROXY is not the URL of a proxy")
			metricstest.Absent(t, string(output), "s3cret")
		})
	}
}

// The requests are retried, and the next scrape succeeds when Squid can reach the control plane.
func TestSquidCannotReachTheControlPlane(t *testing.T) {
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	authority := faults.NewAuthority(t)
	write(t, caFile, authority.PEM)
	for scheme, tt := range map[string]struct {
		want   failure
		failed string
		works  []string
	}{
		"http": {
			failure{
				client.ReasonServerError,
				[]string{"503 Service Unavailable, which did not come from the API (server squid/", `title \"ERROR: The requested URL could not be retrieved\"`},
				"something in front of the control plane cannot reach it",
			},
			"GET 503",
			[]string{"GET 200", "GET 200"},
		},
		"https": {
			failure{
				client.ReasonConnection,
				[]string{"refused: 503 Service Unavailable (server squid/"},
				"check the proxy, and that it may and can reach the control plane",
			},
			"CONNECT 503",
			[]string{"CONNECT 200"},
		},
	} {
		t.Run(scheme, func(t *testing.T) {
			address, closed := reservePort(t), reservePort(t)
			s := startSquid(t, address, "http_access allow all")
			origin := httptest.NewUnstartedServer(controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(tokens)...)))
			origin.Listener.Close()
			x := startExporter(t, controlplanetest.Key, []string{"url: " + scheme + "://" + byName(closed), "tls_config: {ca_file: " + caFile + "}", "proxy_url: http://" + address})
			x.expectFailure(t, tt.want)

			listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", closed)
			if err != nil {
				t.Fatal(err)
			}
			origin.Listener = listener
			if scheme == "https" {
				origin.TLS = authority.Config(func(c *x509.Certificate) { c.DNSNames = []string{"acme.svc"} })
				origin.StartTLS()
			} else {
				origin.Start()
			}
			t.Cleanup(origin.Close)
			x.expectRecovery(t)
			s.expectRequests(t, append(slices.Repeat([]string{tt.failed}, 6), tt.works...)...)
		})
	}
}

// The scheme of the proxy's URL is https, but Squid does not speak TLS.
func TestSquidDoesNotSpeakTLS(t *testing.T) {
	o, caFile := startOrigins(t)
	address := reservePort(t)
	startSquid(t, address, "http_access allow all")
	for scheme, origin := range map[string]*httptest.Server{"http": o.http, "https": o.https} {
		t.Run(scheme, func(t *testing.T) {
			x := startExporter(t, controlplanetest.Key, behindSquid(origin, caFile, "https://"+address))
			x.expectFailure(t, failure{
				client.ReasonConnection,
				[]string{"no trusted TLS connection to the proxy: the server does not speak TLS"},
				"if the proxy speaks plain HTTP, it should start with http://",
			})
			x.reload(t, behindSquid(origin, caFile, "http://"+address)...)
			x.expectRecovery(t)
		})
	}
}
