package metricstest

import (
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Families are metrics by the names of their families.
type Families map[string]*dto.MetricFamily

// Parse reads an exposition. The test fails where that is not valid, and where a
// series is there twice.
func Parse(t testing.TB, text string) Families {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("no exposition: %v in\n%s", err, text)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if series := line[:strings.LastIndexByte(line, ' ')+1]; !strings.HasPrefix(line, "#") && seen[series] {
			t.Errorf("there twice: %s", series)
		} else {
			seen[series] = true
		}
	}
	return families
}

// Values are those of the series that have all of the labels, of names and
// values, by the value of one more label.
func (f Families) Values(name, by string, labels ...string) map[string]float64 {
	found := map[string]float64{}
	for _, m := range f[name].GetMetric() {
		has := map[string]string{}
		for _, pair := range m.Label {
			has[pair.GetName()] = pair.GetValue()
		}
		matches := true
		for i := 0; i < len(labels); i += 2 {
			matches = matches && has[labels[i]] == labels[i+1]
		}
		if matches {
			found[has[by]] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
		}
	}
	return found
}
