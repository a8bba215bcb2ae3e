package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// writeFile writes a file to a new directory and returns its path.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	replaceFile(t, path, text)
	return path
}

// replaceFile replaces a file atomically, as tools that write secrets do.
func replaceFile(t *testing.T, path, text string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// configFile returns a configuration file. Each target has a name, a URL and a key.
func configFile(targets ...string) string {
	var b strings.Builder
	b.WriteString("targets:\n")
	for ; len(targets) > 0; targets = targets[3:] {
		fmt.Fprintf(&b, "- name: %s\n  url: %s\n  authorization:\n    credentials: %s\n", targets[0], targets[1], targets[2])
	}
	return b.String()
}

// serveTokens serves the given numbers of tokens of both kinds to clients with the key.
func serveTokens(t *testing.T, key string, personal, virtual int, fault ...controlplanetest.Fault) *controlplanetest.ControlPlane {
	t.Helper()
	return controlplanetest.StartKinds(t, key, controlplanetest.Tokens(personal), controlplanetest.Tokens(virtual), fault...)
}

// wantLines fails the test unless text contains the lines, with or without labels
// control_plane.
func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	withoutLabels := metricstest.WithoutControlPlane(text)
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") && !strings.Contains("\n"+withoutLabels, "\n"+line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if t.Failed() {
		t.Logf("in\n%s", text)
	}
}

// A target that fails does not affect the others.
func TestTargetsOfConfigFileAreScraped(t *testing.T) {
	t.Parallel()
	acme := serveTokens(t, "key-of-acme", 2, 5)
	globex := serveTokens(t, "key-of-globex", 3, 7)
	hanging := serveTokens(t, "key-of-hanging", 1, 1, faults.Hang())
	file := writeFile(t, "targets.yml", fmt.Sprintf(`
targets:
- name: acme
  url: %s
  kinds: [personal-access-token, virtual-account]
  authorization:
    credentials_file: acme-key # next to this file
- name: globex
  url: %s/api
  api_prefix: /svc
  kinds: [virtual-account]
  authorization:
    credentials: key-of-globex
- name: hanging
  url: %s
  authorization:
    credentials: key-of-hanging
- name: unreachable
  url: http://127.0.0.1:1
  authorization:
    credentials_file: acme-key
- name: not-synced-yet
  url: %s
  authorization:
    credentials_file: no-such-key
`, acme.URL, globex.URL, hanging.URL, acme.URL))
	replaceFile(t, filepath.Join(filepath.Dir(file), "acme-key"), "key-of-acme\n")

	p := start(t, []string{"TFY_HOST=" + acme.URL, "TFY_API_KEY=left-alone"}, "--config.file="+file)
	_, metrics := fetch(t, http.DefaultClient, p.url+"/metrics", func(req *http.Request) {
		req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", "5")
	})
	wantLines(t, metrics,
		`truefoundry_up{target="acme"} 1`,
		`truefoundry_listing_tokens{kind="personal-access-token",target="acme"} 2`,
		`truefoundry_listing_tokens{kind="virtual-account",target="acme"} 5`,
		`truefoundry_up{target="globex"} 1`,
		`truefoundry_listing_tokens{kind="virtual-account",target="globex"} 7`,
		`truefoundry_up{target="hanging"} 0`,
		`truefoundry_listing_errors_total{kind="personal-access-token",reason="timeout",target="hanging"} 1`,
		`truefoundry_up{target="unreachable"} 0`,
		`truefoundry_listing_errors_total{kind="personal-access-token",reason="connection",target="unreachable"} 1`,
		`truefoundry_up{target="not-synced-yet"} 0`,
		`truefoundry_listing_errors_total{kind="personal-access-token",reason="credentials",target="not-synced-yet"} 1`,
		`truefoundry_exporter_config_last_reload_successful 1`,
	)
	if n := strings.Count(metrics, "\ntruefoundry_token_info{"); n != 2+5+7 {
		t.Errorf("%d tokens", n)
	}
	log := p.stop(t, syscall.SIGTERM)
	for _, want := range []string{"env=TFY_HOST", "env=TFY_API_KEY", "target=globex", "no-such-key"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %s:\n%s", want, log)
		}
	}
	for _, secret := range []string{"key-of", "left-alone"} {
		if strings.Contains(log+metrics, secret) {
			t.Errorf("%s is exposed", secret)
		}
	}
}

func TestExampleConfigFileWorks(t *testing.T) {
	t.Parallel()
	cp := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(2)...))
	plain := httptest.NewServer(cp)
	t.Cleanup(plain.Close)
	inCluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = fakecontrolplane.Prefix + r.URL.Path
		r.RequestURI = r.URL.RequestURI()
		cp.ServeHTTP(w, r)
	}))
	t.Cleanup(inCluster.Close)
	belowAPath := httptest.NewTLSServer(http.StripPrefix("/truefoundry", cp))
	t.Cleanup(belowAPath.Close)
	text := strings.NewReplacer(
		"https://acme.truefoundry.cloud", plain.URL,
		"https://tools.globex.example", belowAPath.URL,
		"http://truefoundry-servicefoundry-server.truefoundry.svc:3000", inCluster.URL,
	).Replace(readFile(t, "deploy/targets.yml"))
	file := writeFile(t, "targets.yml", text)
	dir := filepath.Dir(file)
	replaceFile(t, filepath.Join(dir, "globex-ca.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: belowAPath.Certificate().Raw})))
	if err := os.Mkdir(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	var up []string
	for _, found := range regexp.MustCompile(`credentials_file: (keys/(\S+))`).FindAllStringSubmatch(text, -1) {
		replaceFile(t, filepath.Join(dir, found[1]), controlplanetest.Key+"\n")
		up = append(up, `truefoundry_up{target="`+found[2]+`"} 1`)
	}
	if output, err := command(t, nil, "--config.file="+file, "--config.check").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, output)
	}
	p := start(t, nil, "--config.file="+file)
	wantLines(t, get(t, p.url+"/metrics"), append(up, `truefoundry_listing_tokens{kind="virtual-account",target="globex"} 0`)...)
	if len(up) != 4 {
		t.Errorf("%d targets", len(up))
	}
}

func TestKindFlagIsRepeatable(t *testing.T) {
	t.Parallel()
	cp := serveTokens(t, "the-key", 2, 5)
	p := start(t, []string{"TFY_API_KEY=the-key", "TFY_HOST=" + cp.URL},
		"--truefoundry.kind=virtual-account", "--truefoundry.kind=personal-access-token", "--truefoundry.api-key-token=token-t0001")
	target := strings.TrimPrefix(cp.URL, "http://")
	wantLines(t, get(t, p.url+"/metrics"),
		`truefoundry_listing_tokens{kind="personal-access-token",target="`+target+`"} 2`,
		`truefoundry_listing_tokens{kind="virtual-account",target="`+target+`"} 5`,
		fmt.Sprintf(`truefoundry_api_key_expiry_timestamp_seconds{target="%s"} %g`, target, float64(controlplanetest.Issued.AddDate(0, 0, 90).Unix())),
	)
}

func TestReplacedKeyFileIsUsedByTheNextScrape(t *testing.T) {
	t.Parallel()
	const next = "e30.eyJleHAiOjE4OTAwMDAwMDB9.c2ln" // {"exp":1890000000}
	cp := serveTokens(t, next, 2, 0)
	key := writeFile(t, "key", controlplanetest.Key)
	p := start(t, nil, "--config.file="+writeFile(t, "targets.yml", "targets: [{name: acme, url: \""+cp.URL+"\", authorization: {credentials_file: "+key+"}}]"))
	wantLines(t, get(t, p.url+"/metrics"),
		`truefoundry_up{target="acme"} 0`, `truefoundry_api_key_expiry_timestamp_seconds{target="acme"} 1.79e+09`)
	replaceFile(t, key, next)
	wantLines(t, get(t, p.url+"/metrics"),
		`truefoundry_up{target="acme"} 1`, `truefoundry_api_key_expiry_timestamp_seconds{target="acme"} 1.89e+09`)
}

// reloads returns functions that reload the configuration and return the response,
// by the way to do so.
func reloads(t *testing.T, p *process) map[string]func() (response string) {
	return map[string]func() string{
		"SIGHUP": func() string {
			if err := p.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			return p.waitForLog(t, "reloaded")
		},
		"POST": func() string {
			resp, err := http.Post(p.url+"/-/reload", "", nil) //nolint:noctx // the exporter ends with the test
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			return resp.Status + p.waitForLog(t, "reloaded")
		},
	}
}

func TestReloadReplacesTargets(t *testing.T) {
	t.Parallel()
	acme, globex := serveTokens(t, "the-key", 2, 0), serveTokens(t, "the-key", 3, 0)
	file := writeFile(t, "targets.yml", "")
	both := configFile("acme", acme.URL, "the-key", "globex", globex.URL, "the-key")
	replaceFile(t, file, both)
	p := start(t, nil, "--config.file="+file, "--web.enable-lifecycle")
	for way, reload := range reloads(t, p) {
		wantLines(t, get(t, p.url+"/metrics"), `truefoundry_up{target="acme"} 1`, `truefoundry_up{target="globex"} 1`)

		replaceFile(t, file, configFile("globex", globex.URL, "the-key"))
		if response := reload(); strings.Contains(response, "level=error") || strings.Contains(response, "500") {
			t.Errorf("%s: %s", way, response)
		}
		metrics := get(t, p.url+"/metrics")
		wantLines(t, metrics, `truefoundry_up{target="globex"} 1`, `truefoundry_exporter_config_last_reload_successful 1`)
		if strings.Contains(metrics, `target="acme"`) {
			t.Errorf("%s: the removed target has metrics:\n%s", way, metrics)
		}

		replaceFile(t, file, "targets:\n- name: acme\n  url: s3cret\n")
		if response := reload(); !strings.Contains(response, "level=error") || !strings.Contains(response, "line 3: targets[0].url: must be absolute") || strings.Contains(response, "s3cret") {
			t.Errorf("%s: %s", way, response)
		}
		wantLines(t, get(t, p.url+"/metrics"), `truefoundry_up{target="globex"} 1`, `truefoundry_exporter_config_last_reload_successful 0`)

		replaceFile(t, file, both)
		reload()
	}
	// There were three scrapes for each way and one more, of one page each. No reload
	// has reset the counter.
	wantLines(t, get(t, p.url+"/metrics"), `truefoundry_exporter_api_requests_total{code="200",target="globex"} 7`)
}

func TestSIGHUPWithoutConfigFileIsIgnored(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "--demo")
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.waitForLog(t, "nothing to reload")
	get(t, p.url+"/metrics")
}

func TestReloadsDoNotDisturbScrapes(t *testing.T) {
	t.Parallel()
	acme, globex := serveTokens(t, "the-key", 20, 0), serveTokens(t, "the-key", 30, 0)
	file := writeFile(t, "targets.yml", configFile("acme", acme.URL, "the-key", "globex", globex.URL, "the-key"))
	p := start(t, nil, "--config.file="+file, "--web.enable-lifecycle", "--truefoundry.page-size=3")
	stop := make(chan struct{})
	var scrapers sync.WaitGroup
	for range 4 {
		scrapers.Go(func() {
			for scraped := 0; ; scraped++ {
				select {
				case <-stop:
					if scraped == 0 {
						t.Error("nothing was scraped")
					}
					return
				default:
				}
				resp, err := http.Get(p.url + "/metrics") //nolint:noctx // the exporter ends with the test
				if err != nil {
					t.Error(err)
					return
				}
				var metrics strings.Builder
				if _, err := io.Copy(&metrics, resp.Body); err != nil {
					t.Error(err)
				}
				resp.Body.Close()
				if n := strings.Count(metrics.String(), "\ntruefoundry_token_info{"); n != 20+30 {
					t.Errorf("%s with %d tokens", resp.Status, n)
				}
			}
		})
	}
	for i := range 50 {
		names := []string{"acme", acme.URL, "the-key", "globex", globex.URL, "the-key"}
		if i%2 == 0 {
			names = append(names[3:], names[:3]...)
		}
		replaceFile(t, file, configFile(names...))
		resp, err := http.Post(p.url+"/-/reload", "", nil) //nolint:noctx // the exporter ends with the test
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("reload: %s", resp.Status)
		}
	}
	close(stop)
	scrapers.Wait()
}

func TestScrapeInFlightKeepsItsTargets(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan struct{}), make(chan struct{})
	acme := serveTokens(t, "the-key", 2, 0, faults.First(1, faults.Hold(begun, finish)))
	globex := serveTokens(t, "the-key", 3, 0)
	file := writeFile(t, "targets.yml", configFile("acme", acme.URL, "the-key"))
	p := start(t, nil, "--config.file="+file)
	scraped := make(chan string)
	go func() {
		resp, err := http.Get(p.url + "/metrics") //nolint:noctx // it ends with the exporter
		if err != nil {
			scraped <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		scraped <- fmt.Sprintln(resp.StatusCode, err) + string(body)
	}()
	<-begun
	replaceFile(t, file, configFile("globex", globex.URL, "the-key"))
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.waitForLog(t, "configuration reloaded")
	metrics := get(t, p.url+"/metrics")
	wantLines(t, metrics, `truefoundry_up{target="globex"} 1`)
	if strings.Contains(metrics, `target="acme"`) || countTokens(metrics) != 3 {
		t.Errorf("the next scrape: %s", metrics)
	}
	close(finish)
	metrics = <-scraped
	wantLines(t, metrics, "200 <nil>", `truefoundry_up{target="acme"} 1`)
	if countTokens(metrics) != 2 {
		t.Errorf("the scrape in flight: %s", metrics)
	}
}

func TestConfigCheckReportsProblemsAndWarnings(t *testing.T) {
	t.Parallel()
	const opaque, jwt = "tfy_va_ci_s3cret", controlplanetest.Key
	for _, tt := range []struct {
		name, config string
		code         int
		want         string
	}{
		{"a key with an expiry", configFile("acme", "https://a.example", jwt), 0, "The configuration is valid. Targets: 1.\n"},
		{"an opaque key", configFile("acme", "https://a.example", opaque), 0, `warning: target "acme": its API key does not contain its expiry`},
		{"an opaque key with the name of its token", "targets: [{name: acme, url: \"https://a.example\", api_key_token: ci, authorization: {credentials: " + opaque + "}}]", 0, "The configuration is valid. Targets: 1.\n"},
		{"a URL without encryption", configFile("acme", "http://a.example", jwt), 0, `warning: target "acme": its URL begins with http://`},
		{"a URL without encryption on the same machine", configFile("acme", "http://127.0.0.1:1", jwt), 0, "The configuration is valid. Targets: 1.\n"},
		{"a URL without encryption in the same cluster", configFile("acme", "http://tfy.tfy.svc.cluster.local:3000", jwt), 0, "The configuration is valid. Targets: 1.\n"},
		{"no URL", "targets: [{name: acme}]", 1, "line 1: targets[0]: it needs a url"},
		{
			"files that are missing",
			"targets: [{name: acme, url: \"https://a.example\", authorization: {credentials_file: no-key}, tls_config: {ca_file: no-ca}}]",
			1, "no-ca: no such file",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			output, err := command(t, nil, "--config.check", "--config.file="+writeFile(t, "targets.yml", tt.config)).CombinedOutput()
			var exit *exec.ExitError
			if code := 0; tt.code != code && !errors.As(err, &exit) || tt.code == 0 && err != nil {
				t.Errorf("ended with %v", err)
			}
			if !strings.Contains(string(output), tt.want) || strings.Contains(string(output), "s3cret") {
				t.Errorf("said %s, want %s", output, tt.want)
			}
			if strings.Contains(string(output), "warning") != strings.Contains(tt.want, "warning") {
				t.Errorf("said %s", output)
			}
		})
	}
	if output, err := command(t, []string{"TFY_API_KEY=" + opaque, "TFY_HOST=https://a.example"}, "--config.check").Output(); err != nil || !strings.Contains(string(output), "--truefoundry.api-key-token") {
		t.Errorf("of flags: %v %s", err, output)
	}
}

func TestWarningsAreLoggedAtTheStartAndAfterEachReload(t *testing.T) {
	t.Parallel()
	const opaque, inTheClear = "its API key does not contain its expiry", "the API key is sent unencrypted"
	cp := controlplanetest.Start(t, controlplanetest.Always())
	file := writeFile(t, "targets.yml", configFile("in-the-clear", "http://acme.example", controlplanetest.Key, "opaque", cp.URL, "tfy_va_ci_s3cret"))
	p := start(t, nil, "--config.file="+file)
	reload := func() {
		t.Helper()
		if err := p.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		p.waitForLog(t, "configuration reloaded")
	}
	// Warnings may be logged before the exporter listens or has reloaded.
	waitForWarnings := func(n int) {
		t.Helper()
		for strings.Count(p.log.String(), inTheClear) < n || strings.Count(p.log.String(), opaque) < n {
			p.waitForLog(t, "level=warn")
		}
	}
	waitForWarnings(1)
	for i := range 2 {
		reload()
		waitForWarnings(i + 2)
	}
	replaceFile(t, file, configFile("fine", cp.URL, controlplanetest.Key))
	reload()
	metrics := get(t, p.url+"/metrics")
	wantLines(t, metrics, `truefoundry_up{target="fine"} 1`)
	logged := p.stop(t, syscall.SIGTERM)
	for target, text := range map[string]string{"opaque": opaque, "in-the-clear": inTheClear} {
		line := regexp.MustCompile(`(?m)^level=warn .*` + text + `.* target=` + target + `$`)
		if n := len(line.FindAllString(logged, -1)); n != 3 {
			t.Errorf("%q is logged %d times, want 3:\n%s", text, n, logged)
		}
	}
	if strings.Contains(logged, "s3cret") {
		t.Errorf("the key is exposed:\n%s", logged)
	}
}

func TestDemoLogsNoWarnings(t *testing.T) {
	t.Parallel()
	if logged := start(t, nil, "--demo").stop(t, syscall.SIGTERM); strings.Contains(logged, "level=warn") {
		t.Errorf("logged %s", logged)
	}
}
