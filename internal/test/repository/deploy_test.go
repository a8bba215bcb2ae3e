package repository

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

type rule struct {
	Record, Alert string
	Annotations   map[string]string
}

// rules returns those of deploy/prometheus.
func rules(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Load([]byte(read(t, "deploy/prometheus/rules.yml")), &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

// What is deployed asks only for metrics that there are.
func TestDeployedFilesNameOnlyExportedMetrics(t *testing.T) {
	t.Chdir(top)
	known := strings.Fields(read(t, "testdata/metrics.txt"))
	for _, r := range rules(t) {
		if r.Record != "" {
			known = append(known, r.Record)
		}
	}
	known = append(known, "truefoundry_exporter_api_request_duration_seconds_bucket", "truefoundry_exporter_api_request_duration_seconds_count",
		"truefoundry_exporter_api_request_duration_seconds_sum", "truefoundry_exporter")
	files, err := filepath.Glob("deploy/prometheus/rules*.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, "deploy/grafana/dashboard.json", "docs/runbook.md", "docs/metrics.md") {
		names := regexp.MustCompile(`\btruefoundry(_target)?[:_][a-z0-9_:]*[a-z0-9]`).FindAllString(read(t, file), -1)
		if len(names) == 0 {
			t.Errorf("%s names no metric", file)
		}
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			if !slices.Contains(known, name) {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
	}
}

// Each alert has a test, and a section of the runbook that its link leads to.
func TestAlertsAreTestedAndExplained(t *testing.T) {
	t.Chdir(top)
	const runbook = "https://github.com/truefoundry-community/truefoundry_exporter/blob/main/docs/runbook.md#"
	var alerts []string
	tests := read(t, "deploy/prometheus/rules_test.yml")
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		alerts = append(alerts, r.Alert)
		if want := runbook + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s has the runbook %s, want %s", r.Alert, r.Annotations["runbook_url"], want)
		}
		if !strings.Contains(tests, "alertname: "+r.Alert+"\n") {
			t.Errorf("no test says what %s says", r.Alert)
		}
	}
	var sections []string
	for _, found := range regexp.MustCompile(`(?m)^## (TrueFoundry\w+)$`).FindAllStringSubmatch(read(t, "docs/runbook.md"), -1) {
		sections = append(sections, found[1])
	}
	if !slices.Equal(sections, alerts) {
		t.Errorf("the runbook explains\n%q, the alerts are\n%q", sections, alerts)
	}
}
