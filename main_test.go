package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/docstest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// envRunMain makes the test binary run main.
const envRunMain = "RUN_TRUEFOUNDRY_EXPORTER"

// envMaxFiles limits the number of files that the exporter may open.
const envMaxFiles = "TRUEFOUNDRY_EXPORTER_MAX_FILES"

func TestMain(m *testing.M) {
	if n, err := strconv.ParseUint(os.Getenv(envMaxFiles), 10, 64); err == nil {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			panic(err)
		}
	}
	if os.Getenv(envRunMain) != "" {
		main()
	}
	// The tests wait for processes most of the time.
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// process is an exporter that runs as a separate process.
type process struct {
	*exec.Cmd
	url    string
	stderr *bufio.Reader
	log    strings.Builder
}

func command(t *testing.T, env []string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(slices.Clip(env), envRunMain+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

var listening = regexp.MustCompile(`msg="Listening on" address=(\S+)|"address":"([^"]+)",.*"msg":"Listening on"`)

// start starts an exporter and waits until it listens.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: command(t, env, append(args, "--web.listen-address=127.0.0.1:0")...)}
	pipe, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill() })
	p.stderr = bufio.NewReader(pipe)
	for {
		line, err := p.stderr.ReadString('\n')
		p.log.WriteString(line)
		if err != nil {
			t.Fatalf("it does not listen: %v\n%s", err, p.log.String())
		}
		if found := listening.FindStringSubmatch(line); found != nil {
			p.url = "http://" + cmp.Or(found[1], found[2])
			return p
		}
	}
}

// stop ends the exporter with a signal and returns the log.
func (p *process) stop(t *testing.T, signal os.Signal) string {
	t.Helper()
	if err := p.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(p.stderr)
	if err != nil {
		t.Fatal(err)
	}
	p.log.Write(rest)
	if err := p.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, p.log.String())
	}
	return p.log.String()
}

// waitForLog reads the log until a line contains text, and returns that line.
func (p *process) waitForLog(t *testing.T, text string) string {
	t.Helper()
	for {
		line, err := p.stderr.ReadString('\n')
		p.log.WriteString(line)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, text) {
			return line
		}
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	_, body := fetch(t, http.DefaultClient, url, func(*http.Request) {})
	return body
}

func fetch(t *testing.T, client *http.Client, url string, prepare func(*http.Request)) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	prepare(req)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func TestDemo(t *testing.T) {
	t.Parallel()
	p := start(t, []string{"TFY_HOST=https://example.invalid", "TFY_API_KEY=left-alone"}, "--demo")
	metrics := metricstest.WithoutControlPlane(get(t, p.url+"/metrics"))
	for _, want := range []string{
		`truefoundry_up{target="demo-personal"} 1`,
		`truefoundry_listing_tokens{kind="personal-access-token",target="demo-personal"} 40`,
		`truefoundry_up{target="demo-services"} 1`,
		`truefoundry_listing_tokens{kind="virtual-account",target="demo-services"} 5`,
		`truefoundry_up{target="demo-broken"} 0`,
		`reason="unauthorized",target="demo-broken"} 1`,
		`token_name="say \"hi\"\n\\o/ 🚀"`,
		`tenant="demo-acme"`,
		`tenant="demo-globex"`,
		"go_info{",
		"process_start_time_seconds ",
		"truefoundry_exporter_build_info{",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
	if page := get(t, p.url); !strings.Contains(page, "This is a demonstration") {
		t.Errorf("the landing page has no notice:\n%s", page)
	}
	log := p.stop(t, syscall.SIGTERM)
	for _, want := range []string{"env=TFY_HOST", "env=TFY_API_KEY"} {
		if !strings.Contains(log, want) {
			t.Errorf("it does not log that it ignores %s:\n%s", want, log)
		}
	}
	if strings.Contains(log, "left-alone") || strings.Contains(metrics, "left-alone") {
		t.Error("the key is exposed")
	}
}

func TestTargetComesFromTheEnvironmentOrFromFlags(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(3)...))
	file := writeFile(t, "key", controlplanetest.Key+"\n")
	for _, tt := range []struct {
		name   string
		env    []string
		args   []string
		source string
	}{
		{"environment", []string{"TFY_HOST=" + cp.URL, "TFY_API_KEY=" + controlplanetest.Key}, nil, "api_key=TFY_API_KEY"},
		{"flags", nil, []string{"--truefoundry.url=" + cp.URL, "--truefoundry.api-key-file=" + file}, `api_key="file ` + file},
		{
			"flags before the environment",
			[]string{"TFY_HOST=http://127.0.0.1:1", "TFY_API_KEY=other"},
			[]string{"--truefoundry.url=" + cp.URL + "/", "--truefoundry.api-key-file=" + file},
			`api_key="file ` + file,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := start(t, tt.env, tt.args...)
			if metrics := get(t, p.url+"/metrics"); !strings.Contains(metrics, `"} 3`) {
				t.Errorf("got %s", metrics)
			}
			if log := p.stop(t, syscall.SIGTERM); !strings.Contains(log, tt.source) || strings.Contains(log, controlplanetest.Key) {
				t.Errorf("logged %s", log)
			}
		})
	}
}

func TestFlagsTakeEffect(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(3)...))
	p := start(t, []string{"TFY_API_KEY=" + controlplanetest.Key},
		"--truefoundry.url="+cp.URL+"/api", "--truefoundry.api-prefix=/svc", "--truefoundry.page-size=2",
		"--truefoundry.target=acme", "--truefoundry.creator-label=id", "--web.telemetry-path=/m", "--log.level=debug")
	metrics := get(t, p.url+"/m")
	wantLines(t, metrics, `truefoundry_up{control_plane="`+strings.TrimPrefix(cp.URL, "http://")+`/api",target="acme"} 1`)
	for _, want := range []string{`creator="user-1"`, `"} 3`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
	for _, request := range cp.Requests() {
		if !strings.Contains(request, "limit=2&") {
			t.Errorf("request %s", request)
		}
	}
}

// The golden file has all metrics but those that --web.disable-exporter-metrics omits.
func TestExportedMetricsMatchTheGoldenFile(t *testing.T) {
	t.Parallel()
	token := controlplanetest.Token(1)
	token.Manifest.AutoRotate = &fakecontrolplane.AutoRotate{Interval: 60, GracePeriod: 30}
	token.NextScheduledRotation = token.JWTs[0].Expiry
	token.JWTs = append(token.JWTs, fakecontrolplane.JWT{ID: "previous", Expiry: &controlplanetest.Issued})
	token.JWTs[0].Metadata = &fakecontrolplane.Metadata{SecretStoreSync: &fakecontrolplane.SecretStoreSync{UpdatedAt: controlplanetest.Issued}}
	cp := controlplanetest.Start(t, controlplanetest.Always(token))
	file := writeFile(t, "targets.yml", configFile("acme", cp.URL, controlplanetest.Key))
	scrape := func(args ...string) string {
		p := start(t, nil, append(args, "--config.file="+file)...)
		get(t, p.url+"/metrics") // promhttp_* counts from the second scrape on
		return get(t, p.url+"/metrics")
	}
	families := func(exposition string) (names []string) {
		for _, found := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(exposition, -1) {
			names = append(names, found[1])
		}
		slices.Sort(names)
		return names
	}
	exposition := scrape("--web.disable-exporter-metrics")
	without := families(exposition)
	const golden = "testdata/metrics.txt"
	docstest.Golden(t, golden, strings.Join(without, "\n")+"\n", *update)
	// The collector's golden file has every metric of the targets.
	for _, name := range families(readFile(t, "collector/testdata/everything.prom")) {
		if !slices.Contains(without, name) {
			t.Errorf("the token of this test has no %s, so that %s lacks it", name, golden)
		}
	}
	// The document has the help of the metrics that are not in its generated tables.
	document := readFile(t, "docs/metrics.md")
	for _, found := range regexp.MustCompile(`(?m)^# HELP (truefoundry_exporter_config_\S+) (.*)$`).FindAllStringSubmatch(exposition, -1) {
		if !strings.Contains(document, "| `"+found[1]+"` | gauge |  | "+found[2]+" |") {
			t.Errorf("docs/metrics.md says something else of %s than its help: %s", found[1], found[2])
		}
	}
	left := families(scrape())
	for _, name := range without {
		if !slices.Contains(left, name) {
			t.Errorf("%s is exported only with the flag", name)
		}
	}
	prefixes := map[string]bool{}
	for _, name := range left {
		if prefix, _, _ := strings.Cut(name, "_"); !slices.Contains(without, name) {
			prefixes[prefix] = true
		}
	}
	if got := slices.Sorted(maps.Keys(prefixes)); !slices.Equal(got, []string{"go", "process", "promhttp"}) {
		t.Errorf("the flag omits %q", got)
	}
}

// The control plane sends the first page only. When the timeout is reached, as many
// other requests as allowed are in flight.
func TestConcurrencyAndTimeoutOffsetTakeEffect(t *testing.T) {
	t.Parallel()
	const offset, timeout = 200 * time.Millisecond, time.Second
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(100)...), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.FormValue("offset") == "0" {
				next.ServeHTTP(w, r)
				return
			}
			faults.Hang()(next).ServeHTTP(w, r)
		})
	})
	p := start(t, []string{"TFY_API_KEY=" + controlplanetest.Key}, "--truefoundry.url="+cp.URL, "--truefoundry.page-size=10",
		"--truefoundry.max-concurrency=3", "--truefoundry.timeout-offset="+offset.String())
	begin := time.Now()
	_, metrics := fetch(t, http.DefaultClient, p.url+"/metrics", func(req *http.Request) {
		req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(timeout.Seconds(), 'f', -1, 64))
	})
	// With the default offset, the scrape would end after half of the timeout.
	if took := time.Since(begin); took < timeout-2*offset {
		t.Errorf("took %v of %v", took, timeout)
	}
	if !strings.Contains(metrics, `reason="timeout",target="`+strings.TrimPrefix(cp.URL, "http://")+`"} 1`) {
		t.Errorf("got %s", metrics)
	}
	if n := len(cp.Requests()); n != 1+3 {
		t.Errorf("%d requests, want the first and three more", n)
	}
}

func TestProxyOfTheEnvironmentIsUsed(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(3)...))
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host != "control-plane.example" {
			t.Errorf("the proxy got a request for %s", r.URL)
		}
		r.URL.Scheme, r.URL.Host = "", ""
		cp.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	p := start(t, []string{"TFY_API_KEY=" + controlplanetest.Key, "HTTP_PROXY=" + proxy.URL}, "--truefoundry.url=http://control-plane.example")
	wantLines(t, get(t, p.url+"/metrics"), `truefoundry_up{control_plane="control-plane.example",target="control-plane.example"} 1`)
}

func TestWebConfigEnablesTLSAndBasicAuth(t *testing.T) {
	t.Parallel()
	issuer := httptest.NewTLSServer(nil)
	defer issuer.Close()
	dir := t.TempDir()
	write := func(file, text string) string {
		t.Helper()
		file = filepath.Join(dir, file)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	key, err := x509.MarshalPKCS8PrivateKey(issuer.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write("cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw})))
	write("key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	config := write("web.yml", `
tls_server_config: {cert_file: cert.pem, key_file: key.pem}
basic_auth_users: {prometheus: `+passwordHash+`}
`)
	p := start(t, nil, "--demo", "--web.config.file="+config)
	url := strings.Replace(p.url, "http:", "https:", 1) + "/metrics"
	for password, want := range map[string]int{"open sesame": http.StatusOK, "wrong": http.StatusUnauthorized} {
		status, _ := fetch(t, issuer.Client(), url, func(req *http.Request) { req.SetBasicAuth("prometheus", password) })
		if status != want {
			t.Errorf("with %q: %d, want %d", password, status, want)
		}
	}
}

func TestUsageErrorIsOneLine(t *testing.T) {
	t.Parallel()
	const key = "TFY_API_KEY=secret-key"
	for _, tt := range []struct {
		name string
		env  []string
		args []string
		want string
	}{
		{"no control plane", []string{key}, nil, "--truefoundry.url or TFY_HOST"},
		{"no key", nil, []string{"--truefoundry.url=http://localhost"}, "--truefoundry.api-key-file or TFY_API_KEY"},
		{"blank key", []string{"TFY_API_KEY= "}, []string{"--truefoundry.url=http://localhost"}, "TFY_API_KEY"},
		{"key with a blank", []string{"TFY_API_KEY=secret key"}, []string{"--truefoundry.url=http://localhost"}, "blank"},
		{"relative URL", []string{key}, []string{"--truefoundry.url=localhost"}, "https://"},
		{"password in the URL", []string{key}, []string{"--truefoundry.url=https://me:secret-key@localhost"}, "must not contain a user or a password"},
		{"other scheme", []string{key, "TFY_HOST=ftp://localhost"}, nil, "https://"},
		{"unknown flag", []string{key}, []string{"--nonsense"}, "--help"},
		{"key as a flag", nil, []string{"--truefoundry.api-key=x"}, "--help"},
		{"stray argument", []string{key}, []string{"nonsense"}, "--help"},
		{"page too small", []string{key}, []string{"--truefoundry.page-size=0"}, "1 to 1000"},
		{"page too large", []string{key}, []string{"--truefoundry.page-size=1001"}, "1 to 1000"},
		{"no concurrency", []string{key}, []string{"--truefoundry.max-concurrency=0"}, "--truefoundry.max-concurrency"},
		{"fraction", []string{key}, []string{"--truefoundry.page-size=1.9"}, "--truefoundry.page-size: must be a whole number"},
		{"no number", []string{key}, []string{"--web.max-requests=many"}, "--web.max-requests: must be a whole number"},
		{"no duration", []string{key}, []string{"--truefoundry.timeout=5"}, "--truefoundry.timeout: "},
		{"no level", []string{key}, []string{"--log.level=loud"}, "--log.level: "},
		{"no address", []string{key}, []string{"--web.listen-address=nonsense"}, "--web.listen-address: "},
		{"a Unix socket", []string{key}, []string{"--web.listen-address=unix:/run/exporter.sock"}, "--web.listen-address: Unix sockets are not supported: listen on loopback, as in 127.0.0.1:10140"},
		{"prefix in the URL, with a slash", []string{key}, []string{"--truefoundry.url=http://localhost/api/svc", "--truefoundry.api-prefix=/api/svc/"}, "leave out /api/svc"},
		{"prefix in the URL", []string{key}, []string{"--truefoundry.url=http://localhost/api/svc"}, "leave out /api/svc"},
		{"URL of the environment", []string{key, "TFY_HOST=localhost"}, nil, "TFY_HOST: must be absolute"},
		{"too much time", []string{key}, []string{"--truefoundry.timeout=2540400h"}, "--truefoundry.timeout must be at most 24h"},
		{"no time", []string{key}, []string{"--truefoundry.timeout=0s"}, "--truefoundry.timeout"},
		{"negative offset", []string{key}, []string{"--truefoundry.timeout-offset=-1s"}, "--truefoundry.timeout-offset"},
		{"negative limit", []string{key}, []string{"--web.max-requests=-1"}, "--web.max-requests"},
		{"telemetry path", []string{key}, []string{"--truefoundry.url=http://localhost", "--web.telemetry-path=metrics"}, "--web.telemetry-path"},
		{"prefix with a query", []string{key}, []string{"--truefoundry.url=http://localhost", "--truefoundry.api-prefix=/api?x"}, "--truefoundry.api-prefix"},
		{"prefix that leads out", []string{key}, []string{"--truefoundry.url=http://localhost", "--truefoundry.api-prefix=/../x"}, "--truefoundry.api-prefix"},
		{"prefix that is not a path", []string{key}, []string{"--truefoundry.url=http://localhost", "--truefoundry.api-prefix=/api%zz"}, "--truefoundry.api-prefix"},
		{"no web configuration", []string{key}, []string{"--truefoundry.url=http://localhost", "--web.config.file=/does/not/exist"}, "--web.config.file"},
		{"demo with a target", nil, []string{"--demo", "--truefoundry.url=http://localhost"}, "--demo"},
		{"demo with a key file", nil, []string{"--demo", "--truefoundry.api-key-file=x"}, "--demo"},
		{"demo with a target's name", nil, []string{"--demo", "--truefoundry.target=acme"}, "leave out --truefoundry.target"},
		{"demo with a prefix", nil, []string{"--demo", "--truefoundry.api-prefix=/"}, "--demo"},
		{"demo with a file", nil, []string{"--demo", "--config.file=x"}, "--config.file and --demo"},
		{"file with a target's name", nil, []string{"--config.file=x", "--truefoundry.target=acme"}, "leave out --truefoundry.target"},
		{"target's name with a line break", []string{key}, []string{"--truefoundry.url=http://localhost", "--truefoundry.target=a\nb"}, "--truefoundry.target: must be"},
		{"target's name that is too long", []string{key}, []string{"--truefoundry.url=http://localhost", "--truefoundry.target=" + strings.Repeat("x", 101)}, "at most 100 bytes"},
		{"file with a URL", nil, []string{"--config.file=x", "--truefoundry.url=http://localhost"}, "leave out --truefoundry.url"},
		{"file with a key file", nil, []string{"--config.file=x", "--truefoundry.api-key-file=x"}, "leave out --truefoundry.api-key-file"},
		{"file with a prefix", nil, []string{"--config.file=x", "--truefoundry.api-prefix="}, "leave out --truefoundry.api-prefix"},
		{"file with a kind", nil, []string{"--config.file=x", "--truefoundry.kind=virtual-account"}, "leave out --truefoundry.kind"},
		{"file with a key's token", nil, []string{"--config.file=x", "--truefoundry.api-key-token=x"}, "leave out --truefoundry.api-key-token"},
		{"key instead of its file", nil, []string{"--truefoundry.url=http://localhost", "--truefoundry.api-key-file=tfy_secret-key"}, "--truefoundry.api-key-file: this looks like the key itself"},
		{"key with quotes", []string{`TFY_API_KEY="secret-key"`}, []string{"--truefoundry.url=http://localhost"}, "TFY_API_KEY: it has quotes around it"},
		{"check of the telemetry path", []string{key}, []string{"--truefoundry.url=http://localhost", "--config.check", "--web.telemetry-path=/-/ready"}, "--web.telemetry-path"},
		{"check of the demonstration", nil, []string{"--demo", "--config.check"}, "--config.check has nothing to check"},
		{"no such file", nil, []string{"--config.file=/does/not/exist"}, "/does/not/exist: no such file"},
		{"lifecycle without a file", nil, []string{"--demo", "--web.enable-lifecycle"}, "needs --config.file"},
		{"unknown kind", []string{key}, []string{"--truefoundry.url=http://localhost", "--truefoundry.kind=x"}, "--truefoundry.kind: each must be personal-access-token or virtual-account"},
		{"kind twice", []string{key}, []string{"--truefoundry.url=http://localhost", "--truefoundry.kind=virtual-account", "--truefoundry.kind=virtual-account"}, "--truefoundry.kind: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			cmd := command(t, tt.env, tt.args...)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("ended with %v", err)
			}
			line := stderr.String()
			if !strings.HasPrefix(line, programName+": error: ") || strings.Count(line, "\n") != 1 || !strings.Contains(line, tt.want) || stdout.Len() > 0 {
				t.Errorf("said %q and %q, want one line with %q", line, stdout.String(), tt.want)
			}
			if strings.Contains(line, "secret-key") {
				t.Errorf("the secret is exposed: %s", line)
			}
		})
	}
}

func TestPortInUseIsAnError(t *testing.T) {
	t.Parallel()
	first := start(t, nil, "--demo")
	var stderr strings.Builder
	second := command(t, nil, "--demo", "--web.listen-address="+strings.TrimPrefix(first.url, "http://"))
	second.Stderr = &stderr
	var exit *exec.ExitError
	if err := second.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(stderr.String(), "address already in use") {
		t.Errorf("ended with %v: %s", err, stderr.String())
	}
}

func TestKeyFileMayBeCreatedAfterTheStart(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.Start(t, controlplanetest.Always())
	file := filepath.Join(t.TempDir(), "key")
	p := start(t, nil, "--truefoundry.url="+cp.URL, "--truefoundry.api-key-file="+file)
	if metrics := get(t, p.url+"/metrics"); !strings.Contains(metrics, `reason="credentials",target="`+strings.TrimPrefix(cp.URL, "http://")+`"} 1`) {
		t.Errorf("got %s", metrics)
	}
	replaceFile(t, file, controlplanetest.Key)
	wantLines(t, get(t, p.url+"/metrics"), `truefoundry_up{target="`+strings.TrimPrefix(cp.URL, "http://")+`"} 1`)
}

// SIGTERM waits for scrapes in flight until the timeout. A second SIGTERM does not.
func TestSIGTERMWaitsForScrapesInFlight(t *testing.T) {
	t.Parallel()
	// begin sends SIGTERM to an exporter whose scrape hangs until finish is closed.
	begin := func(t *testing.T, timeout string) (p *process, finish chan struct{}, scraped chan string) {
		t.Helper()
		begun := make(chan struct{})
		finish, scraped = make(chan struct{}), make(chan string, 1)
		cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(3)...), faults.First(1, faults.Hold(begun, finish)))
		p = start(t, []string{"TFY_API_KEY=" + controlplanetest.Key}, "--truefoundry.url="+cp.URL, "--truefoundry.timeout="+timeout)
		go func() {
			defer close(scraped)
			resp, err := http.DefaultClient.Get(p.url + "/metrics") //nolint:noctx // it ends with the exporter
			if err != nil {
				return
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err == nil {
				scraped <- string(body)
			}
		}()
		<-begun
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		p.waitForLog(t, "shutting down")
		return p, finish, scraped
	}
	t.Run("finishes in time", func(t *testing.T) {
		p, finish, scraped := begin(t, "1m")
		close(finish)
		if got := <-scraped; !strings.Contains(got, `"} 3`) {
			t.Errorf("got %s", got)
		}
		if err := p.Wait(); err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Run("does not finish in time", func(t *testing.T) {
		p, _, scraped := begin(t, "2s")
		if got := <-scraped; !strings.Contains(got, `reason="timeout"`) {
			t.Errorf("got %s", got)
		}
		if err := p.Wait(); err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
	t.Run("is interrupted by a second signal", func(t *testing.T) {
		p, _, scraped := begin(t, "1m")
		if err := p.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := p.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGTERM {
			t.Errorf("it ended with %v", err)
		}
		if got := <-scraped; got != "" {
			t.Errorf("got %s", got)
		}
	})
}
