package connect_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// invalidKeyFiles are invalid key files, with a part of the error.
var invalidKeyFiles = []struct {
	name string
	make func(t *testing.T, path string)
	want string
}{
	{"missing", func(*testing.T, string) {}, "no such file"},
	{"empty", content(""), "it is empty"},
	{"nothing but blanks", content(" \n\t\r\n"), "it is empty"},
	{"a key with a blank in it", content("tfy s3cret"), "it has a blank"},
	{"two keys", content("tfy-s3cret\ntfy-s3cret\n"), "it has a blank"},
	{"a directory", func(t *testing.T, path string) {
		t.Helper()
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}, "is a directory"},
	// The tests may run as root, who can read files without permissions.
	{"unreadable", func(t *testing.T, path string) {
		t.Helper()
		if err := os.Symlink(path, path); err != nil {
			t.Fatal(err)
		}
	}, "too many levels of symbolic links"},
}

// content returns a function that writes a file.
func content(text string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInvalidKeyFileFailsOnlyItsTargetUntilItIsCorrected(t *testing.T) {
	for _, tt := range invalidKeyFiles {
		t.Run(tt.name, func(t *testing.T) {
			cp := startControlPlane(t)
			e := newExporter(t)
			entries := []string{target("good", cp.URL, withKey), target("bad", cp.URL, "authorization: {credentials_file: other}")}
			tt.make(t, e.path("other"))
			e.use(entries...)
			e.expect("bad: credentials, good: up")
			if n := len(cp.Requests()); n != 1 {
				t.Errorf("%d requests for the valid target", n)
			}
			metricstest.Present(t, e.log.String(), "file "+e.path("other"))
			metricstest.Present(t, e.log.String(), tt.want)
			metricstest.Absent(t, e.log.String(), "s3cret")

			e.remove("other")
			e.write("other", controlplanetest.Key)
			e.expect("bad: up, good: up")

			e.remove("other")
			tt.make(t, e.path("other"))
			e.use(entries...)
			e.expect("bad: credentials, good: up")
		})
	}
}

func TestWhiteSpaceAroundKeysIsIgnored(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":                controlplanetest.Key,
		"a trailing newline":     controlplanetest.Key + "\n",
		"newlines as on Windows": controlplanetest.Key + "\r\n\r\n",
		"blanks":                 " \t" + controlplanetest.Key + "  \n",
	} {
		t.Run(name, func(t *testing.T) {
			cp := startControlPlane(t)
			e := newExporter(t)
			e.write("key", text)
			e.use(target("a", cp.URL, withKey), target("b", cp.URL, fmt.Sprintf("authorization: {credentials: %q}", text)))
			e.expect("a: up, b: up")
		})
	}
}

func TestEachTargetHasItsOwnControlPlaneAndKey(t *testing.T) {
	keys := recordHeader("Authorization")
	first, second := startControlPlane(t), startControlPlane(t, keys.wrap)
	e := newExporter(t)
	e.write("other", "tfy-other\n")
	e.use(
		target("a", first.URL, withKey),
		target("b", second.URL, "authorization: {credentials: "+controlplanetest.Key+"}"),
		target("c", second.URL, "bearer_token_file: other"),
	)
	e.expect("a: up, b: up, c: unauthorized")
	sent := keys.take()
	slices.Sort(sent)
	if want := []string{"Bearer " + controlplanetest.Key, "Bearer tfy-other"}; !slices.Equal(slices.Compact(sent), want) {
		t.Errorf("sent %q, want %q", sent, want)
	}
	metricstest.Present(t, e.log.String(), `url=`+first.URL)
	metricstest.Present(t, e.log.String(), `api_key="file `+e.path("other")+`"`)
	metricstest.Absent(t, e.log.String(), controlplanetest.Key)
	metricstest.Absent(t, e.log.String(), "tfy-other")
}

func TestEachKindOfATargetIsListed(t *testing.T) {
	cp := startControlPlane(t)
	e := newExporter(t)
	e.use(target("a", cp.URL, withKey, "kinds: [virtual-account, personal-access-token]"), target("b", cp.URL, withKey))
	got := e.exposition()
	metricstest.Present(t, got, `truefoundry_listing_success{kind="personal-access-token",target="a"} 1`)
	metricstest.Present(t, got, `truefoundry_listing_success{kind="virtual-account",target="a"} 1`)
	metricstest.Present(t, got, `truefoundry_listing_success{kind="personal-access-token",target="b"} 1`)
	metricstest.Absent(t, got, `{kind="virtual-account",target="b"}`)
}

func TestEachTargetHasItsOwnAPIPrefix(t *testing.T) {
	paths := &recorder{part: func(r *http.Request) string { return r.URL.Path }}
	address := serve(t, paths.wrap(faults.Body(`{"data":[]}`)(nil)))
	e := newExporter(t)
	for prefix, want := range map[string]string{
		`{}`:                   "/api/svc/v1/personal-access-tokens",
		`{api_prefix: ""}`:     "/v1/personal-access-tokens",
		`{api_prefix: /other}`: "/other/v1/personal-access-tokens",
	} {
		e.use(target("a", address, withKey, "<<: "+prefix))
		e.expect("a: up")
		if got := paths.take(); !slices.Equal(got, []string{want}) {
			t.Errorf("%s requested %s, want %s", prefix, got, want)
		}
	}
}

func TestAPIKeyTokenProvidesTheExpiryOfTheKey(t *testing.T) {
	cp := startControlPlane(t)
	cp.Key = "tfy-opaque"
	e := newExporter(t)
	e.write("key", "tfy-opaque")
	e.use(target("a", cp.URL, withKey, "api_key_token: token-t0000"), target("b", cp.URL, withKey, "api_key_token: other"))
	got := e.exposition()
	metricstest.Present(t, got, `truefoundry_api_key_expiry_timestamp_seconds{target="a"} 1.7750016e+09`)
	metricstest.Absent(t, got, `truefoundry_api_key_expiry_timestamp_seconds{target="b"}`)
}

// echoSecrets returns a fault that responds with an error that contains the secrets of the
// request.
func echoSecrets(status int) controlplanetest.Fault {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			body, _ := url.QueryUnescape(r.FormValue("client_secret") + " " + user + " " + password)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"statusCode":%d,"message":%q,"error":"invalid_client","error_description":%[2]q,"error_uri":%[2]q}`,
				status, "not "+r.Header.Get("Authorization")+" "+body)
		})
	}
}

// endpoint is an OAuth2 token endpoint.
type endpoint struct {
	URL string

	mu       sync.Mutex
	requests []string
	handler  http.Handler
}

// newEndpoint starts a token endpoint. Its access tokens are the API key of the control
// planes.
func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	o := new(endpoint)
	o.URL = serve(t, o)
	o.setLifetime(3600)
	return o
}

// setLifetime makes the endpoint issue tokens with a lifetime in seconds.
func (o *endpoint) setLifetime(seconds int) {
	o.setHandler(respond("application/json", fmt.Sprintf(`{"access_token":%q,"token_type":"Bearer","expires_in":%d}`, controlplanetest.Key, seconds)))
}

// respond returns a handler that responds with a media type and a text.
func respond(mediaType, text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		fmt.Fprint(w, text)
	})
}

// setHandler replaces the handler of token requests.
func (o *endpoint) setHandler(handler http.Handler) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.handler = handler
}

// ServeHTTP implements http.Handler.
func (o *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, inHeader := r.BasicAuth()
	if !inHeader {
		user, password = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	o.mu.Lock()
	o.requests = append(o.requests, fmt.Sprintf("%s %s %s:%s", r.Method, r.PostFormValue("grant_type"), user, password))
	handler := o.handler
	o.mu.Unlock()
	handler.ServeHTTP(w, r)
}

// take returns the requests since the last call.
func (o *endpoint) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	defer func() { o.requests = nil }()
	return o.requests
}

// wantRequests compares the requests since the last call.
func (o *endpoint) wantRequests(t *testing.T, want ...string) {
	t.Helper()
	if got := o.take(); !slices.Equal(got, want) {
		t.Errorf("the endpoint got the requests %q, want %q", got, want)
	}
}

const (
	tokenRequest        = "POST client_credentials exporter:s3cret"
	rotatedTokenRequest = "POST client_credentials exporter:rotated"
)

// oauth2 returns the field oauth2 of a target. The client secret is in a file.
func (o *endpoint) oauth2(more ...string) string {
	return "oauth2: {client_id: exporter, client_secret_file: secret, token_url: '" + o.URL + "'" + strings.Join(append([]string{""}, more...), ", ") + "}"
}

// newOAuth2Exporter returns an exporter with a file of the client secret.
func newOAuth2Exporter(t *testing.T, configure ...func(*connect.Settings)) *exporter {
	t.Helper()
	e := newExporter(t, configure...)
	e.write("secret", "s3cret\n")
	return e
}

func TestAccessTokenIsReusedUntilItExpires(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2()))
	e.expect("a: up")
	e.expect("a: up")
	o.wantRequests(t, tokenRequest)

	e.write("secret", "rotated")
	e.expect("a: up")
	e.expect("a: up")
	o.wantRequests(t, rotatedTokenRequest)

	// A token that expires within a second is not reused.
	e.write("secret", "s3cret")
	o.setLifetime(1)
	e.expect("a: up")
	e.expect("a: up")
	o.wantRequests(t, tokenRequest, tokenRequest)

	// A new configuration requests its own token.
	o.setLifetime(3600)
	e.use(target("a", cp.URL, o.oauth2()))
	e.expect("a: up")
	o.wantRequests(t, tokenRequest)
}

func TestTokenRequestHasTheConfiguredParameters(t *testing.T) {
	forms := &recorder{part: func(r *http.Request) string {
		r.ParseForm()
		return r.PostForm.Encode()
	}}
	cp, o := startControlPlane(t), newEndpoint(t)
	o.setHandler(forms.wrap(o.handler))
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2("scopes: [x, y]", "endpoint_params: {audience: z}")))
	e.expect("a: up")
	if got, want := forms.take(), "audience=z&grant_type=client_credentials&scope=x+y"; !slices.Equal(got, []string{want}) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// Some endpoints expect the secret in the header, others in the body.
func TestAuthenticationStyleOfTheEndpointIsDetectedOnce(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	o.setLifetime(1)
	issue := o.handler
	o.setHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		issue.ServeHTTP(w, r)
	}))
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2()))
	e.expect("a: up")
	o.wantRequests(t, tokenRequest, tokenRequest)
	e.expect("a: up")
	o.wantRequests(t, tokenRequest)
}

func TestExpiryOfAccessTokensIsNotExported(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2()), target("b", cp.URL, withKey))
	got := e.exposition()
	metricstest.Present(t, got, `truefoundry_up{target="a"} 1`)
	metricstest.Present(t, got, `truefoundry_api_key_expiry_timestamp_seconds{target="b"} 1.79e+09`)
	metricstest.Absent(t, got, `truefoundry_api_key_expiry_timestamp_seconds{target="a"}`)
}

func TestKindsShareOneTokenRequest(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	g := newGate()
	o.setHandler(g.wrap(o.handler))
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2(), "kinds: [personal-access-token, virtual-account]"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.expect("a: up")
	}()
	g.wait(t, 1)
	waitForGoroutines(t, 2, "(*oauth2Credentials).Credential(", func() bool { return g.maxConcurrency() > 1 })
	close(g.open)
	<-done
	o.wantRequests(t, tokenRequest)
}

func TestHangingEndpointTimesOutWithTheListing(t *testing.T) {
	t.Parallel()
	cp, o := startControlPlane(t), newEndpoint(t)
	issue, gone := o.handler, make(chan struct{}, 10)
	o.setHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		gone <- struct{}{}
	}))
	e := newOAuth2Exporter(t)
	// One of the kinds sends the request and the other waits for its turn.
	e.use(target("a", cp.URL, o.oauth2(), "kinds: [personal-access-token, virtual-account]"))
	e.expectWithin(time.Second, "a: timeout")
	<-gone
	metricstest.Present(t, e.log.String(), "no access token from the OAuth2 endpoint: no response within the scrape's deadline: check token_url")
	metricstest.Absent(t, e.log.String(), "raise scrape_timeout")
	o.setHandler(issue)
	e.expect("a: up")
}

func TestErrorOfTheEndpointIsLoggedWithoutTheSecret(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	o.setHandler(echoSecrets(http.StatusUnauthorized)(nil))
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2()))
	e.expect("a: connection")
	metricstest.Present(t, e.log.String(), "no access token from the OAuth2 endpoint: 401 Unauthorized (invalid_client): check token_url, client_id and the client secret")
	metricstest.Absent(t, e.log.String(), "s3cret")
	metricstest.Absent(t, e.log.String(), base64.StdEncoding.EncodeToString([]byte("exporter:s3cret")))
	if n := len(cp.Requests()); n > 0 {
		t.Errorf("the control plane got %d requests", n)
	}
}

// A client secret may look like an error code.
func TestErrorCodeThatIsTheSecretIsNotLogged(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	o.setHandler(respond("application/json", `{"error":"open_sesame"}`))
	e := newExporter(t)
	e.write("secret", "open_sesame")
	e.use(target("a", cp.URL, o.oauth2()))
	e.expect("a: connection")
	metricstest.Present(t, e.log.String(), "200 OK")
	metricstest.Absent(t, e.log.String(), "sesame")
}

func TestRedirectsOfTheEndpointAreNotFollowed(t *testing.T) {
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			cp, o, elsewhere := startControlPlane(t), newEndpoint(t), newEndpoint(t)
			o.setHandler(http.RedirectHandler(elsewhere.URL+"/s3cret", status))
			e := newOAuth2Exporter(t)
			e.use(target("a", cp.URL, o.oauth2()))
			e.expect("a: connection")
			elsewhere.wantRequests(t)
			metricstest.Present(t, e.log.String(), fmt.Sprintf("%d %s: check token_url", status, http.StatusText(status)))
			metricstest.Absent(t, e.log.String(), "s3cret")
		})
	}
}

func TestInvalidResponseOfTheEndpointIsAnError(t *testing.T) {
	inHeader := base64.StdEncoding.EncodeToString([]byte("exporter:s3cret"))
	for name, tt := range map[string]struct{ kind, body, want string }{
		"empty":                       {"application/json", "", "connection"},
		"HTML":                        {"text/html", "<html>s3cret", "connection"},
		"no token":                    {"application/json", `{"s3cret":"s3cret"}`, "connection"},
		"a token that is a number":    {"application/json", `{"access_token":5}`, "connection"},
		"a token with a blank":        {"application/json", `{"access_token":"s3cret s3cret"}`, "credentials"},
		"an invalid lifetime":         {"application/json", `{"access_token":"x","expires_in":"s3cret"}`, "connection"},
		"an error that is the secret": {"application/json", `{"error":"s3cret"}`, "connection"},
		"an error that is the header": {"application/json", `{"error":"` + inHeader + `"}`, "connection"},
		"an error of several lines":   {"application/json", `{"error":"a\nlevel=info s3cret"}`, "connection"},
		"text":                        {"text/plain", "s3cret", "connection"},
		"an invalid form":             {"text/plain", "access_token=s3cret%zz", "connection"},
	} {
		t.Run(name, func(t *testing.T) {
			cp, o := startControlPlane(t), newEndpoint(t)
			issue := o.handler
			o.setHandler(respond(tt.kind, tt.body))
			e := newOAuth2Exporter(t)
			e.use(target("a", cp.URL, o.oauth2()))
			before := strings.Count(e.log.String(), "\n")
			e.expect("a: " + tt.want)
			if n := strings.Count(e.log.String(), "\n") - before; n != 1 {
				t.Errorf("it is logged in %d lines:\n%s", n, e.log)
			}
			metricstest.Absent(t, e.log.String(), "s3cret")
			metricstest.Absent(t, e.log.String(), inHeader)
			o.setHandler(issue)
			if tt.want == "credentials" {
				e.write("secret", "rotated") // otherwise the token is reused
			}
			e.expect("a: up")
		})
	}
}

// The token may have been revoked.
func TestRefusedAccessTokenIsNotUsedAgain(t *testing.T) {
	fault := faults.Switch()
	cp, o := startControlPlane(t, fault.Wrap), newEndpoint(t)
	e := newOAuth2Exporter(t)
	e.use(target("a", cp.URL, o.oauth2()))
	e.expect("a: up")
	o.wantRequests(t, tokenRequest)
	fault.Set(faults.Status(http.StatusUnauthorized))
	e.expect("a: unauthorized")
	fault.Set(nil)
	e.expect("a: up")
	o.wantRequests(t, tokenRequest)
	fault.Set(faults.Status(http.StatusForbidden))
	e.expect("a: forbidden")
	fault.Set(nil)
	e.expect("a: up")
	o.wantRequests(t)
}

func TestMissingClientSecretSendsNoRequest(t *testing.T) {
	for name, text := range map[string]string{"no such file": "-", "is empty": " \n"} {
		t.Run(name, func(t *testing.T) {
			cp, o := startControlPlane(t), newEndpoint(t)
			e := newOAuth2Exporter(t)
			e.remove("secret")
			if text != "-" {
				e.write("secret", text)
			}
			e.use(target("a", cp.URL, o.oauth2()))
			e.expect("a: credentials")
			o.wantRequests(t)
			metricstest.Present(t, e.log.String(), "no usable API key in oauth2 (client secret file "+e.path("secret")+"): ")
			metricstest.Present(t, e.log.String(), name)
			metricstest.Present(t, e.log.String(), ": put only the client secret there")
			e.write("secret", "s3cret")
			e.expect("a: up")
			o.wantRequests(t, tokenRequest)
		})
	}
}

func TestCheckReadsFilesAndSendsNothing(t *testing.T) {
	cp, o := startControlPlane(t), newEndpoint(t)
	const (
		noKey  = `no usable API key in file DIR/none: no such file or directory: put only the key there`
		noFile = `a file that the connection needs cannot be read: DIR/none: no such file or directory: put it there, or change the target's configuration`
		advice = `its API key does not contain its expiry, so nothing warns before it expires: set api_key_token or --truefoundry.api-key-token to the name of the key's token, if that is listed`
		badCA  = `tls_config cannot be used: unable to use specified CA cert file DIR/empty: correct what it names`
		opaque = "authorization: {credentials_file: opaque}"
		none   = ""
	)
	for name, tt := range map[string]struct{ fields, problems, warnings string }{
		"a key with an expiry":                 {withKey, none, ""},
		"a key without expiry":                 {opaque, none, advice},
		"a key without expiry, with its token": {opaque + "\n  api_key_token: ci", none, ""},
		"no key":                               {"authorization: {credentials_file: none}", noKey, ""},
		"an empty key":                         {"authorization: {credentials_file: empty}", "no usable API key in file DIR/empty: it is empty: put only the key there", ""},
		"a client secret":                      {o.oauth2(), none, ""},
		"a client secret with blanks":          {strings.Replace(o.oauth2(), "file: secret", "file: blanks", 1), none, ""},
		"no client secret":                     {strings.Replace(o.oauth2(), "file: secret", "file: none", 1), "no usable API key in oauth2 (client secret file DIR/none): no such file or directory: put only the client secret there", ""},
		"an empty client secret":               {strings.Replace(o.oauth2(), "file: secret", "file: empty", 1), "no usable API key in oauth2 (client secret file DIR/empty): the client secret is empty: put only the client secret there", ""},
		"no CA":                                {withKey + "\n  tls_config: {ca_file: none}", noFile, ""},
		"an invalid CA":                        {withKey + "\n  tls_config: {ca_file: empty}", badCA, ""},
		"no CA for the endpoint":               {o.oauth2("tls_config: {ca_file: none}"), noFile, ""},
		"no header":                            {withKey + "\n  http_headers: {X-A: {files: [key, none]}}", noFile, ""},
		"a header":                             {withKey + "\n  http_headers: {X-A: {files: [key]}}", none, ""},
		"no key, no CA and no header":          {"authorization: {credentials_file: none}\n  tls_config: {ca_file: none}\n  http_headers: {X-A: {files: [none]}}", noKey + "\n" + noFile + "\n" + noFile, ""},
		"no CA, and a key without expiry":      {opaque + "\n  tls_config: {ca_file: none}", noFile, advice},
	} {
		t.Run(name, func(t *testing.T) {
			e := newOAuth2Exporter(t)
			e.write("opaque", "tfy-opaque")
			e.write("blanks", "s3cret s3cret")
			e.write("empty", "\n")
			list := e.configure(target("a", cp.URL, tt.fields))
			problems, warnings := connect.Check(t.Context(), &list[0])
			for _, output := range []struct {
				name string
				got  []string
				want string
			}{{"problems", problems, tt.problems}, {"warnings", warnings, tt.warnings}} {
				var want []string
				for line := range strings.SplitSeq(strings.ReplaceAll(output.want, "DIR", filepath.Dir(e.path("x"))), "\n") {
					if line != "" {
						want = append(want, `target "a": `+line)
					}
				}
				if !slices.Equal(output.got, want) {
					t.Errorf("%s\n%q, want\n%q", output.name, output.got, want)
				}
			}
		})
	}
	o.wantRequests(t)
	if n := len(cp.Requests()); n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestCheckWarnsOfUnencryptedKeys(t *testing.T) {
	for address, want := range map[string]bool{
		"http://acme.example":           true,
		"http://192.0.2.1:8080":         true,
		"http://svc.acme.example":       true,
		"https://acme.example":          false,
		"http://localhost:3000":         false,
		"http://127.0.0.2:3000":         false,
		"http://tfy:3000":               false,
		"http://tfy.truefoundry.svc":    false,
		"http://tfy.ns.svc.cluster.net": false,
		"http://TFY.NS.SVC.":            false,
		"http://acme.localhost":         false,
		"http://[::1]:3000":             false,
		"http://[::ffff:127.0.0.1]":     false,
		"http://[2001:db8::1]:3000":     true,
		"http://acme.svc-example.com":   true,
	} {
		e := newExporter(t)
		problems, warnings := connect.Check(t.Context(), &e.configure(target("a", address, withKey))[0])
		if got := len(warnings) == 1 && strings.Contains(warnings[0], "sent unencrypted"); got != want || len(problems) > 0 {
			t.Errorf("%s has the warnings %q and the problems %q", address, warnings, problems)
		}
	}
}

func TestCheckFindsInvalidKeyFiles(t *testing.T) {
	for _, tt := range invalidKeyFiles {
		t.Run(tt.name, func(t *testing.T) {
			e := newExporter(t)
			tt.make(t, e.path("other"))
			list := e.configure(target("a", "http://a.example", "authorization: {credentials_file: other}"))
			problems, _ := connect.Check(t.Context(), &list[0])
			if len(problems) != 1 {
				t.Fatalf("problems %q, want one", problems)
			}
			metricstest.Present(t, problems[0], tt.want)
			metricstest.Absent(t, problems[0], "s3cret")
		})
	}
}

// Reading a pipe or a device could block for ever.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	cp := startControlPlane(t)
	for name, tt := range map[string]struct {
		make func(path string) error
		want string
	}{
		"a pipe":      {func(path string) error { return syscall.Mkfifo(path, 0o600) }, "is not a regular file"},
		"a device":    {func(path string) error { return os.Symlink("/dev/zero", path) }, "is not a regular file"},
		"a directory": {func(path string) error { return os.Mkdir(path, 0o700) }, "is a directory"},
		// On systems without this file, it is missing.
		"unreadable":  {func(path string) error { return os.Symlink("/proc/self/mem", path) }, "/odd"},
		"a huge file": {func(path string) error { return os.WriteFile(path, make([]byte, 1<<20), 0o600) }, "file too large"},
	} {
		for use, fields := range map[string]string{
			"the key":  "authorization: {credentials_file: odd}",
			"a CA":     "authorization: {credentials: abc}\n  tls_config: {ca_file: odd}",
			"a header": "authorization: {credentials: abc}\n  http_headers: {X-A: {files: [odd]}}",
			"a secret": "oauth2: {client_id: a, token_url: 'http://a.example', client_secret_file: odd}",
		} {
			if name == "a huge file" && (use == "a CA" || use == "a header") {
				continue
			}
			t.Run(name+" for "+use, func(t *testing.T) {
				e := newExporter(t)
				if err := tt.make(e.path("odd")); err != nil {
					t.Fatal(err)
				}
				list := e.configure(target("a", cp.URL, fields))
				if problems, _ := connect.Check(t.Context(), &list[0]); len(problems) != 1 || !strings.Contains(problems[0], tt.want) {
					t.Errorf("Check: %q", problems)
				}
				e.use(target("a", cp.URL, fields))
				metricstest.Present(t, e.exposition(), `reason="credentials",target="a"} 1`)
				metricstest.Present(t, e.log.String(), tt.want)
			})
		}
	}
}
