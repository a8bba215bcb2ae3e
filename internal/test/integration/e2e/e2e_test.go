// Package e2e tests the built exporter as its users run it: as a process, from
// the command line, scraped by a real Prometheus.
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

func TestMetricsPleasePromtool(t *testing.T) {
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
			t.Errorf("the landing page does not say %q:\n%s", want, landing)
		}
	}
}

func TestPrometheusKnowsEveryToken(t *testing.T) {
	demo := startDemo(t)
	prometheus := startPrometheus(t, demo)

	eventually(t, func(ctx context.Context) error {
		// Two of the demonstration's targets work, and one does not.
		up, err := stack.Query(ctx, prometheus, "truefoundry_up")
		works := 0
		for _, target := range up {
			works += int(target.Value)
		}
		if err == nil && (len(up) != 3 || works != 2) {
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

	// Proves little if no name needs care on its way.
	if names := namesStored(t, prometheus, "truefoundry_token_info"); !slices.ContainsFunc(names, hard) {
		t.Errorf("no name has a quote, a newline and an emoji: %q", names)
	}

	difference, err := stack.Query(t.Context(), prometheus, "count(truefoundry_token_info) - sum(truefoundry_listing_tokens)")
	if err != nil || len(difference) != 1 || difference[0].Value != 0 {
		t.Errorf("tokens with an info, less tokens listed: %v, %v", difference, err)
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

func TestSIGTERMEndsIt(t *testing.T) {
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
		t.Error("it runs on after SIGTERM")
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

func TestMistakesAreOneLine(t *testing.T) {
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
					t.Errorf("the error %q does not name %s", line, want)
				}
			}
		})
	}
}

func hard(name string) bool {
	emoji := func(r rune) bool { return r > 0xFFFF }
	return strings.Contains(name, `"`) && strings.Contains(name, "\n") && strings.ContainsFunc(name, emoji)
}

// startPrometheus starts a Prometheus that scrapes the exporter every second, with
// what else the job is to have.
func startPrometheus(t *testing.T, exporter *stack.Server, more ...string) *stack.Server {
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
%s`, strings.TrimPrefix(exporter.URL, "http://"), strings.Join(more, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, filepath.Join(programs.PrometheusDir, "prometheus"),
		"--config.file="+config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address=127.0.0.1:0",
		"--log.level=debug", // At this level it tells why a scrape failed.
	)
}

// namesStored returns the label `token_name` of a metric's series in Prometheus, sorted.
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

// namesExposed returns the label `token_name` of a metric's series in an exposition, sorted.
func namesExposed(t *testing.T, exposition, metric string) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(exposition) {
		if !strings.HasPrefix(line, metric+"{") {
			continue
		}
		_, value, _ := strings.Cut(line, `,token_name=`)
		// The format's escapes are among Go's.
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
