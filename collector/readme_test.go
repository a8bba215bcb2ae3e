package collector_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/docstest"
)

const readme = "../README.md"

func TestReadmeHasEveryMetric(t *testing.T) {
	docstest.Region(t, readme, "metrics", collector.ContractTable(), *collector.Update)
}

// The README shows some lines of the golden file.
func TestReadmeShowsTheExample(t *testing.T) {
	exposition, err := os.ReadFile("testdata/example.prom")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`(?m)^truefoundry_(token_(expiry|last_accessed|next_rotation)_\w+|token_expired|listing_tokens|up)\{.*\n`).FindAllString(string(exposition), -1)
	docstest.Region(t, readme, "example", "```\n"+strings.Join(shown, "")+"```", *collector.Update)
}
