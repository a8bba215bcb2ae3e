package repository

import (
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/prometheus/common/version"
	"go.yaml.in/yaml/v4"
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

func TestPromuBuildsAsMakeDoes(t *testing.T) {
	t.Chdir(top)
	want := slices.Sorted(maps.Keys(buildVariables))
	for _, file := range []string{".promu.yml", "Makefile"} {
		got := submatches(t, file, `-X\s+([^=\s]+)=`)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s sets %q, want %q", file, got, want)
		}
	}
	flags := submatches(t, "Makefile", `CGO_ENABLED=0 \$\(GO\) build (.*) -ldflags`)
	if got := submatches(t, ".promu.yml", `(?m)^    flags: (.*)$`); !slices.Equal(got, flags) || len(got) != 1 {
		t.Errorf(".promu.yml has the flags %q, the Makefile %q", got, flags)
	}
	if got := submatches(t, ".promu.yml", `(?m)^    cgo: (.*)$`); !slices.Equal(got, []string{"false"}) {
		t.Errorf(".promu.yml sets cgo to %q", got)
	}
}

// Everything else that builds the exporter does it with make.
func TestFlagsOfTheBuildExistOnce(t *testing.T) {
	t.Chdir(top)
	scripts, err := filepath.Glob(".ci/*")
	if err != nil {
		t.Fatal(err)
	}
	workflows, err := filepath.Glob(".github/workflows/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range slices.Concat(scripts, workflows, []string{"Dockerfile"}) {
		if got := submatches(t, file, `(go build|-ldflags|-X github)`); len(got) > 0 {
			t.Errorf("%s has %q", file, got)
		}
	}
	for file, command := range map[string]string{"Dockerfile": "build", ".ci/release": "build", ".github/workflows/release.yml": "release"} {
		if got := submatches(t, file, `\bmake (?:--no-print-directory )?(\w+)`); !slices.Contains(got, command) {
			t.Errorf("%s makes %q, want %s", file, got, command)
		}
	}
}

func TestBuildsUseTheSameGo(t *testing.T) {
	t.Chdir(top)
	want := submatches(t, "go.mod", `(?m)^go (\d+\.\d+)`)
	if len(want) != 1 {
		t.Fatalf("go.mod names the Go versions %q, want one", want)
	}
	for file, pattern := range map[string]string{
		".promu.yml":                       `(?m)^\s+version: (\S+)$`,
		"Dockerfile":                       `(?m)^FROM golang:(\d+\.\d+)`,
		"internal/test/integration/go.mod": `(?m)^go (\d+\.\d+)`,
		"internal/test/kubernetes/go.mod":  `(?m)^go (\d+\.\d+)`,
	} {
		if got := submatches(t, file, pattern); !slices.Equal(got, want) {
			t.Errorf("%s names the Go versions %q, go.mod %q", file, got, want)
		}
	}
	// In each job that builds. An action that reads go.mod would install the oldest patch version.
	for _, file := range []string{".github/workflows/ci.yml", ".github/workflows/release.yml"} {
		installs := submatches(t, file, `uses: (actions/setup-go)@`)
		got := submatches(t, file, `go-version: "(.+)"\n +check-latest: true\b`)
		if len(got) != len(installs) || len(got) == 0 {
			t.Errorf("%s installs Go %d times, and %d times the latest patch version", file, len(installs), len(got))
		}
		for _, v := range got {
			if v != want[0] {
				t.Errorf("%s installs Go %s, go.mod names %s", file, v, want[0])
			}
		}
	}
}

func TestWorkflowsInstallWhatTheChecksInstall(t *testing.T) {
	t.Chdir(top)
	for file, want := range map[string]int{".ci/run": 1, ".github/workflows/ci.yml": 1} {
		if got := submatches(t, file, `(?m)^(?: +- run: sudo )?(\.ci/install-packages)$`); len(got) != want {
			t.Errorf("%s installs packages %d times, want %d", file, len(got), want)
		}
	}
}

func TestTheWorkflowRunsWhatTheChecksRun(t *testing.T) {
	t.Chdir(top)
	want := submatches(t, ".ci/run", `(?m)^make (\S+)$`)
	if len(want) == 0 {
		t.Fatal(".ci/run makes nothing")
	}
	want = append(want, "vulncheck") // which needs the internet
	if got := submatches(t, ".github/workflows/ci.yml", `(?m)^ +- run: make (\S+)$`); !slices.Equal(got, want) {
		t.Errorf("the workflow makes %q, want %q", got, want)
	}
}

// A release is only published if all checks of CI have succeeded.
func TestEachJobOfAReleaseNeedsTheChecks(t *testing.T) {
	t.Chdir(top)
	var workflow struct {
		Jobs map[string]struct{ Uses, Needs string }
	}
	if err := yaml.Load([]byte(read(t, ".github/workflows/release.yml")), &workflow); err != nil {
		t.Fatal(err)
	}
	for name, job := range workflow.Jobs {
		if name == "checks" && job.Uses != "./.github/workflows/ci.yml" {
			t.Errorf("the checks are those of %q", job.Uses)
		}
		if name != "checks" && job.Needs != "checks" {
			t.Errorf("the job %s needs %q", name, job.Needs)
		}
	}
	if len(workflow.Jobs) < 2 {
		t.Errorf("the jobs are %v", workflow.Jobs)
	}
	if got := submatches(t, ".github/workflows/ci.yml", `(?m)^  (workflow_call):$`); len(got) != 1 {
		t.Error("the workflow Release cannot run the checks")
	}
	// With github.workflow, both workflows would have the same group, and GitHub would cancel them.
	if got := submatches(t, ".github/workflows/ci.yml", `(?m)^  group: (.*)$`); !slices.Equal(got, []string{"CI-${{ github.ref }}"}) {
		t.Errorf("the concurrency group of the checks is %q", got)
	}
}
