package release

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// newRepository creates a repository with the files that .ci/set-version and
// .ci/release-notes read, and with the given changelog.
func newRepository(t *testing.T, changelog string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{".ci/set-version", ".ci/release-notes", "VERSION", "deploy/helm/truefoundry-exporter/Chart.yaml"} {
		to := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content(t, filepath.Join(repository, file)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte(changelog), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "git", "-C", dir, "init", "--quiet")
	return dir
}

const changelog = `## Unreleased

* [FEATURE] One.
* [FEATURE] Two,
  of two lines.

## 9.8.0 / 2026-01-02

* [FEATURE] Before.
`

func TestSetVersion(t *testing.T) {
	for _, v := range []string{"9.9.0", "10.0.0-rc.1"} {
		t.Run(v, func(t *testing.T) {
			dir := newRepository(t, changelog)
			run(t, nil, filepath.Join(dir, ".ci/set-version"), v)

			if got := string(content(t, filepath.Join(dir, "VERSION"))); got != v+"\n" {
				t.Errorf("VERSION is %q", got)
			}
			chart := string(content(t, filepath.Join(dir, "deploy/helm/truefoundry-exporter/Chart.yaml")))
			for _, want := range []string{"\nversion: " + v + "\n", "\nappVersion: " + v + "\n", "image: ghcr.io/truefoundry-community/truefoundry_exporter:" + v + "\n"} {
				if !strings.Contains(chart, want) {
					t.Errorf("%q is missing in\n%s", want, chart)
				}
			}
			first, rest, _ := strings.Cut(string(content(t, filepath.Join(dir, "CHANGELOG.md"))), "\n")
			if !regexp.MustCompile(`^## `+regexp.QuoteMeta(v)+` / \d{4}-\d\d-\d\d$`).MatchString(first) || "## Unreleased\n"+rest != changelog {
				t.Errorf("the changelog is\n%s\n%s", first, rest)
			}
			want := "* [FEATURE] One.\n* [FEATURE] Two,\n  of two lines.\n\n"
			if got := run(t, nil, filepath.Join(dir, ".ci/release-notes")); got != want {
				t.Errorf("the notes are\n%q, want\n%q", got, want)
			}
		})
	}
}

// The version of an unreleased repository can be released, and all of its changes are in
// the notes.
func TestSetVersionOfTheFirstRelease(t *testing.T) {
	dir := newRepository(t, "## Unreleased\n\n* [FEATURE] One.\n")
	run(t, nil, filepath.Join(dir, ".ci/set-version"), version(t))
	if got, want := run(t, nil, filepath.Join(dir, ".ci/release-notes")), "* [FEATURE] One.\n"; got != want {
		t.Errorf("the notes are\n%q, want\n%q", got, want)
	}
}

func TestInvalidVersionsAndChangelogs(t *testing.T) {
	for name, test := range map[string]struct {
		changelog, script string
		args              []string
		want              string
	}{
		"a version with two numbers":  {changelog, "set-version", []string{"1.2"}, "usage: "},
		"a tag instead of a version":  {changelog, "set-version", []string{"v1.2.3"}, "usage: "},
		"no version":                  {changelog, "set-version", nil, "usage: "},
		"a version that exists":       {changelog, "set-version", []string{"9.8.0"}, "CHANGELOG.md has a version 9.8.0 already"},
		"a version without changes":   {"## 9.8.0 / 2026-01-02\n", "set-version", []string{"9.9.0"}, "nothing has changed"},
		"notes of unreleased changes": {changelog, "release-notes", nil, `begins with "## Unreleased"`},
		"notes of another version":    {"## 9.8.0 / 2026-01-02\n", "release-notes", nil, `begins with "## 9.8.0 / 2026-01-02"`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newRepository(t, test.changelog)
			output, err := command(t.Context(), nil, filepath.Join(dir, ".ci", test.script), test.args...).CombinedOutput()
			if err == nil || !strings.Contains(string(output), test.want) {
				t.Errorf("%v, want %q in %s", err, test.want, output)
			}
			if got := string(content(t, filepath.Join(dir, "CHANGELOG.md"))); got != test.changelog {
				t.Errorf("the changelog was modified:\n%s", got)
			}
		})
	}
}

func TestTheChangelogBeginsWithUnreleasedChangesOrTheVersion(t *testing.T) {
	first, _, _ := strings.Cut(string(content(t, filepath.Join(repository, "CHANGELOG.md"))), "\n")
	if first != "## Unreleased" && !strings.HasPrefix(first, "## "+version(t)+" / ") {
		t.Errorf("CHANGELOG.md begins with %q", first)
	}
}
