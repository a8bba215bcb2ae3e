package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/go-kit/log"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// canary returns the secret that is given in the place of that name. What is
// escaped somewhere stands in its middle: both of its halves are longer than the
// parts that are looked for.
func canary(name string) string {
	sum := sha256.Sum256([]byte(name))
	text := hex.EncodeToString(sum[:])
	return text[:20] + `&"\/+` + text[20:40]
}

// part is how much of a secret may not be shown, in bytes.
const part = 8

// canaries are secrets, by all of their parts and those of their Base64. Pages do
// not show any of these; the log quotes what servers say, and does not show the
// whole of a secret.
type canaries map[string]string

// add adds a secret. Whatever stands before it where it is encoded, one of the
// three ways to do that is the one of the three here.
func (c canaries) add(name, secret string) {
	texts := []string{secret}
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat(" ", before) + secret))
		texts = append(texts, encoded[4:len(encoded)-2])
	}
	for _, text := range texts {
		for i := range len(text) - part + 1 {
			c[text[i:i+part]] = name
		}
	}
}

// absent fails the test if the text shows one of the secrets.
func (c canaries) absent(t *testing.T, where, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s is empty", where)
	}
	shown := map[string]bool{}
	for i := range len(text) - part + 1 {
		if name := c[text[i:i+part]]; name != "" && !shown[name] {
			shown[name] = true
			t.Errorf("%s shows the %s: … %s …", where, name, text[max(0, i-200):min(len(text), i+100)])
		}
	}
}

// absentAsAWhole fails the test if the text shows one of the secrets, as it was sent
// or as Go quotes it, once or twice.
func absentAsAWhole(t *testing.T, where, text string, secrets ...string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s is empty", where)
	}
	for _, secret := range secrets {
		quoted := strings.Trim(strconv.Quote(secret), `"`)
		for _, form := range []string{secret, quoted, strings.Trim(strconv.Quote(quoted), `"`)} {
			if at := strings.Index(text, form); at >= 0 {
				t.Errorf("%s shows a secret: … %s …", where, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
}

// pages are asked for with the headers of those who ask.
var pages = []struct{ name, path, accept string }{
	{"/metrics", "/metrics", "text/plain"},
	{"/metrics as OpenMetrics", "/metrics", "application/openmetrics-text; version=1.0.0"},
	{"the landing page", "/", "text/html"},
	{"a page that is not there", "/nowhere", "*/*"},
}

// witness is an exporter all of whose output is looked at.
type witness struct {
	*process
	canaries canaries
	quoted   []string // secrets that servers repeat, so that the log may show parts of them
	read     chan struct{}
}

// watch starts an exporter that says as much as it can.
func watch(t *testing.T, c canaries, env []string, args ...string) *witness {
	t.Helper()
	w := &witness{process: start(t, env, append(args, "--log.level=debug")...), canaries: c, read: make(chan struct{})}
	go func() {
		defer close(w.read)
		io.Copy(&w.log, w.stderr)
	}()
	// What everybody on the machine can see of it.
	arguments, err := exec.CommandContext(t.Context(), "ps", "-ww", "-o", "args=", "-p", strconv.Itoa(w.Process.Pid)).Output()
	if err != nil || !bytes.Contains(arguments, []byte("--log.level=debug")) {
		t.Errorf("the arguments are %s: %v", arguments, err)
	}
	c.absent(t, "the process's arguments", string(arguments))
	return w
}

// look looks at all pages and returns the metrics.
func (w *witness) look(t *testing.T, client *http.Client, prepare func(*http.Request)) (metrics string) {
	t.Helper()
	for _, page := range pages {
		_, body := ask(t, client, w.url+page.path, func(req *http.Request) {
			req.Header.Set("Accept", page.accept)
			prepare(req)
		})
		w.canaries.absent(t, page.name, body)
		if strings.Contains(body, sentByAServer) {
			t.Errorf("%s shows what a server said: %s", page.name, body)
		}
		if metrics == "" {
			metrics = body
		}
	}
	return metrics
}

// end ends the exporter by a signal and looks at its log, which it returns.
func (w *witness) end(t *testing.T, signal os.Signal) string {
	t.Helper()
	if err := w.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	<-w.read
	if err := w.Wait(); (err != nil) != (signal != syscall.SIGTERM) {
		t.Errorf("it ended with %v", err)
	}
	if w.quoted != nil {
		absentAsAWhole(t, "the log", w.log.String(), w.quoted...)
	} else {
		w.canaries.absent(t, "the log", w.log.String())
	}
	return w.log.String()
}

// eavesdropper remembers which secrets came to it, and repeats them.
type eavesdropper struct {
	mu    sync.Mutex
	heard map[string]bool
	names []string
}

// all returns all secrets.
func (e *eavesdropper) all() []string {
	secrets := make([]string, len(e.names))
	for i, name := range e.names {
		secrets[i] = canary(name)
	}
	return secrets
}

// hear returns which secrets the request has in it, in the forms in which they
// may be sent.
func (e *eavesdropper) hear(r *http.Request) (secrets []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, basic, _ := r.BasicAuth()
	proxied := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	_, proxy, _ := proxied.BasicAuth()
	unescaped, _ := url.QueryUnescape(basic)
	said := []string{basic, unescaped, proxy, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.FormValue("client_secret")}
	said = append(said, r.Header["X-Secret"]...)
	for _, name := range e.names {
		if slices.Contains(said, canary(name)) {
			e.heard[name] = true
			secrets = append(secrets, canary(name))
		}
	}
	return secrets
}

// sentByAServer stands in everything that a server says.
const sentByAServer = "said-by-a-server"

// repeat returns the secrets in many forms, and all headers of the request.
func repeat(r *http.Request, secrets []string) string {
	r = r.Clone(r.Context())
	r.Header.Del("Proxy-Authorization")
	var b strings.Builder
	b.WriteString(sentByAServer + " ")
	for _, secret := range secrets {
		if secret == canary("proxy's password") {
			continue // a proxy is trusted not to repeat it
		}
		quoted, _ := json.Marshal(secret)
		fmt.Fprintf(&b, "%s %s… …%s %s %s %s %s ", secret, secret[:12], secret[len(secret)-12:], url.QueryEscape(secret), url.PathEscape(secret), quoted,
			base64.StdEncoding.EncodeToString([]byte(secret)))
	}
	fmt.Fprint(&b, r.Header)
	return b.String()
}

// answers are those of control planes that repeat what they are sent, by the
// path below which each is found, with the reason that the exporter gives.
var answers = []struct {
	path, reason string
	answer       func(w http.ResponseWriter, repeated string)
}{
	{"message", "unauthorized", func(w http.ResponseWriter, repeated string) {
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]string{"message": repeated})
	}},
	{"page", "server_error", func(w http.ResponseWriter, repeated string) {
		http.Error(w, "<html>"+repeated, http.StatusInternalServerError)
	}},
	{"list", "bad_response", func(w http.ResponseWriter, repeated string) {
		w.Header().Set("Content-Type", repeated)
		fmt.Fprint(w, repeated)
	}},
	{"field", "bad_response", func(w http.ResponseWriter, repeated string) {
		fmt.Fprintf(w, `{"data": %q}`, repeated)
	}},
	{"encoding", "bad_response", func(w http.ResponseWriter, repeated string) {
		w.Header().Set("Content-Encoding", repeated)
		fmt.Fprint(w, repeated)
	}},
	{"redirect", "redirect", func(w http.ResponseWriter, repeated string) {
		w.Header().Set("Location", "https://"+url.UserPassword("key", repeated).String()+"@"+repeated[:20]+".example/?"+url.QueryEscape(repeated))
		w.WriteHeader(http.StatusFound)
	}},
	{"later", "rate_limited", func(w http.ResponseWriter, repeated string) {
		w.Header().Set("Retry-After", repeated)
		w.WriteHeader(http.StatusTooManyRequests)
	}},
	{"status", "connection", func(w http.ResponseWriter, repeated string) { speak(w, repeated+"\r\n\r\n") }},
	{"header", "connection", func(w http.ResponseWriter, repeated string) { speak(w, "HTTP/1.1 200 OK\r\n"+repeated+"\r\n\r\n") }},
	{"length", "connection", func(w http.ResponseWriter, repeated string) {
		speak(w, "HTTP/1.1 200 OK\r\nContent-Length: "+repeated+"\r\n\r\n")
	}},
}

// speak answers with something that may be no HTTP.
func speak(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	io.WriteString(conn, text)
}

// repeaters returns the handler of the control planes that repeat, and of one
// that works, below /works.
func (e *eavesdropper) repeaters(t *testing.T) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	for _, a := range answers {
		mux.HandleFunc("/"+a.path+"/", func(w http.ResponseWriter, r *http.Request) {
			if secrets := e.hear(r); len(secrets) > 0 {
				a.answer(w, repeat(r, secrets))
			}
		})
	}
	works := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(3)...))
	mux.Handle("/works/", http.StripPrefix("/works", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if secrets := e.hear(r); len(secrets) > 0 {
			r.Header.Set("Authorization", "Bearer "+controlplanetest.Key)
		}
		r.RequestURI = r.URL.RequestURI()
		works.ServeHTTP(w, r)
	})))
	mux.HandleFunc("POST /oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		if len(e.hear(r)) > 0 {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]any{"access_token": canary("access token"), "token_type": "Bearer", "expires_in": 3600})
			return
		}
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
	})
	mux.HandleFunc("POST /oauth2/refused", func(w http.ResponseWriter, r *http.Request) {
		secrets := e.hear(r)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"error": repeat(r, secrets), "error_description": repeat(r, secrets)})
	})
	return mux
}

// Every way to give a secret for a control plane, and everything that a control
// plane can do with it: it works with those who take it, and is shown by nobody.
func TestSecretsOfAFileAreShownNowhere(t *testing.T) {
	names := []string{
		"API key", "API key of a file", "client's secret", "client's secret of a file",
		"client's secret that is refused", "access token", "header", "header of a file", "proxy's password",
	}
	c, e := canaries{}, &eavesdropper{heard: map[string]bool{}, names: names}
	for _, name := range names {
		c.add(name, canary(name))
	}
	handler := e.repeaters(t)
	plain, encrypted, closed := httptest.NewServer(handler), httptest.NewUnstartedServer(handler), httptest.NewServer(nil)
	logErrors(encrypted.Config, log.NewNopLogger())
	encrypted.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(encrypted.Close)
	closed.Close()
	key, err := x509.MarshalPKCS8PrivateKey(encrypted.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	c.add("private key", base64.StdEncoding.EncodeToString(key))
	privateKey := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	certificate := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: encrypted.Certificate().Raw}))

	file := write(t, "targets.yml", "")
	for _, name := range names {
		rewrite(t, filepath.Join(filepath.Dir(file), strings.ReplaceAll(name, " ", "-")), canary(name)+"\n")
	}
	rewrite(t, filepath.Join(filepath.Dir(file), "private-key"), privateKey)
	rewrite(t, filepath.Join(filepath.Dir(file), "certificate"), certificate)

	quote := strconv.Quote // as YAML has it, too
	proxy := "http://" + url.UserPassword("exporter", canary("proxy's password")).String() + "@" + plain.Listener.Addr().String()
	const (
		opaque = "authorization: {credentials: opaque}"
		oauth2 = "oauth2: {client_id: exporter, token_url: %q, client_secret%s: %s}"
	)
	sources := map[string]string{
		"credentials":        "authorization: {credentials: " + quote(canary("API key")) + "}",
		"credentials_file":   "authorization: {credentials_file: API-key-of-a-file}",
		"bearer_token":       "bearer_token: " + quote(canary("API key")),
		"bearer_token_file":  "bearer_token_file: API-key-of-a-file",
		"client_secret":      fmt.Sprintf(oauth2, plain.URL+"/oauth2/token", "", quote(canary("client's secret"))),
		"client_secret_file": fmt.Sprintf(oauth2, plain.URL+"/oauth2/token", "_file", "client's-secret-of-a-file"),
		"refused":            fmt.Sprintf(oauth2, plain.URL+"/oauth2/refused", "", quote(canary("client's secret that is refused"))),
		"http_headers":       opaque + "\n  http_headers: {X-Secret: {secrets: [" + quote(canary("header")) + "]}}",
		"http_headers_files": opaque + "\n  http_headers: {X-Secret: {files: [header-of-a-file]}}",
		"proxy_url":          opaque + "\n  proxy_url: " + quote(proxy),
		"tls_key": "authorization: {credentials: " + quote(canary("API key")) + "}\n  tls_config: {insecure_skip_verify: true, cert: " +
			quote(certificate) + ", key: " + quote(privateKey) + "}",
		"tls_key_file": "authorization: {credentials: " + quote(canary("API key")) + "}\n  tls_config: {insecure_skip_verify: true, cert_file: certificate, key_file: private-key}",
	}
	type place struct {
		url, reason string
		// direct: the reason is another one behind a proxy.
		direct bool
	}
	places := map[string]place{
		"works":     {plain.URL + "/works", "", false},
		"refused":   {closed.URL, "connection", true},
		"TLS":       {encrypted.URL + "/works", "tls", true},
		"no TLS":    {strings.Replace(plain.URL, "http:", "https:", 1) + "/works", "tls", true},
		"needs TLS": {strings.Replace(encrypted.URL, "https:", "http:", 1) + "/works", "client_error", true},
	}
	for _, a := range answers {
		places[a.path] = place{plain.URL + "/" + a.path, a.reason, false}
	}
	var (
		config strings.Builder
		want   []string
	)
	config.WriteString("targets:\n")
	for source, fields := range sources {
		for at, p := range places {
			target := source + " " + at
			fmt.Fprintf(&config, "- name: %q\n  url: %q\n  %s\n", target, p.url, fields)
			switch {
			case source == "proxy_url" && p.direct:
				continue
			case source == "refused":
				p.reason = "connection"
			case strings.HasPrefix(source, "tls_key") && at == "TLS":
				p.reason = ""
			}
			if p.reason == "" {
				want = append(want, fmt.Sprintf(`truefoundry_up{target=%q} 1`, target))
			} else {
				want = append(want, fmt.Sprintf(`truefoundry_listing_errors_total{kind="personal-access-token",reason=%q,target=%q} 1`, p.reason, target))
			}
		}
	}
	rewrite(t, file, config.String())

	for _, format := range []string{formatLogfmt, formatJSON} {
		t.Run(format, func(t *testing.T) {
			clear(e.heard)
			w := watch(t, c, nil, "--config.file="+file, "--log.format="+format, "--web.enable-lifecycle", "--truefoundry.max-concurrency=16", "--truefoundry.timeout=5m")
			w.quoted = e.all()
			metrics := strings.Split(metricstest.WithoutControlPlane(w.look(t, http.DefaultClient, func(*http.Request) {})), "\n")
			for _, line := range want {
				if !slices.Contains(metrics, line) {
					t.Errorf("no line %s", line)
				}
			}
			if heard := slices.Sorted(maps.Keys(e.heard)); len(heard) != len(names) {
				t.Errorf("only these were sent: %q", heard)
			}

			resp, err := http.Post(w.url+"/-/reload", "", nil) //nolint:noctx // the exporter ends with the test
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			answer, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			c.absent(t, "the answer to a reload", string(answer))

			log := w.end(t, syscall.SIGTERM)
			if n := strings.Count(log, "listing failed"); n < len(want)/2 {
				t.Errorf("%d failures are logged", n)
			}
		})
	}
	for _, args := range [][]string{{"--config.check"}, {"--config.check", "--log.level=debug"}, {"--help"}, {"--version"}} {
		output, err := command(t, nil, append(args, "--config.file="+file)...).CombinedOutput()
		if err != nil {
			t.Errorf("%q ended with %v: %s", args, err, output)
		}
		c.absent(t, strings.Join(args, " "), string(output))
	}
}

// The same, of the one target that flags and the environment describe.
func TestSecretsOfFlagsAndTheEnvironmentAreShownNowhere(t *testing.T) {
	names := []string{"API key", "API key of a file", "proxy's password"}
	c, e := canaries{}, &eavesdropper{heard: map[string]bool{}, names: names}
	for _, name := range names {
		c.add(name, canary(name))
	}
	server := httptest.NewServer(e.repeaters(t))
	t.Cleanup(server.Close)
	file := write(t, "key", canary("API key of a file")+"\n")
	proxy := "http://" + url.UserPassword("exporter", canary("proxy's password")).String() + "@" + server.Listener.Addr().String()
	for name, tt := range map[string]struct {
		env, args []string
		url, sent string
	}{
		"key": {[]string{"TFY_API_KEY=" + canary("API key")}, nil, server.URL, "API key"},
		"key file": {
			[]string{"TFY_API_KEY=" + canary("API key")},
			[]string{"--truefoundry.api-key-file=" + file},
			server.URL, "API key of a file",
		},
		// No proxy is asked for what is on loopback.
		"proxy": {[]string{"TFY_API_KEY=opaque", "HTTP_PROXY=" + proxy}, nil, "http://control-plane.example", "proxy's password"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"works", "message", "status"} {
				clear(e.heard)
				w := watch(t, c, tt.env, append(slices.Clone(tt.args), "--truefoundry.url="+tt.url+"/"+path)...)
				w.quoted = e.all()
				metrics := w.look(t, http.DefaultClient, func(*http.Request) {})
				up := 0
				if path == "works" {
					up = 1
				}
				wantLines(t, metrics, fmt.Sprintf("truefoundry_up{target=%q} %d", strings.TrimPrefix(tt.url, "http://"), up))
				if !e.heard[tt.sent] {
					t.Errorf("%s: the %s was not sent", path, tt.sent)
				}
				w.end(t, syscall.SIGTERM)
			}
		})
	}
	wrong := []string{"TFY_API_KEY=opaque", "TFY_HOST=http://control-plane.example", "http_proxy=http://exporter:" + canary("proxy's password") + "@%zz"}
	for _, args := range [][]string{nil, {"--config.check"}} {
		output, err := command(t, wrong, args...).CombinedOutput()
		if err == nil || !strings.Contains(string(output), "http_proxy is not the URL of a proxy") {
			t.Errorf("a proxy with a wrong URL, %q: %v: %s", args, err, output)
		}
		c.absent(t, "the error of a proxy's URL", string(output))
	}
	env := []string{"TFY_API_KEY=" + canary("API key"), "TFY_HOST=" + server.URL, "HTTP_PROXY=" + proxy}
	for _, flag := range []string{"--config.check", "--help", "--version"} {
		output, err := command(t, env, flag).CombinedOutput()
		if err != nil {
			t.Errorf("%s ended with %v: %s", flag, err, output)
		}
		c.absent(t, flag, string(output))
	}
}

// Those who may scrape have a password, and the exporter has its hash and a
// private key.
func TestSecretsOfTheListenerAreShownNowhere(t *testing.T) {
	const password = "open sesame"
	issuer, key, certificate := selfSigned(t)
	c := canaries{}
	c.add("password", password)
	c.add("hash", hashOfPassword)
	c.add("wrong password", canary("wrong password"))
	c.add("private key", base64.StdEncoding.EncodeToString(key))
	plain := "basic_auth_users: {prometheus: " + hashOfPassword + "}\n"
	for scheme, good := range map[string]string{"http": plain, "https": plain + "tls_server_config: " + certificate} {
		t.Run(scheme, func(t *testing.T) {
			file := write(t, "web.yml", good)
			w := watch(t, c, nil, "--demo", "--web.config.file="+file)
			w.url = scheme + strings.TrimPrefix(w.url, "http")
			w.look(t, issuer.Client(), func(req *http.Request) { req.SetBasicAuth("prometheus", password) })
			status, body := ask(t, issuer.Client(), w.url+"/metrics", func(req *http.Request) { req.SetBasicAuth("prometheus", canary("wrong password")) })
			if c.absent(t, "a refusal", body); status != http.StatusUnauthorized {
				t.Errorf("the wrong password: %d", status)
			}
			w.end(t, syscall.SIGTERM)
		})
	}
}

// A secret in the wrong place is an error, which does not repeat it.
func TestSecretsInTheWrongPlaceAreNotRepeated(t *testing.T) {
	c := canaries{}
	c.add("API key", canary("API key"))
	key := strconv.Quote(canary("API key"))
	opaque := "tfy_" + canary("API key")[:20]
	for _, args := range [][]string{
		{canary("API key")},
		{"--truefoundry.api-key=" + canary("API key")},
		{"--truefoundry.api-key-file=" + opaque},
		{"--truefoundry.url=https://me:" + canary("API key") + "@a.example"},
		{"--truefoundry.url=https://me:" + opaque + "@a.example"},
		{"--truefoundry.url=" + canary("API key")},
		{"TFY_API_KEY=" + canary("API key") + " x"},
		{"TFY_API_KEY=Bearer " + canary("API key")},
		{"TFY_HOST=" + canary("API key")},
	} {
		env := []string{"TFY_API_KEY=opaque", "TFY_HOST=http://127.0.0.1:1"}
		if strings.HasPrefix(args[0], "TFY_") {
			env, args = append(env, args...), nil
		}
		output, err := command(t, env, args...).CombinedOutput()
		if err == nil {
			t.Errorf("%q %q is no error: %s", env, args, output)
		}
		c.absent(t, "the error", string(output))
	}

	good := configOf("acme", "http://127.0.0.1:1", "opaque")
	file := write(t, "targets.yml", good)
	w := watch(t, c, nil, "--config.file="+file, "--web.enable-lifecycle")
	for _, bad := range []string{
		key,
		key + ": x",
		"targets: " + key,
		"targets: [" + key + "]",
		good + "  api_key: " + key,
		good + "  " + key + ": x",
		good + "  url: " + key,
		good + "  basic_auth: {username: ada, password: " + key + "}",
		good + "  proxy_url: http://ada:" + canary("API key") + "@a.example",
		"targets: [{name: acme, url: " + key + "}]",
		"targets: [{name: acme, url: 'http://ada:" + canary("API key") + "@a.example'}]",
		"targets: [{name: acme, url: 'http://ada:" + opaque + "@a.example'}]",
		"targets: [{name: acme, url: 'http://a.example', authorization: " + key + "}]",
		"targets: [{name: acme, url: 'http://a.example', authorization: {type: " + key + ", credentials: x}}]",
		"targets: [{name: acme, url: 'http://a.example', authorization: {credentials_file: " + opaque + "}}]",
		"targets: [{name: acme, url: 'http://a.example', authorization: {credentials: [" + key + "]}}]",
		"targets: [{name: acme, url: 'http://a.example', kinds: [" + key + "], authorization: {credentials: x}}]",
		"targets: '" + canary("API key"),
		"targets: *" + canary("API key")[:20],
	} {
		rewrite(t, file, bad)
		resp, err := http.Post(w.url+"/-/reload", "", nil) //nolint:noctx // the exporter ends with the test
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusInternalServerError {
			t.Errorf("%s: %v", resp.Status, err)
		}
		c.absent(t, "the answer to a reload", string(answer))
		c.absent(t, "the landing page", get(t, w.url))
	}
	w.end(t, syscall.SIGTERM)
	// The last of these.
	for _, args := range [][]string{nil, {"--config.check"}} {
		output, err := command(t, nil, append(args, "--config.file="+file)...).CombinedOutput()
		if err == nil {
			t.Errorf("it is no error: %s", output)
		}
		c.absent(t, "the error", string(output))
	}
}

// The stack of an exporter that is killed while it scrapes, with secrets in use.
func TestSecretsAreNotInTheStackOfACrash(t *testing.T) {
	c := canaries{}
	c.add("API key", canary("API key"))
	c.add("header", canary("header"))
	asked := make(chan struct{}, 2)
	cp := controlplanetest.Start(t, controlplanetest.Always(), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-r.Context().Done()
		})
	})
	config := configOf("acme", cp.URL, strconv.Quote(canary("API key"))) +
		"- name: globex\n  url: " + cp.URL + "\n  authorization: {credentials: opaque}\n  http_headers: {X-Secret: {secrets: [" + strconv.Quote(canary("header")) + "]}}\n"
	file := write(t, "targets.yml", config)
	for _, signal := range []os.Signal{syscall.SIGQUIT, syscall.SIGABRT} {
		t.Run(signal.String(), func(t *testing.T) {
			w := watch(t, c, []string{"GOTRACEBACK=system"}, "--config.file="+file)
			scraped := make(chan struct{})
			go func() {
				defer close(scraped)
				if resp, err := http.Get(w.url + "/metrics"); err == nil { //nolint:noctx // it ends with the exporter
					resp.Body.Close()
				}
			}()
			<-asked
			<-asked
			stack := w.end(t, signal)
			<-scraped
			for _, want := range []string{"goroutine ", "client.(*Client).get(", "runtime.main("} {
				if !strings.Contains(stack, want) {
					t.Errorf("the stack has no %s:\n%s", want, stack)
				}
			}
		})
	}
}

// The API lists no secrets. One that did would have them ignored.
func TestSecretsThatAControlPlaneListsAreNotKept(t *testing.T) {
	secret := canary("listed token")
	c := canaries{}
	c.add("listed token", secret)
	item := func(change func(item map[string]any)) any {
		raw, err := json.Marshal(controlplanetest.Token(1))
		if err != nil {
			t.Fatal(err)
		}
		var item map[string]any
		if err := json.Unmarshal(raw, &item); err != nil {
			t.Fatal(err)
		}
		change(item)
		return item
	}
	var items []any
	add := func(id string, change func(item map[string]any)) {
		items = append(items, item(func(item map[string]any) {
			item["id"] = id
			change(item)
		}))
	}
	part := func(item map[string]any, name string) map[string]any { return item[name].(map[string]any) }
	jwt := func(item map[string]any) map[string]any { return item["jwts"].([]any)[0].(map[string]any) }
	for _, field := range []string{"token", "jwt", "secret", "value", "apiKey", "accessToken", "metadata", "subjectType", "subjectId"} {
		add("with "+field, func(item map[string]any) { item[field] = secret })
		add("with a JWT's "+field, func(item map[string]any) { jwt(item)[field] = secret })
		add("with a manifest's "+field, func(item map[string]any) { part(item, "manifest")[field] = secret })
		add("with a subject's other "+field, func(item map[string]any) {
			part(item, "createdBySubject")[field+"-"] = map[string]any{field: secret}
		})
	}
	// Where a time, a number or an object is expected, the error names the field.
	for _, field := range []string{"createdAt", "lastAccessedAt", "isExpired", "nextScheduledRotation", "manifest", "jwts", "createdBySubject"} {
		add("with text as "+field, func(item map[string]any) { item[field] = secret })
		add("with an object as "+field, func(item map[string]any) { item[field] = map[string]any{"token": secret} })
	}
	for _, field := range []string{"id", "expiry", "createdAt"} {
		add("with a JWT's wrong "+field, func(item map[string]any) { jwt(item)[field] = secret })
	}
	add("with a JWT's id", func(item map[string]any) { item["jwtId"], jwt(item)["id"] = secret, secret })
	add("with a name that is none", func(item map[string]any) { item["name"] = map[string]any{"token": secret} })
	items = append(items, secret, []any{secret}, map[string]any{"token": secret}, map[string]any{"id": map[string]any{"token": secret}})

	for _, format := range []string{formatLogfmt, formatJSON} {
		t.Run(format, func(t *testing.T) {
			cp := controlplanetest.Start(t, controlplanetest.Always(items...))
			w := watch(t, c, []string{"TFY_API_KEY=" + controlplanetest.Key}, "--truefoundry.url="+cp.URL, "--log.format="+format)
			metrics := w.look(t, http.DefaultClient, func(*http.Request) {})
			target := strings.TrimPrefix(cp.URL, "http://")
			wantLines(t, metrics,
				fmt.Sprintf(`truefoundry_listing_tokens{kind="personal-access-token",target=%q} %d`, target, len(items)-4),
				fmt.Sprintf(`truefoundry_listing_invalid_items{kind="personal-access-token",target=%q} 4`, target),
				fmt.Sprintf(`truefoundry_listing_invalid_fields{field="jwts.expiry",kind="personal-access-token",target=%q} 1`, target),
			)
			if log := w.end(t, syscall.SIGTERM); !strings.Contains(log, "cannot be read") {
				t.Errorf("the log says nothing of what could not be read:\n%s", log)
			}
		})
	}
}
