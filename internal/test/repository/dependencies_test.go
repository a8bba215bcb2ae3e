package repository

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each direct dependency has its reason, and each reason a dependency.
func TestDependenciesAreExplained(t *testing.T) {
	t.Chdir(top)
	const document = "docs/dependencies.md"
	var module struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal([]byte(goTool(t, "mod", "edit", "-json")), &module); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, required := range module.Require {
		if !required.Indirect {
			want = append(want, required.Path)
		}
	}
	inBinary := modulesOfBinary(t)
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\|$").FindAllStringSubmatch(read(t, document), -1) {
		got = append(got, row[1])
		if slices.Contains(inBinary, row[1]) == strings.HasPrefix(row[2], "tests only: ") || row[2] == "" {
			t.Errorf("%s says of %s: %s", document, row[1], row[2])
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s explains\n%q, and go.mod requires\n%q", document, got, want)
	}
	if text := fmt.Sprintf(" %d modules get into the binary", len(inBinary)); !strings.Contains(read(t, document), text) {
		t.Errorf("%s does not say that%s:\n%q", document, text, inBinary)
	}
}

// The demonstration needs a control plane; nothing else of the tests gets into the
// binary.
func TestBinaryContainsNoTests(t *testing.T) {
	t.Chdir(top)
	const module = "github.com/truefoundry-community/truefoundry_exporter/"
	var got []string
	for path := range strings.FieldsSeq(goTool(t, "list", "-deps", ".")) {
		if strings.HasPrefix(path, module+"internal/test/") {
			got = append(got, path)
		}
	}
	if want := []string{module + "internal/test/fakecontrolplane"}; !slices.Equal(got, want) {
		t.Errorf("the binary contains %q of the tests, want %q", got, want)
	}
}

// modulesOfBinary returns those whose packages are linked for Linux.
func modulesOfBinary(t *testing.T) []string {
	t.Helper()
	modules := strings.Fields(goTool(t, "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}", "."))
	slices.Sort(modules)
	return slices.Compact(modules)
}

func goTool(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(cmd.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return string(output)
}
