// Command demo runs the exporter's demo with a real Prometheus and a real Alertmanager until
// it is interrupted.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/e2e/internal/stack"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run() error {
	programs, err := stack.FromEnvironment()
	if err != nil {
		return err
	}
	// The demo also ends if the terminal or the pipe for its output is closed.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	parent := os.Getppid()
	dir, err := os.MkdirTemp("", "truefoundry_exporter-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := stack.Start(ctx, programs, "../../../../deploy", dir)
	if err != nil {
		if ctx.Err() != nil {
			return nil // interrupted
		}
		return err
	}
	defer s.Stop()

	fmt.Printf(`The demonstration runs; end it with Ctrl-C, or: kill %[5]d
It leaves nothing behind.

  the exporter     %[1]s and %[1]s/metrics
  Alertmanager     %[2]s
  Prometheus       %[3]s/api/v1/alerts; it is built without its pages, so
                   %[4]s query instant %[3]s truefoundry_up

Alerts, after ten seconds of what takes minutes or hours elsewhere:

`, s.Exporter.URL, s.Alertmanager.URL, s.Prometheus.URL, filepath.Join(programs.PrometheusDir, "promtool"), os.Getpid())
	return watch(ctx, s, parent)
}

// watch prints alerts when they start firing. It returns when ctx ends, or when the parent
// process, such as make, has ended.
func watch(ctx context.Context, s *stack.Stack, parent int) error {
	shown := map[string]bool{}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		if os.Getppid() != parent {
			return nil
		}
		for _, server := range s.Servers() {
			select {
			case <-server.Done():
				if ctx.Err() != nil {
					return nil
				}
				return fmt.Errorf("%s has ended:\n%s", server.URL, server.Log())
			default:
			}
		}
		alerts, err := stack.PrometheusAlerts(ctx, s.Prometheus)
		if err != nil {
			continue // Prometheus may be busy or ending
		}
		for _, alert := range alerts {
			key := fmt.Sprint(alert.Labels)
			if alert.State == "firing" && !shown[key] {
				shown[key] = true
				fmt.Printf("  %-8s  %-34s  %s\n", alert.Labels["severity"], alert.Labels["alertname"], alert.Annotations["summary"])
			}
		}
	}
}
