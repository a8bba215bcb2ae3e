package repository

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/docstest"
)

// onGitHub is the address of the repository's files.
const onGitHub = "https://github.com/truefoundry-community/truefoundry_exporter/blob/main/"

// The README is an overview: details are in docs/.
func TestReadmeIsShort(t *testing.T) {
	t.Chdir(top)
	const most = 180
	if lines := strings.Count(read(t, "README.md"), "\n"); lines > most {
		t.Errorf("README.md has %d lines, want at most %d: move details to docs/", lines, most)
	}
}

// The landing page and the log link to a section for each reason.
func TestEachReasonIsExplained(t *testing.T) {
	t.Chdir(top)
	const document = "docs/troubleshooting.md"
	_, reasons, found := strings.Cut(read(t, document), "\n## The listing fails\n")
	if !found {
		t.Fatalf("%s has no section for failures", document)
	}
	var got, want []string
	for _, heading := range regexp.MustCompile(`(?m)^## (.*)$`).FindAllStringSubmatch(reasons, -1) {
		got = append(got, heading[1])
	}
	for _, reason := range client.Reasons() {
		want = append(want, string(reason))
		if link := onGitHub + document + "#" + string(reason); collector.HelpURL(reason) != link {
			t.Errorf("the help for %s is %s, want %s", reason, collector.HelpURL(reason), link)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s explains the reasons\n%q, the client has\n%q", document, got, want)
	}
}

func TestEachMetricIsInTheDocument(t *testing.T) {
	t.Chdir(top)
	const document = "docs/metrics.md"
	got := submatches(t, document, "(?m)^\\| `(truefoundry_[a-z_]+)` \\|")
	slices.Sort(got)
	if want := strings.Fields(read(t, "testdata/metrics.txt")); !slices.Equal(got, want) {
		t.Errorf("%s has other metrics than the exporter:\n%s", document, docstest.Diff(strings.Join(got, "\n"), strings.Join(want, "\n")))
	}
}

// The benchmark measures how many series a token usually has.
func TestDocumentsKnowHowManySeriesATokenHas(t *testing.T) {
	t.Chdir(top)
	most := strings.Count(read(t, "testdata/metrics.txt"), "truefoundry_token_")
	want := append(submatches(t, "internal/test/integration/bench/RESULTS.md", `and (\d+) series a token`), strconv.Itoa(most))
	for _, document := range []string{"docs/metrics.md", "deploy/helm/truefoundry-exporter/values.yaml"} {
		var got []string
		for _, match := range regexp.MustCompile(`token has about (\d+) (?:series )?and at most (\d+)`).FindAllStringSubmatch(read(t, document), -1) {
			got = append(got, match[1:]...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s says that a token has %q series, want %q, usually and at most: correct the numbers by hand", document, got, want)
		}
	}
}

func TestReadmeNamesMetricsThatExist(t *testing.T) {
	t.Chdir(top)
	known := strings.Fields(read(t, "testdata/metrics.txt"))
	for _, name := range regexp.MustCompile(`\btruefoundry_[a-z]+_[a-z0-9_]+`).FindAllString(read(t, "README.md"), -1) {
		if !slices.Contains(known, name) && !strings.HasPrefix(name, "truefoundry_exporter_") {
			t.Errorf("README.md names %s, which does not exist", name)
		}
	}
}

// Relative links, and links to the repository's files on GitHub, lead to files and
// headings that exist.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Chdir(top)
	for _, file := range textFiles(t) {
		text := read(t, file)
		var links []string
		if filepath.Ext(file) == ".md" {
			links = docstest.Links(text)
		}
		for _, link := range regexp.MustCompile(regexp.QuoteMeta(onGitHub)+`[\w./-]+(#[\w-]*)?`).FindAllString(text, -1) {
			links = append(links, strings.TrimRight(link, "."))
		}
		for _, link := range links {
			path, anchor, _ := strings.Cut(link, "#")
			target := filepath.Join(filepath.Dir(file), path)
			if inRepository, absolute := strings.CutPrefix(path, onGitHub); absolute {
				target = inRepository
			} else if strings.Contains(path, ":") {
				continue
			}
			if path == "" {
				target = file
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which does not exist", file, link)
				continue
			}
			if anchor != "" && !slices.Contains(docstest.Anchors(read(t, target)), anchor) {
				t.Errorf("%s links to %s, where no heading has that anchor", file, link)
			}
		}
	}
}

func TestDocumentsNameTestsThatExist(t *testing.T) {
	t.Chdir(top)
	var code strings.Builder
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			code.WriteString(read(t, path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, file := range textFiles(t) {
		if filepath.Ext(file) != ".md" {
			continue
		}
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(read(t, file), -1) {
			named++
			if !strings.Contains(code.String(), "func "+name+"(") {
				t.Errorf("%s names %s, which does not exist", file, name)
			}
		}
	}
	if named == 0 {
		t.Error("no document names a test")
	}
}

// textFiles returns the files that may contain links.
func textFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(entry.Name(), ".") && path != "." && path != ".github"
		if entry.IsDir() && (hidden || entry.Name() == "node_modules" || path == "dist") {
			return filepath.SkipDir
		}
		if entry.Type().IsRegular() && slices.Contains([]string{".md", ".yml", ".yaml", ".json", ".html"}, filepath.Ext(path)) {
			files = append(files, path)
		}
		return nil
	})
	if err != nil || !slices.Contains(files, "README.md") || !slices.Contains(files, ".github/ISSUE_TEMPLATE/bug.yml") {
		t.Fatal(err, files)
	}
	return files
}
