package collector_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/docstest"
)

func TestEachMetricIsDocumented(t *testing.T) {
	const document = "../docs/metrics.md"
	types := map[string]string{}
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(readFile(t, "testdata/everything.prom"), -1) {
		types[found[1]] = found[2]
	}
	for _, name := range collector.TokenMetrics() {
		if types[name] == "" {
			t.Fatalf("testdata/everything.prom has no %s", name)
		}
	}
	docstest.Region(t, document, "token metrics", collector.TokenMetricsTable(types), *collector.Update)
	docstest.Region(t, document, "target metrics", collector.TargetMetricsTable(types), *collector.Update)
}

// The README shows some lines of the golden file.
func TestReadmeShowsTheExample(t *testing.T) {
	shown := regexp.MustCompile(`(?m)^truefoundry_(token_(expiry|last_accessed|next_rotation)_\w+|token_expired|listing_tokens|up)\{.*\n`).FindAllString(readFile(t, "testdata/example.prom"), -1)
	docstest.Region(t, "../README.md", "example", "```\n"+strings.Join(shown, "")+"```", *collector.Update)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
