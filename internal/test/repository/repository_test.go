// Package repository tests that files of the repository agree with each other and
// with the code.
package repository

import (
	"flag"
	"os"
	"regexp"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/docstest"
)

var update = flag.Bool("update", false, "rewrite the regions of documents")

// top is the top of the repository, seen from here. Each test changes to it itself: go
// test does not see what TestMain changes, and would take results for current that
// are not.
const top = "../../.."

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// submatches returns what the pattern's group matched, for every match in the file.
func submatches(t *testing.T, file, pattern string) []string {
	t.Helper()
	var groups []string
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, file), -1) {
		groups = append(groups, match[1])
	}
	return groups
}

func TestDocumentsHaveTheExampleFiles(t *testing.T) {
	t.Chdir(top)
	for _, example := range []struct{ document, region, file string }{
		{"README.md", "scrape", "deploy/prometheus/prometheus.yml"},
		{"docs/configuration.md", "targets", "deploy/targets.yml"},
	} {
		docstest.Region(t, example.document, example.region, "```yaml\n"+read(t, example.file)+"```", *update)
	}
}
