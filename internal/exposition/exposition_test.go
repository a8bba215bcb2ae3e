package exposition_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/truefoundry-community/truefoundry_exporter/internal/exposition"
)

// formats are those that are written here.
func formats(t testing.TB) map[string]expfmt.Format {
	t.Helper()
	openMetrics, err := expfmt.NewOpenMetricsFormat(expfmt.OpenMetricsVersion_0_0_1)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]expfmt.Format{
		"text":                  expfmt.NewFormat(expfmt.TypeTextPlain),
		"OpenMetrics 1.0.0":     expfmt.NewFormat(expfmt.TypeOpenMetrics),
		"OpenMetrics 0.0.1":     openMetrics,
		"text with UTF-8 names": expfmt.NewFormat(expfmt.TypeTextPlain) + "; escaping=allow-utf-8",
	}
}

// same checks that families are written as expfmt writes them.
func same(t *testing.T, families []*dto.MetricFamily) {
	t.Helper()
	for name, format := range formats(t) {
		var want, got bytes.Buffer
		encoder := expfmt.NewEncoder(&want, format)
		for _, family := range families {
			if err := encoder.Encode(family); err != nil {
				t.Fatal(err)
			}
		}
		gauges, others := exposition.Split(format, families)
		if len(gauges) != len(families) || len(others) > 0 {
			t.Fatalf("%s: %d of %d families are gauges, %d are not", name, len(gauges), len(families), len(others))
		}
		if err := exposition.Write(&got, format, gauges); err != nil {
			t.Fatal(err)
		}
		if got.String() != want.String() {
			t.Fatalf("%s is\n%s\nwant\n%s", name, got.String(), want.String())
		}
	}
}

func gauge(value float64, labels []*dto.LabelPair) *dto.Metric {
	return &dto.Metric{Label: labels, Gauge: &dto.Gauge{Value: &value}}
}

func family(name, help string, metrics ...*dto.Metric) *dto.MetricFamily {
	return &dto.MetricFamily{Name: &name, Help: &help, Type: dto.MetricType_GAUGE.Enum(), Metric: metrics}
}

func pairs(namesAndValues ...string) (all []*dto.LabelPair) {
	for i := 0; i < len(namesAndValues); i += 2 {
		all = append(all, &dto.LabelPair{Name: &namesAndValues[i], Value: &namesAndValues[i+1]})
	}
	return all
}

func TestGaugesAreWrittenAsExpfmtWritesThem(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	text := func() string {
		parts := []string{"", "a", "é", "🚀", `"`, `\`, "\n", "\r", "\x00", "\u202e", "{", "}", "=", ",", "#", " ", `\n`, `\\"`}
		return parts[random.IntN(len(parts))] + parts[random.IntN(len(parts))]
	}
	values := []float64{
		0, math.Copysign(0, -1), 1, -1, 2, 0.5, 1.5e9, 1767225600, 1767225600.123, 1e21, 1e-7, 100000, 1e6, 123456789,
		math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), math.NaN(),
	}
	for range 200 {
		var (
			families []*dto.MetricFamily
			shared   [][]*dto.LabelPair
		)
		for range random.IntN(50) {
			all := pairs("a", text(), "b", text(), "c", text())
			// Labels that begin alike, or are a part of others, are others.
			shared = append(shared, all, all[:2], all[1:], append(all[:1:1], all[2]))
		}
		for i := range 1 + random.IntN(5) {
			metrics := []*dto.Metric{gauge(values[random.IntN(len(values))], nil)}
			for _, labels := range shared {
				if random.IntN(3) > 0 {
					metrics = append(metrics, gauge(values[random.IntN(len(values))], labels))
				}
			}
			random.Shuffle(len(metrics), func(i, j int) { metrics[i], metrics[j] = metrics[j], metrics[i] })
			families = append(families, family(fmt.Sprintf("family_%d", i), text(), metrics...))
		}
		same(t, families)
	}
}

func TestManyGaugesAreWrittenAsExpfmtWritesThem(t *testing.T) {
	metrics := make([]*dto.Metric, 20_000)
	for i := range metrics {
		metrics[i] = gauge(float64(i), pairs("id", fmt.Sprintf("token-%d", i), "name", `"n"`))
	}
	same(t, []*dto.MetricFamily{family("a", "A.", metrics...), family("b", "B.", metrics...)})
}

func FuzzGauges(f *testing.F) {
	f.Add("help", "value", 1.5)
	f.Add("say \"hi\"\n", "\\\"\n\\n", math.Copysign(0, -1))
	f.Add("\xff", "\xc3\x28", math.Inf(1))
	f.Fuzz(func(t *testing.T, help, label string, value float64) {
		labels := pairs("name", label, "other", help)
		same(t, []*dto.MetricFamily{family("a", help, gauge(value, labels)), family("b", label, gauge(-value, labels), gauge(1/value, nil))})
	})
}

func TestTheRestIsLeftToExpfmt(t *testing.T) {
	counter := &dto.MetricFamily{Type: dto.MetricType_COUNTER.Enum()}
	families := []*dto.MetricFamily{family("a", "A."), counter, family("b", "B.")}
	gauges, others := exposition.Split(expfmt.NewFormat(expfmt.TypeTextPlain), families)
	if len(gauges) != 2 || gauges[0] != families[0] || gauges[1] != families[2] || len(others) != 1 || others[0] != counter {
		t.Errorf("gauges are %v, others %v", gauges, others)
	}
	for _, format := range []expfmt.FormatType{expfmt.TypeProtoDelim, expfmt.TypeProtoText, expfmt.TypeProtoCompact, expfmt.TypeUnknown} {
		if gauges, others := exposition.Split(expfmt.NewFormat(format), families); len(gauges) > 0 || len(others) != 3 {
			t.Errorf("in the format %v, gauges are %v, others %v", format, gauges, others)
		}
	}
}

// broken is a writer that fails after so many writes.
type broken int

var errBroken = errors.New("the scraper has gone")

func (b *broken) Write(p []byte) (int, error) {
	if *b--; *b < 0 {
		return 0, errBroken
	}
	return len(p), nil
}

func TestAWriterThatFailsEndsTheWriting(t *testing.T) {
	metrics := make([]*dto.Metric, 10_000)
	for i := range metrics {
		metrics[i] = gauge(1, pairs("id", strconv.Itoa(i)))
	}
	for after := range broken(3) {
		w := after
		if err := exposition.Write(&w, expfmt.NewFormat(expfmt.TypeTextPlain), []*dto.MetricFamily{family("a", "A.", metrics...)}); !errors.Is(err, errBroken) {
			t.Errorf("after %d writes: %v", after, err)
		}
		if w != -1 {
			t.Errorf("after %d writes, %d more that fail", after, -w)
		}
	}
}
