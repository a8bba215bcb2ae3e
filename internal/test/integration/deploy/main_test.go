// Package deploy tests the files in deploy/ with the programs that read them.
package deploy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/subprocess"
)

const deploy = "../../../../deploy"

// The Makefile sets these.
var (
	exporter = os.Getenv("E2E_EXPORTER")
	promtool = filepath.Join(os.Getenv("E2E_PROMETHEUS_DIR"), "promtool")
	amtool   = filepath.Join(os.Getenv("E2E_ALERTMANAGER_DIR"), "amtool")
)

func TestMain(m *testing.M) {
	if err := subprocess.RequireEnv("`make deploy-check`", "E2E_EXPORTER", "E2E_PROMETHEUS_DIR", "E2E_ALERTMANAGER_DIR"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for program, debianPackage := range map[string]string{"haproxy": "haproxy", "nginx": "nginx-light", "squid": "squid", "systemd-analyze": "systemd"} {
		if _, err := exec.LookPath(program); err != nil {
			fmt.Fprintf(os.Stderr, "%s is not installed. On Debian, it is in the package %s.\n", program, debianPackage)
			os.Exit(1)
		}
	}
	if err := exec.CommandContext(context.Background(), python, "-c", "import prometheus_client").Run(); err != nil {
		fmt.Fprintf(os.Stderr, "These tests run %s with prometheus_client: %v. Debian has it in the package python3-prometheus-client.\n", python, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// run runs a program, which must succeed, and returns its output.
func run(t *testing.T, path string, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	if failure := cmd.Run(); failure != nil {
		t.Errorf("%s %s: %v\n%s%s", filepath.Base(path), strings.Join(args, " "), failure, &out, &err)
	}
	return out.String(), err.String()
}

// read returns the text of a file in deploy/.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// write writes a file and creates its directory.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load decodes a YAML file in deploy/.
func load(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Load([]byte(read(t, name)), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
