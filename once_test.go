package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// runOnce runs an exporter that exits by itself.
func runOnce(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs strings.Builder
	cmd := command(t, env, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
		code = exit.ExitCode()
	}
	metricstest.Absent(t, out.String()+errs.String(), controlplanetest.Key)
	return code, out.String(), errs.String()
}

func TestOnce(t *testing.T) {
	t.Parallel()
	good := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(3)...))
	bad := controlplanetest.Start(t, controlplanetest.Always(), faults.Status(403))
	key := []string{"TFY_API_KEY=" + controlplanetest.Key}
	for _, tt := range []struct {
		name   string
		env    []string
		args   []string
		code   int
		stderr string // as a regular expression
		up     map[string]float64
	}{
		{
			"a target of flags", key,
			[]string{"--truefoundry.url=" + good.URL, "--truefoundry.target=acme"},
			0, `target "acme" works: tokens listed: 3 \(personal-access-token\)\n`,
			map[string]float64{"acme": 1},
		},
		{
			"two kinds", key,
			[]string{"--truefoundry.url=" + good.URL, "--truefoundry.target=acme", "--truefoundry.kind=personal-access-token", "--truefoundry.kind=virtual-account"},
			0, `target "acme" works: tokens listed: 3 \(personal-access-token\), 0 \(virtual-account\)\n`,
			map[string]float64{"acme": 1},
		},
		{
			"a target of flags that fails", key,
			[]string{"--truefoundry.url=" + bad.URL, "--truefoundry.target=acme"},
			1, `target "acme" failed: personal-access-token: 403 Forbidden .*: the API key may not list these tokens.*\n`,
			map[string]float64{"acme": 0},
		},
		{
			"a configuration file", nil,
			[]string{"--config.file=" + writeFile(t, "targets.yml", configFile("acme", good.URL, controlplanetest.Key, "globex", good.URL, controlplanetest.Key))},
			0, `target "acme" works: .*\ntarget "globex" works: .*\n`,
			map[string]float64{"acme": 1, "globex": 1},
		},
		{
			"a configuration file with a target that fails", nil,
			[]string{"--config.file=" + writeFile(t, "targets.yml", configFile("acme", good.URL, controlplanetest.Key, "globex", bad.URL, controlplanetest.Key))},
			1, `target "acme" works: .*\ntarget "globex" failed: .*\n`,
			map[string]float64{"acme": 1, "globex": 0},
		},
		{
			"the demo", nil,
			[]string{"--demo"},
			1, `target "demo-personal" works: .* 40 .*\ntarget "demo-services" works: .* 5 .*\ntarget "demo-broken" failed: .*401.*\n`,
			map[string]float64{"demo-personal": 1, "demo-services": 1, "demo-broken": 0},
		},
		{
			"another path and listen address", key,
			[]string{"--truefoundry.url=" + good.URL, "--truefoundry.target=acme", "--web.telemetry-path=/m/", "--web.listen-address=127.0.0.1:1"},
			0, `target "acme" works: .*\n`,
			map[string]float64{"acme": 1},
		},
		{
			"logging enabled", key,
			[]string{"--truefoundry.url=" + bad.URL, "--truefoundry.target=acme", "--log.level=error"},
			1, `level=error .*msg="listing failed".*\ntarget "acme" failed: .*\n`,
			map[string]float64{"acme": 0},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := runOnce(t, tt.env, append(tt.args, "--once")...)
			if code != tt.code {
				t.Errorf("it ended with %d, want %d", code, tt.code)
			}
			if !regexp.MustCompile(`^` + tt.stderr + `$`).MatchString(stderr) {
				t.Errorf("to standard error it wrote\n%s\nwant\n%s", stderr, tt.stderr)
			}
			families := metricstest.Parse(t, stdout)
			for target, want := range tt.up {
				if got := families.Values("truefoundry_up", "target", "target", target); len(got) != 1 || got[target] != want {
					t.Errorf("truefoundry_up of %s: %v", target, got)
				}
			}
			for name := range families {
				if !strings.HasPrefix(name, "truefoundry_") {
					t.Errorf("got the metric %s", name)
				}
			}
			if len(families["truefoundry_exporter_build_info"].GetMetric()) != 1 {
				t.Error("truefoundry_exporter_build_info is missing")
			}
		})
	}
}

func TestOnceShape(t *testing.T) {
	t.Parallel()
	token := controlplanetest.Token(1)
	token.Name, token.TenantName = "zebra-name", "zebra-tenant"
	good := controlplanetest.Start(t, controlplanetest.Always(token))
	code, stdout, stderr := runOnce(t, nil, "--once.shape", "--config.file="+writeFile(t, "targets.yml", configFile("zebra-target", good.URL, controlplanetest.Key)))
	if code != 0 || stderr != "target \"zebra-target\" works: tokens listed: 1 (personal-access-token)\n" {
		t.Errorf("it ended with %d and wrote %s", code, stderr)
	}
	for _, want := range []string{
		"target 1, personal-access-tokens, offset 0: status 200, application/json, gzip, ",
		"tenantName: string of 12 (1)", "isExpired: false (1)", "expiry: time as yyyy-mm-ddThh:mm:ssZ (1)", `subjectType: "user" (1)`,
	} {
		metricstest.Present(t, stdout, want)
	}
	for _, value := range []string{"zebra", "acme", strings.TrimPrefix(good.URL, "http://"), "truefoundry_up"} {
		metricstest.Absent(t, stdout, value)
	}

	bad := controlplanetest.Start(t, controlplanetest.Always(), faults.Status(500))
	code, stdout, stderr = runOnce(t, []string{"TFY_API_KEY=" + controlplanetest.Key}, "--once.shape", "--truefoundry.url="+bad.URL)
	if code != 1 || !strings.Contains(stderr, " failed: personal-access-token: 500 ") {
		t.Errorf("it ended with %d and wrote %s", code, stderr)
	}
	metricstest.Present(t, stdout, "status 500, ")
	metricstest.Present(t, stdout, "message: string of 12 (1)")
}

func TestOnceFailsIfItCannotWrite(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	good := controlplanetest.Start(t, controlplanetest.Always())
	for _, flag := range []string{"--once", "--once.shape"} {
		var stderr strings.Builder
		cmd := command(t, []string{"TFY_API_KEY=" + controlplanetest.Key}, flag, "--truefoundry.url="+good.URL)
		cmd.Stdout, cmd.Stderr = full, &stderr
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(stderr.String(), "no space left on device") {
			t.Errorf("%s: %v, %s", flag, err, stderr.String())
		}
	}
}

func TestOnceFailsIfInterrupted(t *testing.T) {
	t.Parallel()
	begun, finish := make(chan struct{}), make(chan struct{})
	defer close(finish)
	cp := controlplanetest.Start(t, controlplanetest.Always(), faults.Hold(begun, finish))
	var stdout, stderr strings.Builder
	cmd := command(t, []string{"TFY_API_KEY=" + controlplanetest.Key}, "--once", "--truefoundry.target=acme", "--truefoundry.url="+cp.URL)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-begun
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 || stderr.String() != "target \"acme\" failed: personal-access-token: it was not listed to the end\n" {
		t.Errorf("%v: %s", err, stderr.String())
	}
}

func TestCronExampleOfTheDocsWorks(t *testing.T) {
	t.Parallel()
	found := regexp.MustCompile(`(?m)^\*/5 \* \* \* \* +\S+ +(truefoundry_exporter .*)$`).FindStringSubmatch(readFile(t, "docs/configuration.md"))
	if found == nil {
		t.Fatal("docs/configuration.md has no line for cron")
	}
	up := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(3)...))
	down := controlplanetest.Start(t, controlplanetest.Always(), faults.Status(503))
	dir := t.TempDir()
	script := filepath.Join(dir, "truefoundry_exporter")
	if err := os.Symlink(os.Args[0], script); err != nil {
		t.Fatal(err)
	}
	line := strings.NewReplacer("/var/lib/node_exporter/textfile", dir, "/etc/truefoundry_exporter/targets.yml", "$TARGETS").Replace(found[1])
	for _, tt := range []struct{ name, url, want string }{
		{"up", up.URL, `truefoundry_up{target="acme"} 1`},
		{"down", down.URL, `truefoundry_up{target="acme"} 0`},
	} {
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", line)
		cmd.Env = []string{
			envRunMain + "=1", "GORACE=atexit_sleep_ms=0", "PATH=" + dir + ":/usr/bin:/bin",
			"TARGETS=" + writeFile(t, "targets.yml", configFile("acme", tt.url, controlplanetest.Key)),
		}
		output, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		metricstest.Present(t, string(output), `target "acme"`)
		files, err := filepath.Glob(filepath.Join(dir, "*.prom*"))
		if err != nil || len(files) != 1 || filepath.Base(files[0]) != "truefoundry.prom" {
			t.Fatalf("%v: there are %q", err, files)
		}
		wantLines(t, readFile(t, files[0]), tt.want)
	}
}
