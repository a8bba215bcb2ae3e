package repository

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/docstest"
)

// The table in the chart's README matches values.yaml. Each value has a description.
func TestChartReadmeHasTheValues(t *testing.T) {
	t.Chdir(top)
	const chart = "deploy/helm/truefoundry-exporter/"
	var root yaml.Node
	if err := yaml.Load([]byte(read(t, chart+"values.yaml")), &root); err != nil {
		t.Fatal(err)
	}
	table := "| value | default | meaning |\n|---|---|---|\n" + strings.Join(valueRows(t, "", root.Content[0]), "")
	docstest.Region(t, chart+"README.md", "values", table, *update)
}

// valueRows returns the rows of the table for the values of a mapping.
func valueRows(t *testing.T, path string, mapping *yaml.Node) (all []string) {
	t.Helper()
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		description := ""
		for line := range strings.Lines(key.HeadComment) {
			if text, found := strings.CutPrefix(line, "# -- "); found {
				description = strings.TrimSpace(text)
			}
		}
		if description == "" {
			if value.Kind != yaml.MappingNode || len(value.Content) == 0 {
				t.Errorf("%s has no description in values.yaml", name)
			}
			all = append(all, valueRows(t, name, value)...)
			continue
		}
		var defaultValue any
		if err := value.Load(&defaultValue); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(defaultValue)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("| `%s` | `%s` | %s |\n", name, text, strings.ReplaceAll(description, "|", `\|`)))
	}
	return all
}
