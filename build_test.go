package main

import (
	"maps"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/common/version"
)

// The linker ignores an -X flag for a variable that does not exist. Naming the
// variables here makes the compiler notice when one of them is renamed.
var buildVariables = map[string]*string{
	"github.com/prometheus/common/version.Version":   &version.Version,
	"github.com/prometheus/common/version.Revision":  &version.Revision,
	"github.com/prometheus/common/version.Branch":    &version.Branch,
	"github.com/prometheus/common/version.BuildUser": &version.BuildUser,
	"github.com/prometheus/common/version.BuildDate": &version.BuildDate,
}

func TestBuildsSetTheSameVariables(t *testing.T) {
	want := slices.Sorted(maps.Keys(buildVariables))
	for _, file := range []string{".promu.yml", "Makefile", "Dockerfile"} {
		got := submatches(t, file, `-X\s+([^=\s]+)=`)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s sets %q, want %q", file, got, want)
		}
	}
}

func TestBuildsUseTheSameGo(t *testing.T) {
	want := submatches(t, "go.mod", `(?m)^go (\d+\.\d+)`)
	if len(want) != 1 {
		t.Fatalf("go.mod names the Go versions %q, want one", want)
	}
	for file, pattern := range map[string]string{
		".promu.yml":                 `(?m)^\s+version: (\S+)$`,
		"Dockerfile":                 `(?m)^FROM golang:(\d+\.\d+)`,
		"internal/bench/go.mod":      `(?m)^go (\d+\.\d+)`,
		"internal/charttest/go.mod":  `(?m)^go (\d+\.\d+)`,
		"internal/deploytest/go.mod": `(?m)^go (\d+\.\d+)`,
		"internal/e2e/go.mod":        `(?m)^go (\d+\.\d+)`,
		"internal/kubernetes/go.mod": `(?m)^go (\d+\.\d+)`,
	} {
		if got := submatches(t, file, pattern); !slices.Equal(got, want) {
			t.Errorf("%s names the Go versions %q, go.mod %q", file, got, want)
		}
	}
}

func TestTheWorkflowRunsWhatTheChecksRun(t *testing.T) {
	want := submatches(t, ".ci/run", `(?m)^make (\S+)$`)
	if len(want) == 0 {
		t.Fatal(".ci/run makes nothing")
	}
	want = append(want, "vulncheck") // which needs the internet
	if got := submatches(t, ".github/workflows/ci.yml", `(?m)^ +- run: make (\S+)$`); !slices.Equal(got, want) {
		t.Errorf("the workflow makes %q, want %q", got, want)
	}
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
