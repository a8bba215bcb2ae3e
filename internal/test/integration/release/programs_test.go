// Package release tests the files of a release and the scripts in .ci/ that build and
// publish it.
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

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/subprocess"
)

const repository = "../../../.."

// The Makefile sets these.
var (
	dist   = os.Getenv("RELEASE_DIST")
	helm   = os.Getenv("HELM")
	cosign = os.Getenv("COSIGN")
)

func TestMain(m *testing.M) {
	if err := subprocess.RequireEnv("`make release-check`", "RELEASE_DIST", "HELM", "COSIGN"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// command returns a command with additional environment variables.
func command(ctx context.Context, env []string, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), env...)
	return cmd
}

// run runs a program and returns its output. The test fails if the program fails.
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
