package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const installed = "/usr/local/bin/truefoundry_exporter"

// stageUnits copies the units, with or without the drop-in, and replaces the path of the
// exporter with that of an existing program.
func stageUnits(t *testing.T, dropIn bool) (dir string) {
	t.Helper()
	executable, err := os.Executable() // any program
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for _, unit := range []string{"truefoundry_exporter.service", "truefoundry_exporter-key.path", "truefoundry_exporter-key.service"} {
		write(t, filepath.Join(dir, unit), strings.ReplaceAll(read(t, "systemd/"+unit), installed, executable))
	}
	if dropIn {
		write(t, filepath.Join(dir, "truefoundry_exporter.service.d", "several-targets.conf"),
			strings.ReplaceAll(read(t, "systemd/several-targets.conf"), installed, executable))
	}
	return dir
}

func TestSystemdUnits(t *testing.T) {
	for name, dropIn := range map[string]bool{"one target": false, "several targets": true} {
		t.Run(name, func(t *testing.T) {
			dir := stageUnits(t, dropIn)
			for _, unit := range []string{"truefoundry_exporter.service", "truefoundry_exporter-key.path", "truefoundry_exporter-key.service"} {
				// systemd-analyze succeeds if it ignores something, such as a misspelled setting.
				stdout, stderr := run(t, "systemd-analyze", "verify", "--man=no", filepath.Join(dir, unit))
				if stdout+stderr != "" {
					t.Errorf("systemd-analyze verify %s:\n%s%s", unit, stdout, stderr)
				}
			}
			// The threshold is an exposure of 2.0.
			run(t, "systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", filepath.Join(dir, "truefoundry_exporter.service"))
		})
	}
}

// This tests the check of TestSystemdUnits.
func TestSystemdAnalyzeFindsMisspelledSettings(t *testing.T) {
	unit := filepath.Join(stageUnits(t, false), "truefoundry_exporter.service")
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	write(t, unit, strings.Replace(string(text), "PrivateTmp=", "PrivateTemp=", 1))
	if _, stderr := run(t, "systemd-analyze", "verify", "--man=no", unit); !strings.Contains(stderr, "PrivateTemp") {
		t.Errorf("systemd-analyze verify does not complain about PrivateTemp=: %s", stderr)
	}
}

// The key files that systemd passes as credentials are those that the path unit watches.
func TestSystemdWatchesTheKeys(t *testing.T) {
	settings := func(name string, file ...string) (values []string) {
		for _, f := range file {
			for _, match := range regexp.MustCompile(`(?m)^`+name+`=(?:\w[\w-]*:)?(/.+)$`).FindAllStringSubmatch(read(t, "systemd/"+f), -1) {
				values = append(values, match[1])
			}
		}
		return values
	}
	copied := settings("LoadCredential", "truefoundry_exporter.service", "several-targets.conf")
	watched := settings("PathChanged", "truefoundry_exporter-key.path")
	if len(copied) != 2 || strings.Join(copied, " ") != strings.Join(watched, " ") {
		t.Errorf("the credentials are %q, but the path unit watches %q", copied, watched)
	}
}

// setting returns the rest of the last line in a file that begins with start.
func setting(t *testing.T, file, start string) string {
	t.Helper()
	all := regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(start)+`(.*)$`).FindAllStringSubmatch(read(t, file), -1)
	if len(all) == 0 {
		t.Fatalf("%s has no %s", file, start)
	}
	return all[len(all)-1][1]
}

// The exporter accepts the arguments in the unit.
func TestSystemdArguments(t *testing.T) {
	args, err := strconv.Unquote(setting(t, "systemd/truefoundry_exporter.default", "ARGS="))
	if err != nil {
		t.Fatal(err)
	}
	credentials := t.TempDir()
	const key = "api-key"
	if loaded := setting(t, "systemd/truefoundry_exporter.service", "LoadCredential="); !strings.HasPrefix(loaded, key+":") {
		t.Errorf("the credential is %s, want the name %s", loaded, key)
	}
	write(t, filepath.Join(credentials, key), "not-a-real-key\n")

	command := setting(t, "systemd/truefoundry_exporter.service", "ExecStart="+installed+" ")
	if !strings.Contains(command, "%d/") || !strings.HasSuffix(command, " $ARGS") {
		t.Fatalf("ExecStart= lacks the credential or $ARGS: %s", command)
	}
	// Like here, systemd splits $ARGS at spaces.
	check := func(credentials string) *exec.Cmd {
		flags := strings.Fields(strings.NewReplacer("%d", credentials, "$ARGS", args).Replace(command))
		cmd := exec.CommandContext(t.Context(), exporter, append(flags, "--config.check")...)
		cmd.Env = []string{} // without a key
		return cmd
	}
	if output, err := check(credentials).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	// Without the key file, the check must fail.
	if output, err := check(t.TempDir()).CombinedOutput(); err == nil {
		t.Errorf("the exporter does not read the key:\n%s", output)
	}
}

// systemd waits longer than a scrape in flight may take.
func TestSystemdWaitsForScrapes(t *testing.T) {
	match := regexp.MustCompile("\\| `--truefoundry.timeout` \\| `([^`]+)`").FindStringSubmatch(read(t, "../docs/configuration.md"))
	if match == nil {
		t.Fatal("docs/configuration.md has no default of --truefoundry.timeout")
	}
	timeout, err := time.ParseDuration(match[1])
	if err != nil {
		t.Fatal(err)
	}
	stop, err := time.ParseDuration(setting(t, "systemd/truefoundry_exporter.service", "TimeoutStopSec="))
	if err != nil || stop <= timeout {
		t.Errorf("systemd waits for %v (%v), but a scrape may take %v", stop, err, timeout)
	}
}

// docs/configuration.md documents all flags, which another test checks.
func TestFlagsExist(t *testing.T) {
	document := read(t, "../docs/configuration.md")
	files, err := filepath.Glob(filepath.Join(deploy, "systemd", "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		for _, flag := range regexp.MustCompile(`--(?:config|log|truefoundry|web)\.[a-z.-]+`).FindAllString(read(t, "systemd/"+filepath.Base(file)), -1) {
			if !strings.Contains(document, "| `"+strings.TrimRight(flag, ".-")+"` |") {
				t.Errorf("%s: the exporter has no flag %s", filepath.Base(file), flag)
			}
		}
	}
}
