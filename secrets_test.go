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

// canary returns a secret, which is different for each name. Its middle contains
// characters that are escaped in some formats. Both halves are longer than minLeak.
func canary(name string) string {
	sum := sha256.Sum256([]byte(name))
	text := hex.EncodeToString(sum[:])
	return text[:20] + `&"\/+` + text[20:40]
}

// minLeak is the length of the shortest part of a secret that counts as exposed, in
// bytes.
const minLeak = 8

// canaries maps each part of length minLeak of secrets and of their Base64 encodings
// to the name of the secret. Pages must not contain any of these. The log may quote
// parts of what a server sent, but no secret as a whole.
type canaries map[string]string

// add adds a secret. Its Base64 encoding depends on the position of the secret in the
// encoded text, modulo 3.
func (c canaries) add(name, secret string) {
	texts := []string{secret}
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat(" ", before) + secret))
		texts = append(texts, encoded[4:len(encoded)-2])
	}
	for _, text := range texts {
		for i := range len(text) - minLeak + 1 {
			c[text[i:i+minLeak]] = name
		}
	}
}

// wantNone fails the test if text contains a part of a secret.
func (c canaries) wantNone(t *testing.T, where, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s is empty", where)
	}
	shown := map[string]bool{}
	for i := range len(text) - minLeak + 1 {
		if name := c[text[i:i+minLeak]]; name != "" && !shown[name] {
			shown[name] = true
			t.Errorf("%s shows the %s: … %s …", where, name, text[max(0, i-200):min(len(text), i+100)])
		}
	}
}

// wantNoSecrets fails the test if text contains one of the secrets as a whole,
// verbatim or quoted by Go once or twice.
func wantNoSecrets(t *testing.T, where, text string, secrets ...string) {
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

// pages are the pages that are checked for secrets.
var pages = []struct{ name, path, accept string }{
	{"/metrics", "/metrics", "text/plain"},
	{"/metrics as OpenMetrics", "/metrics", "application/openmetrics-text; version=1.0.0"},
	{"the landing page", "/", "text/html"},
	{"a page that does not exist", "/nowhere", "*/*"},
}

// monitoredProcess is an exporter whose output is checked for secrets.
type monitoredProcess struct {
	*process
	canaries canaries
	echoed   []string      // secrets that servers send back; the log may contain parts of them
	logRead  chan struct{} // closed when the log has been read
}

// startMonitored starts an exporter with debug logging.
func startMonitored(t *testing.T, c canaries, env []string, args ...string) *monitoredProcess {
	t.Helper()
	w := &monitoredProcess{process: start(t, env, append(args, "--log.level=debug")...), canaries: c, logRead: make(chan struct{})}
	go func() {
		defer close(w.logRead)
		io.Copy(&w.log, w.stderr)
	}()
	// Every user of the machine can see the arguments.
	arguments, err := exec.CommandContext(t.Context(), "ps", "-ww", "-o", "args=", "-p", strconv.Itoa(w.Process.Pid)).Output()
	if err != nil || !bytes.Contains(arguments, []byte("--log.level=debug")) {
		t.Errorf("the arguments are %s: %v", arguments, err)
	}
	c.wantNone(t, "the process's arguments", string(arguments))
	return w
}

// checkPages checks all pages for secrets and returns the metrics.
func (w *monitoredProcess) checkPages(t *testing.T, client *http.Client, prepare func(*http.Request)) (metrics string) {
	t.Helper()
	for _, page := range pages {
		_, body := fetch(t, client, w.url+page.path, func(req *http.Request) {
			req.Header.Set("Accept", page.accept)
			prepare(req)
		})
		w.canaries.wantNone(t, page.name, body)
		if strings.Contains(body, serverText) {
			t.Errorf("%s contains text sent by a server: %s", page.name, body)
		}
		if metrics == "" {
			metrics = body
		}
	}
	return metrics
}

// stop ends the exporter with a signal. It checks the log for secrets and returns it.
func (w *monitoredProcess) stop(t *testing.T, signal os.Signal) string {
	t.Helper()
	if err := w.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	<-w.logRead
	if err := w.Wait(); (err != nil) != (signal != syscall.SIGTERM) {
		t.Errorf("it ended with %v", err)
	}
	if w.echoed != nil {
		wantNoSecrets(t, "the log", w.log.String(), w.echoed...)
	} else {
		w.canaries.wantNone(t, "the log", w.log.String())
	}
	return w.log.String()
}

// secretEcho provides servers that record which secrets they receive, and send them
// back.
type secretEcho struct {
	mu    sync.Mutex
	seen  map[string]bool // by name
	names []string
}

// secrets returns all secrets.
func (e *secretEcho) secrets() []string {
	secrets := make([]string, len(e.names))
	for i, name := range e.names {
		secrets[i] = canary(name)
	}
	return secrets
}

// record records and returns the secrets that a request contains.
func (e *secretEcho) record(r *http.Request) (secrets []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, basic, _ := r.BasicAuth()
	proxied := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	_, proxy, _ := proxied.BasicAuth()
	unescaped, _ := url.QueryUnescape(basic)
	values := []string{basic, unescaped, proxy, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), r.FormValue("client_secret")}
	values = append(values, r.Header["X-Secret"]...)
	for _, name := range e.names {
		if slices.Contains(values, canary(name)) {
			e.seen[name] = true
			secrets = append(secrets, canary(name))
		}
	}
	return secrets
}

// serverText is part of everything that a server sends.
const serverText = "sent-by-a-server"

// echo returns the secrets in many encodings, and all headers of the request.
func echo(r *http.Request, secrets []string) string {
	r = r.Clone(r.Context())
	r.Header.Del("Proxy-Authorization")
	var b strings.Builder
	b.WriteString(serverText + " ")
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

// echoResponses are the responses of control planes that send back what they receive:
// each is served below path, and reason is how the exporter classifies it.
var echoResponses = []struct {
	path, reason string
	write        func(w http.ResponseWriter, echoed string)
}{
	{"message", "unauthorized", func(w http.ResponseWriter, echoed string) {
		w.WriteHeader(http.StatusUnauthorized)
		json.NewEncoder(w).Encode(map[string]string{"message": echoed})
	}},
	{"page", "server_error", func(w http.ResponseWriter, echoed string) {
		http.Error(w, "<html>"+echoed, http.StatusInternalServerError)
	}},
	{"list", "bad_response", func(w http.ResponseWriter, echoed string) {
		w.Header().Set("Content-Type", echoed)
		fmt.Fprint(w, echoed)
	}},
	{"field", "bad_response", func(w http.ResponseWriter, echoed string) {
		fmt.Fprintf(w, `{"data": %q}`, echoed)
	}},
	{"encoding", "bad_response", func(w http.ResponseWriter, echoed string) {
		w.Header().Set("Content-Encoding", echoed)
		fmt.Fprint(w, echoed)
	}},
	{"redirect", "redirect", func(w http.ResponseWriter, echoed string) {
		w.Header().Set("Location", "https://"+url.UserPassword("key", echoed).String()+"@"+echoed[:20]+".example/?"+url.QueryEscape(echoed))
		w.WriteHeader(http.StatusFound)
	}},
	{"later", "rate_limited", func(w http.ResponseWriter, echoed string) {
		w.Header().Set("Retry-After", echoed)
		w.WriteHeader(http.StatusTooManyRequests)
	}},
	{"status", "connection", func(w http.ResponseWriter, echoed string) { writeRaw(w, echoed+"\r\n\r\n") }},
	{"header", "connection", func(w http.ResponseWriter, echoed string) { writeRaw(w, "HTTP/1.1 200 OK\r\n"+echoed+"\r\n\r\n") }},
	{"length", "connection", func(w http.ResponseWriter, echoed string) {
		writeRaw(w, "HTTP/1.1 200 OK\r\nContent-Length: "+echoed+"\r\n\r\n")
	}},
}

// writeRaw writes text to the connection, which need not be HTTP.
func writeRaw(w http.ResponseWriter, text string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	io.WriteString(conn, text)
}

// newHandler returns the handler of control planes that echo, and of one that works,
// below /works.
func (e *secretEcho) newHandler(t *testing.T) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	for _, a := range echoResponses {
		mux.HandleFunc("/"+a.path+"/", func(w http.ResponseWriter, r *http.Request) {
			if secrets := e.record(r); len(secrets) > 0 {
				a.write(w, echo(r, secrets))
			}
		})
	}
	works := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(3)...))
	mux.Handle("/works/", http.StripPrefix("/works", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if secrets := e.record(r); len(secrets) > 0 {
			r.Header.Set("Authorization", "Bearer "+controlplanetest.Key)
		}
		r.RequestURI = r.URL.RequestURI()
		works.ServeHTTP(w, r)
	})))
	mux.HandleFunc("POST /oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		if len(e.record(r)) > 0 {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]any{"access_token": canary("access token"), "token_type": "Bearer", "expires_in": 3600})
			return
		}
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
	})
	mux.HandleFunc("POST /oauth2/rejected", func(w http.ResponseWriter, r *http.Request) {
		secrets := e.record(r)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		json.NewEncoder(w).Encode(map[string]string{"error": echo(r, secrets), "error_description": echo(r, secrets)})
	})
	return mux
}

// Every way to configure a secret is combined with every response of a control plane.
// Control planes that accept the secret work, and no output contains it.
func TestSecretsOfConfigFileAreNotExposed(t *testing.T) {
	t.Parallel()
	names := []string{
		"API key", "API key of a file", "client's secret", "client's secret of a file",
		"client's rejected secret", "access token", "header", "header of a file", "proxy's password",
	}
	c, e := canaries{}, &secretEcho{seen: map[string]bool{}, names: names}
	for _, name := range names {
		c.add(name, canary(name))
	}
	handler := e.newHandler(t)
	plain, encrypted, closed := httptest.NewServer(handler), httptest.NewUnstartedServer(handler), httptest.NewServer(nil)
	encrypted.Config.ErrorLog = newErrorLog(log.NewNopLogger())
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

	file := writeFile(t, "targets.yml", "")
	for _, name := range names {
		replaceFile(t, filepath.Join(filepath.Dir(file), strings.ReplaceAll(name, " ", "-")), canary(name)+"\n")
	}
	replaceFile(t, filepath.Join(filepath.Dir(file), "private-key"), privateKey)
	replaceFile(t, filepath.Join(filepath.Dir(file), "certificate"), certificate)

	quote := strconv.Quote // YAML has the same syntax
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
		"rejected":           fmt.Sprintf(oauth2, plain.URL+"/oauth2/rejected", "", quote(canary("client's rejected secret"))),
		"http_headers":       opaque + "\n  http_headers: {X-Secret: {secrets: [" + quote(canary("header")) + "]}}",
		"http_headers_files": opaque + "\n  http_headers: {X-Secret: {files: [header-of-a-file]}}",
		"proxy_url":          opaque + "\n  proxy_url: " + quote(proxy),
		"tls_key": "authorization: {credentials: " + quote(canary("API key")) + "}\n  tls_config: {insecure_skip_verify: true, cert: " +
			quote(certificate) + ", key: " + quote(privateKey) + "}",
		"tls_key_file": "authorization: {credentials: " + quote(canary("API key")) + "}\n  tls_config: {insecure_skip_verify: true, cert_file: certificate, key_file: private-key}",
	}
	type place struct {
		url, reason string
		direct      bool // the reason would be different behind a proxy
	}
	places := map[string]place{
		"works":     {plain.URL + "/works", "", false},
		"refused":   {closed.URL, "connection", true},
		"TLS":       {encrypted.URL + "/works", "tls", true},
		"no TLS":    {strings.Replace(plain.URL, "http:", "https:", 1) + "/works", "tls", true},
		"needs TLS": {strings.Replace(encrypted.URL, "https:", "http:", 1) + "/works", "client_error", true},
	}
	for _, a := range echoResponses {
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
			case source == "rejected":
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
	replaceFile(t, file, config.String())

	formats := []string{formatLogfmt, formatJSON}
	if testing.Short() {
		formats = formats[:1] // each scrape waits for retries
	}
	for _, format := range formats {
		t.Run(format, func(t *testing.T) {
			clear(e.seen)
			w := startMonitored(t, c, nil, "--config.file="+file, "--log.format="+format, "--web.enable-lifecycle", "--truefoundry.max-concurrency=16", "--truefoundry.timeout=5m")
			w.echoed = e.secrets()
			metrics := strings.Split(metricstest.WithoutControlPlane(w.checkPages(t, http.DefaultClient, func(*http.Request) {})), "\n")
			for _, line := range want {
				if !slices.Contains(metrics, line) {
					t.Errorf("no line %s", line)
				}
			}
			if seen := slices.Sorted(maps.Keys(e.seen)); len(seen) != len(names) {
				t.Errorf("only these secrets were sent: %q", seen)
			}

			resp, err := http.Post(w.url+"/-/reload", "", nil) //nolint:noctx // the exporter ends with the test
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			response, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			c.wantNone(t, "the response to a reload", string(response))

			logged := w.stop(t, syscall.SIGTERM)
			if n := strings.Count(logged, "listing failed"); n < len(want)/2 {
				t.Errorf("got %d logged failures", n)
			}
		})
	}
	for _, args := range [][]string{{"--config.check"}, {"--config.check", "--log.level=debug"}, {"--help"}, {"--version"}} {
		output, err := command(t, nil, append(args, "--config.file="+file)...).CombinedOutput()
		if err != nil {
			t.Errorf("%q ended with %v: %s", args, err, output)
		}
		c.wantNone(t, strings.Join(args, " "), string(output))
	}
}

func TestSecretsOfFlagsAndEnvironmentAreNotExposed(t *testing.T) {
	t.Parallel()
	names := []string{"API key", "API key of a file", "proxy's password"}
	c := canaries{}
	for _, name := range names {
		c.add(name, canary(name))
	}
	proxyURL := func(address string) string {
		return "http://" + url.UserPassword("exporter", canary("proxy's password")).String() + "@" + address
	}
	file := writeFile(t, "key", canary("API key of a file")+"\n")
	for name, tt := range map[string]struct {
		env, args []string
		proxied   bool
		sent      string
	}{
		"key": {[]string{"TFY_API_KEY=" + canary("API key")}, nil, false, "API key"},
		"key file": {
			[]string{"TFY_API_KEY=" + canary("API key")},
			[]string{"--truefoundry.api-key-file=" + file},
			false, "API key of a file",
		},
		"proxy": {[]string{"TFY_API_KEY=opaque"}, nil, true, "proxy's password"},
	} {
		for path, up := range map[string]int{"works": 1, "message": 0, "status": 0} {
			t.Run(name+" "+path, func(t *testing.T) {
				if testing.Short() && path == "status" {
					t.Skip("waits for retries")
				}
				t.Parallel()
				e := &secretEcho{seen: map[string]bool{}, names: names}
				server := httptest.NewServer(e.newHandler(t))
				t.Cleanup(server.Close)
				env, target := tt.env, server.Listener.Addr().String()
				if tt.proxied {
					// net/http uses no proxy for loopback addresses.
					env, target = append(slices.Clone(env), "HTTP_PROXY="+proxyURL(target)), "control-plane.example"
				}
				w := startMonitored(t, c, env, append(slices.Clone(tt.args), "--truefoundry.url=http://"+target+"/"+path)...)
				w.echoed = e.secrets()
				metrics := w.checkPages(t, http.DefaultClient, func(*http.Request) {})
				wantLines(t, metrics, fmt.Sprintf("truefoundry_up{target=%q} %d", target, up))
				if !e.seen[tt.sent] {
					t.Errorf("the %s was not sent", tt.sent)
				}
				w.stop(t, syscall.SIGTERM)
			})
		}
	}
	wrong := []string{"TFY_API_KEY=opaque", "TFY_HOST=http://control-plane.example", "http_proxy=http://exporter:" + canary("proxy's password") + "@%zz"}
	for _, args := range [][]string{nil, {"--config.check"}} {
		output, err := command(t, wrong, args...).CombinedOutput()
		if err == nil || !strings.Contains(string(output), "http_proxy is not the URL of a proxy") {
			t.Errorf("a proxy with a wrong URL, %q: %v: %s", args, err, output)
		}
		c.wantNone(t, "the error of a proxy's URL", string(output))
	}
	env := []string{"TFY_API_KEY=" + canary("API key"), "TFY_HOST=http://control-plane.example", "HTTP_PROXY=" + proxyURL("127.0.0.1:1")}
	for _, flag := range []string{"--config.check", "--help", "--version"} {
		output, err := command(t, env, flag).CombinedOutput()
		if err != nil {
			t.Errorf("%s ended with %v: %s", flag, err, output)
		}
		c.wantNone(t, flag, string(output))
	}
}

func TestSecretsOfWebConfigAreNotExposed(t *testing.T) {
	t.Parallel()
	const password = "open sesame"
	issuer, key, certificate := selfSigned(t)
	c := canaries{}
	c.add("password", password)
	c.add("hash", passwordHash)
	c.add("wrong password", canary("wrong password"))
	c.add("private key", base64.StdEncoding.EncodeToString(key))
	plain := "basic_auth_users: {prometheus: " + passwordHash + "}\n"
	for scheme, good := range map[string]string{"http": plain, "https": plain + "tls_server_config: " + certificate} {
		t.Run(scheme, func(t *testing.T) {
			file := writeFile(t, "web.yml", good)
			w := startMonitored(t, c, nil, "--demo", "--web.config.file="+file)
			w.url = scheme + strings.TrimPrefix(w.url, "http")
			w.checkPages(t, issuer.Client(), func(req *http.Request) { req.SetBasicAuth("prometheus", password) })
			status, body := fetch(t, issuer.Client(), w.url+"/metrics", func(req *http.Request) { req.SetBasicAuth("prometheus", canary("wrong password")) })
			if c.wantNone(t, "a refusal", body); status != http.StatusUnauthorized {
				t.Errorf("the wrong password: %d", status)
			}
			w.stop(t, syscall.SIGTERM)
		})
	}
}

func TestMisplacedSecretsAreNotRepeatedInErrors(t *testing.T) {
	t.Parallel()
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
			t.Errorf("%q %q: got no error: %s", env, args, output)
		}
		c.wantNone(t, "the error", string(output))
	}

	good := configFile("acme", "http://127.0.0.1:1", "opaque")
	file := writeFile(t, "targets.yml", good)
	w := startMonitored(t, c, nil, "--config.file="+file, "--web.enable-lifecycle")
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
		replaceFile(t, file, bad)
		resp, err := http.Post(w.url+"/-/reload", "", nil) //nolint:noctx // the exporter ends with the test
		if err != nil {
			t.Fatal(err)
		}
		response, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusInternalServerError {
			t.Errorf("%s: %v", resp.Status, err)
		}
		c.wantNone(t, "the response to a reload", string(response))
		c.wantNone(t, "the landing page", get(t, w.url))
	}
	w.stop(t, syscall.SIGTERM)
	// The file still is the last of these.
	for _, args := range [][]string{nil, {"--config.check"}} {
		output, err := command(t, nil, append(args, "--config.file="+file)...).CombinedOutput()
		if err == nil {
			t.Errorf("got no error: %s", output)
		}
		c.wantNone(t, "the error", string(output))
	}
}

// The exporter is killed while it sends secrets.
func TestSecretsAreNotInStackTraces(t *testing.T) {
	t.Parallel()
	c := canaries{}
	c.add("API key", canary("API key"))
	c.add("header", canary("header"))
	requests := make(chan struct{}, 2)
	cp := controlplanetest.Start(t, controlplanetest.Always(), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			requests <- struct{}{}
			<-r.Context().Done()
		})
	})
	config := configFile("acme", cp.URL, strconv.Quote(canary("API key"))) +
		"- name: globex\n  url: " + cp.URL + "\n  authorization: {credentials: opaque}\n  http_headers: {X-Secret: {secrets: [" + strconv.Quote(canary("header")) + "]}}\n"
	file := writeFile(t, "targets.yml", config)
	for _, signal := range []os.Signal{syscall.SIGQUIT, syscall.SIGABRT} {
		t.Run(signal.String(), func(t *testing.T) {
			w := startMonitored(t, c, []string{"GOTRACEBACK=system"}, "--config.file="+file)
			scraped := make(chan struct{})
			go func() {
				defer close(scraped)
				if resp, err := http.Get(w.url + "/metrics"); err == nil { //nolint:noctx // it ends with the exporter
					resp.Body.Close()
				}
			}()
			<-requests
			<-requests
			stack := w.stop(t, signal)
			<-scraped
			for _, want := range []string{"goroutine ", "client.(*Client).get(", "runtime.main("} {
				if !strings.Contains(stack, want) {
					t.Errorf("the stack trace does not contain %s:\n%s", want, stack)
				}
			}
		})
	}
}

// The API lists no secrets. If it did, they would be ignored.
func TestSecretsInListsAreIgnored(t *testing.T) {
	t.Parallel()
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
	object := func(item map[string]any, name string) map[string]any { return item[name].(map[string]any) }
	jwt := func(item map[string]any) map[string]any { return item["jwts"].([]any)[0].(map[string]any) }
	for _, field := range []string{"token", "jwt", "secret", "value", "apiKey", "accessToken", "metadata", "subjectType", "subjectId"} {
		add("with "+field, func(item map[string]any) { item[field] = secret })
		add("with a JWT's "+field, func(item map[string]any) { jwt(item)[field] = secret })
		add("with a manifest's "+field, func(item map[string]any) { object(item, "manifest")[field] = secret })
		add("with a subject's other "+field, func(item map[string]any) {
			object(item, "createdBySubject")[field+"-"] = map[string]any{field: secret}
		})
	}
	// Values of the wrong type are logged by the names of their fields.
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
			w := startMonitored(t, c, []string{"TFY_API_KEY=" + controlplanetest.Key}, "--truefoundry.url="+cp.URL, "--log.format="+format)
			metrics := w.checkPages(t, http.DefaultClient, func(*http.Request) {})
			target := strings.TrimPrefix(cp.URL, "http://")
			wantLines(t, metrics,
				fmt.Sprintf(`truefoundry_listing_tokens{kind="personal-access-token",target=%q} %d`, target, len(items)-4),
				fmt.Sprintf(`truefoundry_listing_invalid_items{kind="personal-access-token",target=%q} 4`, target),
				fmt.Sprintf(`truefoundry_listing_invalid_fields{field="jwts.expiry",kind="personal-access-token",target=%q} 1`, target),
			)
			if logged := w.stop(t, syscall.SIGTERM); !strings.Contains(logged, "cannot be read") {
				t.Errorf("the log does not say what could not be read:\n%s", logged)
			}
		})
	}
}
