package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/controlplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/demo"
)

// What has to know each kind of token, beside the client. The landing page's own
// test names a kind that it does not explain.
func TestEachKindIsKnownEverywhere(t *testing.T) {
	demonstrated, end, err := demo.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for _, kind := range client.Kinds() {
		for _, file := range []string{
			"README.md", "docs/api.md", "deploy/targets.yml",
			"deploy/helm/truefoundry-exporter/values.yaml", "deploy/helm/truefoundry-exporter/values.schema.json",
		} {
			if text := read(t, file); !strings.Contains(text, string(kind)) {
				t.Errorf("%s does not mention the kind %s", file, kind)
			}
		}
		if !slices.ContainsFunc(demonstrated, func(target config.Target) bool { return slices.Contains(target.Kinds, kind) }) {
			t.Errorf("the demonstration has no %s", kind)
		}
		cp := serveTokens(t, "key", 1, 1)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s%s/v1/%ss?limit=1&offset=0", cp.URL, controlplane.Prefix, kind), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer key")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("the control plane of the tests does not list %ss: %s", kind, resp.Status)
		}
	}
}

// A flag describes the one target that it makes, and is refused beside --config.file;
// or it is a setting of all targets. The README documents all of them.
func TestEachFlagIsKnownEverywhere(t *testing.T) {
	settings := map[string]string{
		"truefoundry.creator-label": "id", "truefoundry.page-size": "500", "truefoundry.max-tokens": "10",
		"truefoundry.max-concurrency": "2", "truefoundry.timeout": "10s", "truefoundry.timeout-offset": "1s",
	}
	app := kingpin.New("truefoundry_exporter", "")
	addFlags(app)
	readme := read(t, "README.md")
	for _, flag := range app.Model().Flags {
		if strings.HasPrefix(flag.Name, "help") || flag.Name == "version" || flag.Hidden {
			continue
		}
		if !strings.Contains(readme, "| `--"+flag.Name+"` |") {
			t.Errorf("README.md does not document --%s", flag.Name)
		}
		if !strings.HasPrefix(flag.Name, "truefoundry.") {
			continue
		}
		value, isSetting := settings[flag.Name]
		delete(settings, flag.Name)
		if !isSetting {
			value = "virtual-account"
		}
		app := kingpin.New("truefoundry_exporter", "")
		f := addFlags(app)
		if _, err := app.Parse([]string{"--config.file=targets.yml", "--" + flag.Name + "=" + value}); err != nil {
			t.Fatal(err)
		}
		err := f.check()
		refused := err != nil && strings.Contains(err.Error(), "--config.file brings its own targets: leave out --"+flag.Name)
		switch {
		case isSetting && err != nil:
			t.Errorf("--%s is a setting of all targets, and refused beside --config.file: %v", flag.Name, err)
		case !isSetting && !refused:
			t.Errorf("--%s is neither refused beside --config.file nor known as a setting of all targets: %v", flag.Name, err)
		}
	}
	for name := range settings {
		t.Errorf("there is no flag --%s", name)
	}
}
