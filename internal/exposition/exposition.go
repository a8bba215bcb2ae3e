// Package exposition writes gauges for Prometheus to read: byte for byte what
// expfmt writes, in a fraction of the time. The gauges of the tokens are nearly
// all of a scrape's answer (docs/performance.md).
package exposition

import (
	"bytes"
	"io"
	"strconv"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// flushAt is how much text is gathered for a write, in bytes.
const flushAt = 32 << 10

// Split returns the families that Write can write in the format, and the others,
// which are left to expfmt. The families have no units, their gauges no
// timestamps, and all names do without quotes.
func Split(format expfmt.Format, families []*dto.MetricFamily) (gauges, others []*dto.MetricFamily) {
	if kind := format.FormatType(); kind != expfmt.TypeTextPlain && kind != expfmt.TypeOpenMetrics {
		return nil, families
	}
	for _, family := range families {
		if family.GetType() == dto.MetricType_GAUGE {
			gauges = append(gauges, family)
		} else {
			others = append(others, family)
		}
	}
	return gauges, others
}

// Write writes families of gauges, of which Split says that it can, to w. What
// ends an exposition in the format is left to expfmt.
func Write(w io.Writer, format expfmt.Format, gauges []*dto.MetricFamily) error {
	e := encoder{
		w:           w,
		openMetrics: format.FormatType() == expfmt.TypeOpenMetrics,
		text:        make([]byte, 0, flushAt+4<<10),
		rendered:    map[labels]string{},
		families:    map[int]int{},
	}
	for _, family := range gauges {
		for _, m := range family.Metric[:min(1, len(family.Metric))] {
			e.families[len(m.Label)]++
		}
	}
	for _, family := range gauges {
		if err := e.family(family); err != nil {
			return err
		}
	}
	return e.flush()
}

// encoder writes families.
type encoder struct {
	w           io.Writer
	openMetrics bool
	// text is what is not written yet.
	text []byte
	// rendered are the labels that were written, as text: the metrics of a token
	// share theirs.
	rendered map[labels]string
	// families counts those that begin with a metric of so many labels. What one
	// family alone has is not kept.
	families map[int]int
}

// labels tell a slice of labels from others.
type labels struct {
	first **dto.LabelPair
	count int
}

func (e *encoder) family(f *dto.MetricFamily) error {
	name := f.GetName()
	e.add("# HELP ", name, " ")
	e.escaped(f.GetHelp(), e.openMetrics)
	e.add("\n# TYPE ", name, " gauge\n")
	for _, m := range f.Metric {
		e.text = append(e.text, name...)
		e.labels(m.Label)
		e.text = append(e.text, ' ')
		e.value(m.GetGauge().GetValue())
		e.text = append(e.text, '\n')
		if len(e.text) < flushAt {
			continue
		}
		if err := e.flush(); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) add(texts ...string) {
	for _, text := range texts {
		e.text = append(e.text, text...)
	}
}

func (e *encoder) labels(pairs []*dto.LabelPair) {
	if len(pairs) == 0 {
		return
	}
	key := labels{&pairs[0], len(pairs)}
	if text, ok := e.rendered[key]; ok {
		e.text = append(e.text, text...)
		return
	}
	start := len(e.text)
	separator := "{"
	for _, pair := range pairs {
		e.add(separator, pair.GetName(), `="`)
		e.escaped(pair.GetValue(), true)
		e.add(`"`)
		separator = ","
	}
	e.add("}")
	if e.families[len(pairs)] > 1 {
		e.rendered[key] = string(e.text[start:])
	}
}

func (e *encoder) value(value float64) {
	if value == 0 {
		value = 0 // not minus zero
	}
	start := len(e.text)
	e.text = strconv.AppendFloat(e.text, value, 'g', -1, 64)
	if e.openMetrics && !bytes.ContainsAny(e.text[start:], ".eIN") { // Inf and NaN
		e.add(".0")
	}
}

// escaped adds text with its backslashes, line ends and, where it is to stand
// in quotes, its quotes escaped.
func (e *encoder) escaped(text string, quotes bool) {
	written := 0
	for i := range len(text) {
		var letter byte
		switch {
		case text[i] == '\n':
			letter = 'n'
		case text[i] == '\\', text[i] == '"' && quotes:
			letter = text[i]
		default:
			continue
		}
		e.text = append(append(e.text, text[written:i]...), '\\', letter)
		written = i + 1
	}
	e.add(text[written:])
}

func (e *encoder) flush() error {
	_, err := e.w.Write(e.text)
	e.text = e.text[:0]
	return err
}
