// Package metricstest helps tests to check metrics and logs.
package metricstest

import (
	"bytes"
	"html"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Gather gathers the metrics of c with a pedantic registry, and lints them.
func Gather(t testing.TB, c prometheus.Collector) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if problems, err := promlint.NewWithMetricFamilies(families).Lint(); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	return families
}

// Exposition returns metrics in the text format.
func Exposition(t testing.TB, metrics interface {
	Write(io.Writer, expfmt.Format) error
},
) string {
	t.Helper()
	var b strings.Builder
	if err := metrics.Write(&b, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Text returns the families in the text format.
func Text(t testing.TB, families []*dto.MetricFamily) string {
	t.Helper()
	var b bytes.Buffer
	encoder := expfmt.NewEncoder(&b, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// controlPlane matches the label control_plane, which is never the last one.
var controlPlane = regexp.MustCompile(`control_plane="[^"]*",`)

// WithoutControlPlane removes the labels control_plane from an exposition. They contain the
// address of a test server.
func WithoutControlPlane(text string) string { return controlPlane.ReplaceAllString(text, "") }

var (
	style = regexp.MustCompile(`(?s)<style>.*</style>`)
	tag   = regexp.MustCompile(`(?s)<[^>]*>`)
)

// PageText returns the visible text of an HTML page in one line.
func PageText(page string) string {
	text := html.UnescapeString(tag.ReplaceAllString(style.ReplaceAllString(page, ""), " "))
	return strings.Join(strings.Fields(text), " ")
}

// Present fails the test unless text contains want.
func Present(t testing.TB, text, want string) {
	t.Helper()
	if !strings.Contains(text, want) {
		t.Errorf("%s is missing in\n%s", want, text)
	}
}

// Absent fails the test if text contains unwanted.
func Absent(t testing.TB, text, unwanted string) {
	t.Helper()
	if strings.Contains(text, unwanted) {
		t.Errorf("got unwanted %s in\n%s", unwanted, text)
	}
}

// Log is a buffer that is safe for concurrent use.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String implements fmt.Stringer.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Take returns what has been written since the last call.
func (l *Log) Take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.b.Reset()
	return l.b.String()
}
