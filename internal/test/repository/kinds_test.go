package repository

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/demo"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
)

// What has to know each kind of token, beside the client. The landing page's own
// test names a kind that it does not explain.
func TestEachKindIsKnownEverywhere(t *testing.T) {
	t.Chdir(top)
	demonstrated, end, err := demo.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	for _, kind := range client.Kinds() {
		for _, file := range []string{
			"docs/configuration.md", "docs/api.md", "deploy/targets.yml",
			"deploy/helm/truefoundry-exporter/values.yaml", "deploy/helm/truefoundry-exporter/values.schema.json",
		} {
			if text := read(t, file); !strings.Contains(text, string(kind)) {
				t.Errorf("%s does not mention the kind %s", file, kind)
			}
		}
		if !slices.ContainsFunc(demonstrated, func(target config.Target) bool { return slices.Contains(target.Kinds, kind) }) {
			t.Errorf("the demonstration has no %s", kind)
		}
		cp := controlplanetest.Start(t, controlplanetest.Always(nil))
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("%s%s/v1/%ss?limit=1&offset=0", cp.URL, fakecontrolplane.Prefix, kind), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+controlplanetest.Key)
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
