package client_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

func TestEachFieldIsDocumented(t *testing.T) {
	const document = "../docs/api.md"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	decoded := append([]client.Field{"id"}, client.Fields()...)
	var documented []client.Field
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllSubmatch(text, -1) {
		documented = append(documented, client.Field(row[1]))
	}
	for _, field := range decoded {
		if !slices.Contains(documented, field) {
			t.Errorf("%s does not document %s", document, field)
		}
	}
	for i, field := range documented {
		if !slices.Contains(decoded, field) || slices.Contains(documented[:i], field) {
			t.Errorf("%s documents %s, which is not decoded or documented twice", document, field)
		}
	}
}
