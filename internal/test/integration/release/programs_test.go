// Package release tests what a release publishes, and the scripts in .ci/ that
// build and publish it. It is a module of its own, so that the go.mod of the
// exporter stays short.
package release

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const repository = "../../../.."

// make has built a release, and says where it is and what published it.
var (
	dist   = os.Getenv("RELEASE_DIST")
	helm   = os.Getenv("HELM")
	cosign = os.Getenv("COSIGN")
)

func TestMain(m *testing.M) {
	for _, env := range []string{"RELEASE_DIST", "HELM", "COSIGN"} {
		if os.Getenv(env) == "" {
			fmt.Fprintf(os.Stderr, "These tests need a release and installed programs, and %s does not say where. Run them with `make release-check` at the top of the repository.\n", env)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// command is a program that gets the environment as well as this process's own.
func command(ctx context.Context, env []string, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// run runs a program that has to succeed, and returns what it wrote to stdout.
func run(t *testing.T, env []string, path string, args ...string) string {
	t.Helper()
	cmd := command(t.Context(), env, path, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(path), strings.Join(args, " "), err, &stdout, &stderr)
	}
	return stdout.String()
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func version(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(string(content(t, filepath.Join(repository, "VERSION"))))
}
