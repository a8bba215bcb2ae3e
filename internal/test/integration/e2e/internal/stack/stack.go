// Package stack runs the exporter's demo with a real Prometheus, the alerts in deploy/, and a
// real Alertmanager.
package stack

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/subprocess"
)

// Programs are the paths of programs.
type Programs struct {
	Exporter           string
	PrometheusDir      string // includes promtool
	AlertmanagerDir    string
	VictoriaMetricsDir string // includes vmalert
}

// FromEnvironment returns the programs in environment variables, which the Makefile sets.
func FromEnvironment() (Programs, error) {
	programs := Programs{os.Getenv("E2E_EXPORTER"), os.Getenv("E2E_PROMETHEUS_DIR"), os.Getenv("E2E_ALERTMANAGER_DIR"), os.Getenv("E2E_VICTORIAMETRICS_DIR")}
	err := subprocess.RequireEnv("`make e2e`, `make demo` or `make demo-check`", "E2E_EXPORTER", "E2E_PROMETHEUS_DIR", "E2E_ALERTMANAGER_DIR", "E2E_VICTORIAMETRICS_DIR")
	return programs, err
}

// Stack is an exporter with its Prometheus and Alertmanager.
type Stack struct {
	Exporter, Prometheus, Alertmanager *Server

	cancel context.CancelFunc
}

// Start starts the programs with the configuration in the directory deploy. Intervals of
// minutes or hours are replaced with seconds. Start only writes to dir. The programs end
// when ctx ends, or when Stop is called.
func Start(ctx context.Context, programs Programs, deploy, dir string) (*Stack, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &Stack{cancel: cancel}
	if err := s.start(ctx, programs, deploy, dir); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, programs Programs, deploy, dir string) (err error) {
	s.Exporter, err = StartServer(ctx, programs.Exporter, "--demo", "--web.listen-address=127.0.0.1:0")
	if err != nil {
		return err
	}

	// The receivers are the same, but they send no e-mail.
	err = edit(filepath.Join(deploy, "prometheus", "alertmanager.yml"), filepath.Join(dir, "alertmanager.yml"),
		replace{`(?m)^ +(email_configs:|- to:|send_resolved:).*\n`, ""},
	)
	if err != nil {
		return err
	}
	s.Alertmanager, err = StartServer(ctx, filepath.Join(programs.AlertmanagerDir, "alertmanager"),
		"--config.file="+filepath.Join(dir, "alertmanager.yml"),
		"--storage.path="+filepath.Join(dir, "alertmanager"),
		"--web.listen-address=127.0.0.1:0",
		"--cluster.listen-address=", // no cluster
	)
	if err != nil {
		return err
	}

	// The windows are unchanged: they include all recent data.
	err = edit(filepath.Join(deploy, "prometheus", "rules.yml"), filepath.Join(dir, "rules.yml"),
		replace{`(?m)^( +interval:) .*`, "$1 1s"},
		// This is longer than the time until the first scrape, so that there is no alert for it.
		replace{`(?m)^( +for:) .*`, "$1 10s"},
	)
	if err != nil {
		return err
	}
	err = edit(filepath.Join(deploy, "prometheus", "prometheus.yml"), filepath.Join(dir, "prometheus.yml"),
		replace{`^`, "global:\n  evaluation_interval: 1s\n"},
		replace{`(scrape_interval|scrape_timeout): .*`, "$1: 1s"},
		replace{`localhost:10140`, strings.TrimPrefix(s.Exporter.URL, "http://")},
		replace{`localhost:9093`, strings.TrimPrefix(s.Alertmanager.URL, "http://")},
	)
	if err != nil {
		return err
	}
	s.Prometheus, err = StartServer(ctx, filepath.Join(programs.PrometheusDir, "prometheus"),
		"--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "prometheus"),
		"--web.listen-address=127.0.0.1:0",
		"--log.level=debug", // logs why a scrape fails
	)
	return err
}

// Servers returns the servers that were started.
func (s *Stack) Servers() []*Server {
	var servers []*Server
	for _, server := range []*Server{s.Exporter, s.Alertmanager, s.Prometheus} {
		if server != nil {
			servers = append(servers, server)
		}
	}
	return servers
}

// Stop stops the servers and waits until they have ended.
func (s *Stack) Stop() {
	s.cancel()
	for _, server := range s.Servers() {
		<-server.Done()
	}
}

type replace struct{ pattern, with string }

// edit copies a file with replacements. It returns an error if a pattern does not match,
// because the file may have changed.
func edit(from, to string, replaces ...replace) error {
	text, err := os.ReadFile(from) //nolint:gosec // a file of this repository
	if err != nil {
		return err
	}
	for _, r := range replaces {
		pattern := regexp.MustCompile(r.pattern)
		if !pattern.Match(text) {
			return fmt.Errorf("%s has no %s", from, r.pattern)
		}
		text = pattern.ReplaceAll(text, []byte(r.with))
	}
	return os.WriteFile(to, text, 0o600) //nolint:gosec // the path is from the test
}
