package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// blocks returns the fenced blocks of a language in the README.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(readme, -1) {
		found = append(found, string(match[1]))
	}
	if len(found) == 0 {
		t.Fatalf("the README has no %s", language)
	}
	return found
}

func TestReadmeScrapesAsPrometheusUnderstands(t *testing.T) {
	checked := 0
	for _, config := range blocks(t, "yaml") {
		if !strings.HasPrefix(config, "scrape_configs:") {
			continue // of the exporter
		}
		checked++
		file := filepath.Join(t.TempDir(), "prometheus.yml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if output, err := command(t, filepath.Join(prometheusDir, "promtool"), "check", "config", file).CombinedOutput(); err != nil {
			t.Errorf("promtool check config: %v\n%s", err, output)
		}
	}
	if checked == 0 {
		t.Error("the README scrapes nothing")
	}
}

// The demonstration has a token for each of the README's queries.
func TestReadmeQueriesFindSomethingInTheDemo(t *testing.T) {
	prometheus := startPrometheus(t, startDemo(t))
	for _, queries := range blocks(t, "promql") {
		for expression := range strings.SplitSeq(strings.TrimSpace(queries), "\n\n") {
			eventually(t, func(ctx context.Context) error {
				result, err := query(ctx, prometheus, expression)
				if err == nil && len(result) == 0 {
					err = fmt.Errorf("it finds nothing: %s", expression)
				}
				return err
			})
		}
	}
}
