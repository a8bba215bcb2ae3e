package deploy

import (
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// nginx responds to errors with HTML.
func TestNginx(t *testing.T) {
	dir := t.TempDir()
	certificates(t, dir)
	address := reservePort(t)
	encrypted := "listen " + address + " ssl; ssl_certificate " + dir + "/cert.pem; ssl_certificate_key " + dir + "/key.pem;"
	listens := map[string]string{"http": "listen " + address + ";", "https": encrypted}
	pass := func(url string) string { return "location / { proxy_pass " + url + "; }" }
	working := pass(startControlPlane(t, controlplanetest.Key).URL)
	silent := startControlPlane(t, controlplanetest.Key, faults.Hang())

	for _, tt := range []struct {
		name, scheme string
		fault        string // the directives of the server
		want         failure
		request      string
		times        int // in each scrape
	}{
		{
			name: "requires a client certificate", scheme: "https",
			fault: encrypted + "ssl_client_certificate " + dir + "/ca.pem; ssl_verify_client on;" + working,
			want: failure{
				client.ReasonClientError,
				[]string{"400 Bad Request, which did not come from the API (server nginx/", `title \"400 No required SSL certificate was sent\"`},
				"most likely a client certificate is missing or refused: check tls_config",
			},
			request: "GET 400", times: 1,
		},
		{
			name: "expects TLS", scheme: "http",
			fault: encrypted + working,
			want: failure{
				client.ReasonClientError,
				[]string{"400 Bad Request", `title \"400 The plain HTTP request was sent to HTTPS port\"`},
				"most likely the port expects TLS: the URL should start with https://",
			},
			request: "GET 400", times: 1,
		},
		{
			name: "requires a password", scheme: "http",
			fault: listens["http"] + "auth_basic internal; auth_basic_user_file users;" + working,
			want: failure{
				client.ReasonIntermediary,
				[]string{"401 Unauthorized", "server nginx/", `title \"401 Authorization Required\"`, "wants Basic)"},
				"the API key is not the problem",
			},
			request: "GET 401", times: 1,
		},
		{
			name: "denies access", scheme: "http",
			fault: listens["http"] + "deny all;" + working,
			want: failure{
				client.ReasonIntermediary,
				[]string{"403 Forbidden", "server nginx/", `title \"403 Forbidden\"`},
				"the API key is not the problem",
			},
			request: "GET 403", times: 1,
		},
		{
			name: "cannot connect to the control plane", scheme: "http",
			fault: listens["http"] + pass("http://"+reservePort(t)),
			want: failure{
				client.ReasonServerError,
				[]string{"502 Bad Gateway", "server nginx/", `title \"502 Bad Gateway\"`},
				"something in front of the control plane cannot reach it",
			},
			request: "GET 502", times: 3,
		},
		{
			name: "gets no response from the control plane", scheme: "http",
			fault: listens["http"] + "proxy_read_timeout 100ms;" + pass(silent.URL),
			want: failure{
				client.ReasonServerError,
				[]string{"504 Gateway Timeout", "server nginx/", `title \"504 Gateway Time-out\"`},
				"something in front of the control plane cannot reach it",
			},
			request: "GET 504", times: 3,
		},
		{
			name: "redirects to the login page of another host", scheme: "http",
			fault: listens["http"] + "return 302 https://login.example/sign-in?next=$request_uri;",
			want: failure{
				client.ReasonRedirect,
				[]string{"302 Found (to https://login.example/sign-in, server nginx"},
				"redirects are not followed, so that the API key goes nowhere else; most likely a login stands in front of the control plane",
			},
			request: "GET 302", times: 1,
		},
		{
			name: "redirects to HTTPS on the same host", scheme: "http",
			fault: listens["http"] + "return 301 https://$host$request_uri;",
			want: failure{
				client.ReasonRedirect,
				[]string{"301 Moved Permanently (to https://127.0.0.1/api/svc/v1/personal-access-tokens, server nginx"},
				"redirects are not followed, so that the API key goes nowhere else; the URL should start with https://",
			},
			request: "GET 301", times: 1,
		},
		{
			name: "responds with an empty body", scheme: "http",
			fault: listens["http"] + "return 200;",
			want: failure{
				client.ReasonBadResponse,
				[]string{"the response is empty instead of a list of tokens (server nginx/"},
				"the response is empty instead of a list of tokens",
			},
			request: "GET 200", times: 1,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			nginx := runNginx(t, dir, "server {"+tt.fault+"}")
			x := startExporter(t, controlplanetest.Key, []string{"url: " + tt.scheme + "://" + address, "tls_config: {ca_file: " + dir + "/ca.pem}"})
			x.expectFailure(t, tt.want)
			expectRequests(t, nginx, slices.Repeat([]string{tt.request}, 2*tt.times)...)

			nginx = runNginx(t, dir, "server {"+listens[tt.scheme]+working+"}")
			x.expectRecovery(t)
			expectRequests(t, nginx, "GET 200", "GET 200")
		})
	}
}

// The key is larger than the headers that nginx accepts.
func TestNginxRefusesALargeKey(t *testing.T) {
	dir := t.TempDir()
	certificates(t, dir)
	key := strings.Repeat("k", 6000)
	working := "location / { proxy_pass " + startControlPlane(t, key).URL + "; }"
	for scheme, tt := range map[string]struct{ ssl, page string }{
		"http":  {"", "or the port expects TLS: then the URL should start with https://"},
		"https": {" ssl; ssl_certificate " + dir + "/cert.pem; ssl_certificate_key " + dir + "/key.pem", "allow larger headers there"},
	} {
		t.Run(scheme, func(t *testing.T) {
			address := reservePort(t)
			server := "listen " + address + tt.ssl + ";" + working
			nginx := runNginx(t, dir, "server {"+server+"large_client_header_buffers 4 4k; }")
			x := startExporter(t, key, []string{"url: " + scheme + "://" + address, "api_key_token: token-t0000", "tls_config: {ca_file: " + dir + "/ca.pem}"})
			x.expectFailure(t, failure{
				client.ReasonClientError,
				[]string{"400 Bad Request", "server nginx/", `title \"400 Request Header Or Cookie Too Large\"`},
				"most likely the API key, which has 6000 bytes, is too large for what is in front of the control plane",
			})
			metricstest.Present(t, metricstest.PageText(x.request(t, http.MethodGet, "/")), tt.page)
			expectRequests(t, nginx, "GET 400", "GET 400")

			nginx = runNginx(t, dir, "server {"+server+"}")
			x.expectRecovery(t)
			expectRequests(t, nginx, "GET 200", "GET 200")
		})
	}
}

// The client certificate is of another authority.
func TestNginxRefusesAClientCertificate(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	certificates(t, dir)
	certificates(t, other)
	address := reservePort(t)
	nginx := runNginx(t, dir, "server { listen "+address+" ssl; ssl_certificate "+dir+"/cert.pem; ssl_certificate_key "+dir+"/key.pem;"+
		"ssl_client_certificate "+dir+"/ca.pem; ssl_verify_client on; location / { proxy_pass "+startControlPlane(t, controlplanetest.Key).URL+"; } }")
	lines := func(certificate string) []string {
		return []string{"url: https://" + address, "tls_config: {ca_file: " + dir + "/ca.pem, cert_file: " + certificate + "/cert.pem, key_file: " + certificate + "/key.pem}"}
	}
	x := startExporter(t, controlplanetest.Key, lines(other))
	x.expectFailure(t, failure{
		client.ReasonClientError,
		[]string{"400 Bad Request", "server nginx/", `title \"400 The SSL certificate error\"`},
		"most likely a client certificate is missing or refused: check tls_config",
	})
	x.reload(t, lines(dir)...)
	x.expectRecovery(t)
	expectRequests(t, nginx, "GET 400", "GET 400", "GET 200", "GET 200")
}

// Below a wrong API prefix, there is the user interface.
func TestNginxServesASinglePageApplication(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "app", "index.html"), "<!doctype html><html><head><title>TrueFoundry</title></head><body><div id=root></div></body></html>")
	address := reservePort(t)
	runNginx(t, dir, "server { listen "+address+"; gzip on; gzip_min_length 1; root "+dir+"/app;"+
		"location / { try_files $uri /index.html; } location /api/svc/ { proxy_pass "+startControlPlane(t, controlplanetest.Key).URL+"; } }")

	x := startExporter(t, controlplanetest.Key, []string{"url: http://" + address, "api_prefix: /svc"})
	x.expectFailure(t, failure{
		client.ReasonBadResponse,
		[]string{"the response is an HTML page instead of a list of tokens (server nginx/", `title \"TrueFoundry\"`},
		"check the API prefix: below a wrong one, the control plane responds with its user interface",
	})
	x.reload(t, "url: http://"+address)
	x.expectRecovery(t)
}
