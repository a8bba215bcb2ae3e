package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/docstest"
)

var update = flag.Bool("update", false, "rewrite the regions of documents")

func TestConfigurationHasEveryFlag(t *testing.T) {
	t.Parallel()
	app := kingpin.New(programName, "").Version("")
	addFlags(app)
	var b strings.Builder
	b.WriteString("| flag | default | meaning |\n|---|---|---|\n")
	for _, f := range app.Model().Flags {
		if f.Hidden {
			continue
		}
		value := ""
		if len(f.Default) > 0 && f.Default[0] != "" {
			value = "`" + f.Default[0] + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", f.Name, value, f.Help)
	}
	docstest.Region(t, "docs/configuration.md", "flags", b.String(), *update)
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Flags of one target are rejected with --config.file; the others are settings of all
// targets.
func TestEachFlagIsDocumentedAndChecked(t *testing.T) {
	t.Parallel()
	settings := map[string]string{
		"truefoundry.creator-label": "id", "truefoundry.page-size": "500", "truefoundry.max-tokens": "10",
		"truefoundry.max-concurrency": "2", "truefoundry.timeout": "10s", "truefoundry.timeout-offset": "1s",
	}
	app := kingpin.New("truefoundry_exporter", "")
	addFlags(app)
	document := readFile(t, "docs/configuration.md")
	for _, model := range app.Model().Flags {
		if strings.HasPrefix(model.Name, "help") || model.Name == "version" || model.Hidden {
			continue
		}
		if !strings.Contains(document, "| `--"+model.Name+"` |") {
			t.Errorf("docs/configuration.md does not document --%s", model.Name)
		}
		if !strings.HasPrefix(model.Name, "truefoundry.") {
			continue
		}
		value, isSetting := settings[model.Name]
		delete(settings, model.Name)
		if !isSetting {
			value = "virtual-account"
		}
		app := kingpin.New("truefoundry_exporter", "")
		f := addFlags(app)
		if _, err := app.Parse([]string{"--config.file=targets.yml", "--" + model.Name + "=" + value}); err != nil {
			t.Fatal(err)
		}
		err := f.validate()
		rejected := err != nil && strings.Contains(err.Error(), "--config.file brings its own targets: leave out --"+model.Name)
		switch {
		case isSetting && err != nil:
			t.Errorf("--%s is a setting of all targets, but rejected with --config.file: %v", model.Name, err)
		case !isSetting && !rejected:
			t.Errorf("--%s is neither rejected with --config.file nor listed as a setting of all targets: %v", model.Name, err)
		}
	}
	for name := range settings {
		t.Errorf("there is no flag --%s", name)
	}
}

// Accepted values are in range, and describe a valid target.
func FuzzFlags(f *testing.F) {
	var names []string
	app := kingpin.New(programName, "")
	addFlags(app)
	for _, model := range app.Model().Flags {
		// These name files or, like hidden flags, exit.
		if !model.Hidden && !slices.Contains([]string{"web.config.file", "config.file", "help", "version"}, model.Name) {
			names = append(names, model.Name)
		}
	}
	for i := range names {
		for _, value := range []string{
			"", "0", "1", "-1", "1000", "1001", "1.5", "1e3", "0x10", "99999999999999999999", "1s", "-1s", "25h", "9999999h", "1d", "true", "false", "debug",
			"https://h", "https://me:s3cret@h", ":0", "h:80", "[::1", "vsock://:9100", "/api/svc", "/../x", "id", "virtual-account", "tfy-s3cret", "a\nb", "\xff", "@s3cret",
		} {
			f.Add(uint(i), value)
		}
	}
	f.Fuzz(func(t *testing.T, i uint, value string) {
		name := names[i%uint(len(names))]
		args := []string{"--truefoundry.url=https://acme.example", "--truefoundry.api-key-file=key", "--" + name + "=" + value}
		app := kingpin.New(programName, "").Terminate(func(int) {}).UsageWriter(io.Discard).ErrorWriter(io.Discard)
		parsed := addFlags(app)
		if _, err := app.Parse(args); err != nil {
			if text := parseError(app, args, err).Error(); text == "" {
				t.Error("the error says nothing")
			}
			return
		}
		if err := parsed.validate(); err != nil {
			if strings.Contains(err.Error(), "s3cret") && !strings.HasPrefix(name, "web.") {
				t.Errorf("the error is %q", err)
			}
			return
		}
		if parsed.pageSize < 1 || parsed.pageSize > client.MaxPageSize || parsed.maxTokens < 1 || parsed.maxConcurrency < 1 || parsed.maxRequests < 0 ||
			parsed.timeout <= 0 || parsed.timeout > maxTimeout || parsed.timeoutOffset < 0 {
			t.Errorf("--%s=%q is accepted", name, value)
		}
		for _, address := range *parsed.web.WebListenAddresses {
			if _, _, err := net.SplitHostPort(address); err != nil && !strings.HasPrefix(address, "vsock://") {
				t.Errorf("the address %q is accepted", address)
			}
		}
		target, err := parsed.target()
		if err != nil {
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error is %q", err)
			}
			return
		}
		if target.Name == "" || target.URL.Host == "" || len(target.Kinds) == 0 || target.Credentials == (config.Credentials{}) {
			t.Errorf("--%s=%q makes the target %+v", name, value, target)
		}
	})
}
