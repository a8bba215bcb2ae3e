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

// stageUnits copies the units to where their exporter is there to be found, with
// or without the drop-in.
func stageUnits(t *testing.T, dropIn bool) (dir string) {
	t.Helper()
	executable, err := os.Executable() // any will do
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
				// What systemd ignores, such as a misspelled setting, is no failure to it.
				stdout, stderr := run(t, "systemd-analyze", "verify", "--man=no", filepath.Join(dir, unit))
				if stdout+stderr != "" {
					t.Errorf("systemd-analyze verify %s:\n%s%s", unit, stdout, stderr)
				}
			}
			// In tenths: an exposure of 2.0 at the most.
			run(t, "systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", filepath.Join(dir, "truefoundry_exporter.service"))
		})
	}
}

// Proves that the checks above check something.
func TestSystemdSeesMistakes(t *testing.T) {
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

// The keys that are copied at the start are those that are watched.
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
		t.Errorf("credentials are copied from %q, and %q is watched", copied, watched)
	}
}

// setting returns the last value of a setting of a unit that starts so.
func setting(t *testing.T, file, start string) string {
	t.Helper()
	all := regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(start)+`(.*)$`).FindAllStringSubmatch(read(t, file), -1)
	if len(all) == 0 {
		t.Fatalf("%s has no %s", file, start)
	}
	return all[len(all)-1][1]
}

// The exporter finds nothing wrong with what the unit starts it with.
func TestSystemdStartsTheExporter(t *testing.T) {
	args, err := strconv.Unquote(setting(t, "systemd/truefoundry_exporter.default", "ARGS="))
	if err != nil {
		t.Fatal(err)
	}
	credentials := t.TempDir()
	const key = "api-key"
	if loaded := setting(t, "systemd/truefoundry_exporter.service", "LoadCredential="); !strings.HasPrefix(loaded, key+":") {
		t.Errorf("the credential is %s, want it as %s", loaded, key)
	}
	write(t, filepath.Join(credentials, key), "not-a-key-of-anybody\n")

	command := setting(t, "systemd/truefoundry_exporter.service", "ExecStart="+installed+" ")
	if !strings.Contains(command, "%d/") || !strings.HasSuffix(command, " $ARGS") {
		t.Fatalf("ExecStart= has neither the credential nor $ARGS: %s", command)
	}
	// systemd splits $ARGS at spaces, too.
	check := func(credentials string) *exec.Cmd {
		flags := strings.Fields(strings.NewReplacer("%d", credentials, "$ARGS", args).Replace(command))
		cmd := exec.CommandContext(t.Context(), exporter, append(flags, "--config.check")...)
		cmd.Env = []string{} // in which a key may be
		return cmd
	}
	if output, err := check(credentials).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	// Proves that it reads the key.
	if output, err := check(t.TempDir()).CombinedOutput(); err == nil {
		t.Errorf("without a key all is well, too:\n%s", output)
	}
}

// A scrape in flight has the time that the exporter gives it.
func TestSystemdWaitsForAScrape(t *testing.T) {
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
		t.Errorf("systemd waits for %v (%v), and a scrape may take %v", stop, err, timeout)
	}
}

// docs/configuration.md has all flags; a test of the exporter compares it with the code.
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
