// Package stack starts the exporter's demonstration, scraped by a real
// Prometheus with the alerts of deploy/, which tells a real Alertmanager.
package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Programs says where the programs are.
type Programs struct {
	Exporter           string
	PrometheusDir      string // with promtool
	AlertmanagerDir    string
	VictoriaMetricsDir string // with vmalert
}

// FromEnvironment returns the programs that make has built and installed.
func FromEnvironment() (Programs, error) {
	programs := Programs{os.Getenv("E2E_EXPORTER"), os.Getenv("E2E_PROMETHEUS_DIR"), os.Getenv("E2E_ALERTMANAGER_DIR"), os.Getenv("E2E_VICTORIAMETRICS_DIR")}
	if programs.Exporter == "" || programs.PrometheusDir == "" || programs.AlertmanagerDir == "" || programs.VictoriaMetricsDir == "" {
		return programs, errors.New("this runs built programs, which make has to name: run `make e2e`, `make demo` or `make demo-check` at the top of the repository")
	}
	return programs, nil
}

// A Stack is what runs together.
type Stack struct {
	Exporter, Prometheus, Alertmanager *Server

	end context.CancelFunc
}

// Start starts all, configured by the files in deploy, in a hurry: what takes
// minutes or hours there takes seconds. It writes into dir only. The programs end with
// ctx, or by Stop.
func Start(ctx context.Context, programs Programs, deploy, dir string) (*Stack, error) {
	ctx, end := context.WithCancel(ctx)
	s := &Stack{end: end}
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

	// The same receivers, without their mail: no demonstration writes to anybody.
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

	// The windows stay as they are: what is newer than the window is in it.
	err = edit(filepath.Join(deploy, "prometheus", "rules.yml"), filepath.Join(dir, "rules.yml"),
		replace{`(?m)^( +interval:) .*`, "$1 1s"},
		// Longer than Prometheus takes until its first scrape, which is an alert, too.
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
		"--log.level=debug", // At this level it tells why a scrape failed.
	)
	return err
}

// Servers returns those that were started.
func (s *Stack) Servers() []*Server {
	var servers []*Server
	for _, server := range []*Server{s.Exporter, s.Alertmanager, s.Prometheus} {
		if server != nil {
			servers = append(servers, server)
		}
	}
	return servers
}

// Stop ends all, and waits until all have ended.
func (s *Stack) Stop() {
	s.end()
	for _, server := range s.Servers() {
		<-server.Done()
	}
}

type replace struct{ pattern, with string }

// edit copies a file and replaces what is different here. All of it has to be
// there: the file may have changed.
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
	return os.WriteFile(to, text, 0o600) //nolint:gosec // into the caller's folder
}
