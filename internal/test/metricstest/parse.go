package metricstest

import (
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Families are metric families by name.
type Families map[string]*dto.MetricFamily

// Parse parses an exposition. The test fails if it is invalid or repeats a series.
func Parse(t testing.TB, text string) Families {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("invalid exposition: %v in\n%s", err, text)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		if series := line[:strings.LastIndexByte(line, ' ')+1]; !strings.HasPrefix(line, "#") && seen[series] {
			t.Errorf("repeated series: %s", series)
		} else {
			seen[series] = true
		}
	}
	return families
}

// Values returns the values of the series of a family by the value of a label. labels are
// pairs of names and values that the series must have.
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
