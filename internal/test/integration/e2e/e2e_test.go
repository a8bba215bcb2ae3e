// Package e2e tests the built exporter like its users run it: from the command line, and
// scraped by a real Prometheus.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/e2e/internal/stack"
)

func startDemo(t *testing.T) *stack.Server {
	t.Helper()
	return start(t, programs.Exporter, "--demo", "--web.listen-address=127.0.0.1:0")
}

func TestPromtoolAcceptsTheMetrics(t *testing.T) {
	demo := startDemo(t)
	check := stack.Command(t.Context(), filepath.Join(programs.PrometheusDir, "promtool"), "check", "metrics")
	check.Stdin = strings.NewReader(mustGet(t, demo, "/metrics"))
	if output, err := check.CombinedOutput(); err != nil || len(output) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, output)
	}
}

func TestPages(t *testing.T) {
	demo := startDemo(t)
	for _, path := range []string{"/-/healthy", "/-/ready"} {
		mustGet(t, demo, path)
	}
	landing := mustGet(t, demo, "/")
	for _, want := range []string{"metrics", "demonstration"} {
		if !strings.Contains(landing, want) {
			t.Errorf("the landing page does not contain %q:\n%s", want, landing)
		}
	}
}

func TestPrometheusStoresEveryToken(t *testing.T) {
	demo := startDemo(t)
	prometheus := startPrometheus(t, demo)

	eventually(t, func(ctx context.Context) error {
		// Two of the three targets of the demo are up.
		up, err := stack.Query(ctx, prometheus, "truefoundry_up")
		sum := 0
		for _, target := range up {
			sum += int(target.Value)
		}
		if err == nil && (len(up) != 3 || sum != 2) {
			err = fmt.Errorf("truefoundry_up is %v", up)
		}
		return err
	})

	exposition := mustGet(t, demo, "/metrics")
	for _, metric := range []string{"truefoundry_token_info", "truefoundry_token_expiry_timestamp_seconds"} {
		want := namesExposed(t, exposition, metric)
		got := namesStored(t, prometheus, metric)
		if len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("%s: Prometheus has the names %q, the exporter exposes %q", metric, got, want)
		}
	}

	// At least one name needs escaping.
	if names := namesStored(t, prometheus, "truefoundry_token_info"); !slices.ContainsFunc(names, needsEscaping) {
		t.Errorf("no name has a quote, a newline and an emoji: %q", names)
	}

	difference, err := stack.Query(t.Context(), prometheus, "count(truefoundry_token_info) - sum(truefoundry_listing_tokens)")
	if err != nil || len(difference) != 1 || difference[0].Value != 0 {
		t.Errorf("the difference of truefoundry_token_info and truefoundry_listing_tokens is %v, %v", difference, err)
	}

	expiries, err := stack.Query(t.Context(), prometheus, "truefoundry_token_expiry_timestamp_seconds")
	if err != nil {
		t.Fatal(err)
	}
	for _, expiry := range expiries {
		if at := time.Unix(int64(expiry.Value), 0); time.Since(at).Abs() > 10*365*24*time.Hour {
			t.Errorf("%v expires at %v", expiry.Labels, at)
		}
	}
}

func TestSIGTERMStopsTheExporter(t *testing.T) {
	demo := startDemo(t)
	mustGet(t, demo, "/metrics")
	if err := demo.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-demo.Done():
		if err := demo.Err(); err != nil {
			t.Errorf("after SIGTERM: %v, want exit status 0", err)
		}
	case <-time.After(stack.Patience):
		t.Error("it is still running after SIGTERM")
	}
}

func TestVersion(t *testing.T) {
	want, err := os.ReadFile("../../../../VERSION")
	if err != nil {
		t.Fatal(err)
	}
	output, err := stack.Command(t.Context(), programs.Exporter, "--version").Output()
	if prefix := "truefoundry_exporter, version " + strings.TrimSpace(string(want)) + " ("; err != nil || !strings.HasPrefix(string(output), prefix) {
		t.Errorf("--version: %v, %q, want the prefix %q", err, output, prefix)
	}
}

func TestErrorsAreOneLine(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"unknown flag": {
			args: []string{"--demo", "--web.listen-address=127.0.0.1:0", "--no-such-flag"},
			want: []string{"--no-such-flag"},
		},
		"no key": {
			args: []string{"--web.listen-address=127.0.0.1:0", "--truefoundry.url=http://127.0.0.1:1"},
			want: []string{"TFY_API_KEY", "--truefoundry.api-key-file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			output, err := stack.Command(t.Context(), programs.Exporter, test.args...).Output()
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				t.Fatalf("%v, want a failure", err)
			}
			line, rest, _ := strings.Cut(string(exit.Stderr), "\n")
			if len(output) > 0 || rest != "" || !strings.HasPrefix(line, "truefoundry_exporter: error: ") {
				t.Errorf("it wrote %q to stdout and %q to stderr, want one line of error", output, exit.Stderr)
			}
			for _, want := range test.want {
				if !strings.Contains(line, want) {
					t.Errorf("the error %q does not contain %s", line, want)
				}
			}
		})
	}
}

// needsEscaping reports whether a name contains a quote, a newline and an emoji.
func needsEscaping(name string) bool {
	emoji := func(r rune) bool { return r > 0xFFFF }
	return strings.Contains(name, `"`) && strings.Contains(name, "\n") && strings.ContainsFunc(name, emoji)
}

// startPrometheus starts a Prometheus that scrapes the exporter every second. The job may
// have more configuration.
func startPrometheus(t *testing.T, exporter *stack.Server, jobConfig ...string) *stack.Server {
	t.Helper()
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
global:
  scrape_interval: 1s
  scrape_timeout: 1s
scrape_configs:
  - job_name: truefoundry
    static_configs:
      - targets: [%q]
%s`, strings.TrimPrefix(exporter.URL, "http://"), strings.Join(jobConfig, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, filepath.Join(programs.PrometheusDir, "prometheus"),
		"--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0",
		"--log.level=debug", // logs why a scrape fails
	)
}

// namesStored returns the sorted token_name labels of a metric in Prometheus.
func namesStored(t *testing.T, prometheus *stack.Server, metric string) []string {
	t.Helper()
	samples, err := stack.Query(t.Context(), prometheus, metric)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, sample := range samples {
		names = append(names, sample.Labels["token_name"])
	}
	slices.Sort(names)
	return names
}

// namesExposed returns the sorted token_name labels of a metric in an exposition.
func namesExposed(t *testing.T, exposition, metric string) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(exposition) {
		if !strings.HasPrefix(line, metric+"{") {
			continue
		}
		_, value, _ := strings.Cut(line, `,token_name=`)
		// All escapes of the format are valid in Go.
		quoted, err := strconv.QuotedPrefix(value)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		name, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
