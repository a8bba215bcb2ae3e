package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// python is the interpreter for which Debian has prometheus_client, whose parser of
// OpenMetrics is stricter than that of Prometheus.
const python = "/usr/bin/python3"

// parseOpenMetrics returns the values that the strict parser reads, by series.
func parseOpenMetrics(t *testing.T, text string) (map[string]float64, error) {
	t.Helper()
	cmd := command(t, python, "openmetrics.py")
	cmd.Stdin = strings.NewReader(text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	samples, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, &stderr)
	}
	values := map[string]float64{}
	for decoder := json.NewDecoder(bytes.NewReader(samples)); ; {
		var sample struct {
			Name   string
			Labels map[string]string
			Value  float64
		}
		if err := decoder.Decode(&sample); errors.Is(err, io.EOF) {
			return values, nil
		} else if err != nil {
			t.Fatal(err)
		}
		values[series(sample.Name, sample.Labels)] = sample.Value
	}
}

// series identifies a series.
func series(name string, labels map[string]string) string {
	return name + fmt.Sprintf("%q", labels) // sorted by name
}

// tokenValues returns the values of the tokens in the text format, by series.
func tokenValues(t *testing.T, text string) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for name, family := range metricstest.Parse(t, text) {
		if !strings.HasPrefix(name, "truefoundry_token_") {
			continue
		}
		for _, metric := range family.Metric {
			labels := map[string]string{}
			for _, pair := range metric.Label {
				labels[pair.GetName()] = pair.GetValue()
			}
			values[series(name, labels)] = metric.GetGauge().GetValue()
		}
	}
	return values
}

// scrapeDemo scrapes a demonstration, whose tokens have all kinds of names and values.
func scrapeDemo(t *testing.T, url, accept string) string {
	t.Helper()
	r := send(t, http.DefaultClient, http.MethodGet, url+"/metrics", http.Header{"Accept": {accept}})
	if got := r.header.Get("Content-Type"); r.status != http.StatusOK || !strings.HasPrefix(got, accept) {
		t.Fatalf("%d: %s, want %s", r.status, got, accept)
	}
	return r.body
}

func TestStrictParsersReadWhatTheTextFormatSays(t *testing.T) {
	demo := start(t, exporterListens, command(t, exporter, "--demo", "--web.listen-address=127.0.0.1:0"))
	url := "http://" + demo.ready[1]
	got, err := parseOpenMetrics(t, scrapeDemo(t, url, "application/openmetrics-text; version=1.0.0"))
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(got, func(series string, _ float64) bool { return !strings.HasPrefix(series, "truefoundry_token_") })
	want := tokenValues(t, scrapeDemo(t, url, "text/plain; version=0.0.4"))
	if !maps.Equal(got, want) || len(want) == 0 {
		t.Errorf("the parser reads\n%v, want\n%v", got, want)
	}
}

// What the exporter leaves out would collide.
func TestStrictParsersRefuseCollisions(t *testing.T) {
	const collision = `# TYPE go_memstats_alloc_bytes gauge
go_memstats_alloc_bytes 1.0
# TYPE go_memstats_alloc_bytes counter
go_memstats_alloc_bytes_total 2.0
# EOF
`
	if values, err := parseOpenMetrics(t, collision); err == nil || !strings.Contains(err.Error(), "go_memstats_alloc_bytes") {
		t.Errorf("the parser reads %v, and fails with %v", values, err)
	}
}
