package collector

import (
	"bytes"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// tokenRow holds the metrics of a token. Rows make up nearly all of an exposition, and
// are written directly: encoding metric families would take several times as long.
type tokenRow struct {
	// labels are the labels of truefoundry_token_info as text, without the closing
	// brace.
	labels string
	// infoOnly are the parts of labels that the other metrics do not have.
	infoOnly [infoOnlyLabels]span
	// values are in the order of tokenMetrics. A value is NaN if the token does not
	// have the metric.
	values []float64
}

// span is a part of a string.
type span struct{ start, end uint32 }

var escapeLabel = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// rows returns a row for each token, sorted by ID to make expositions stable.
func (t *target) rows(kind client.Kind, tokens []client.Token, now time.Time) []tokenRow {
	sorted := make([]*client.Token, len(tokens))
	for i := range tokens {
		sorted[i] = &tokens[i]
	}
	slices.SortFunc(sorted, func(a, b *client.Token) int { return strings.Compare(a.ID, b.ID) })
	rows := make([]tokenRow, len(tokens))
	values := make([]float64, 0, len(tokens)*len(tokenMetrics))
	var text []byte
	source := labelSource{target: t, kind: kind}
	for i, token := range sorted {
		row := &rows[i]
		source.token = token
		text = row.appendLabels(text[:0], &source)
		row.labels = string(text)
		for j := range tokenMetrics {
			value, ok := tokenMetrics[j].value(token, now)
			if !ok {
				value = math.NaN()
			}
			values = append(values, value)
		}
		row.values = values[i*len(tokenMetrics):]
	}
	return rows
}

// appendLabels appends the labels of a token and sets r.infoOnly.
func (r *tokenRow) appendLabels(text []byte, source *labelSource) []byte {
	separator, infoOnly := byte('{'), 0
	for i := range sortedTokenLabels {
		l := &sortedTokenLabels[i]
		start := len(text)
		text = append(append(append(text, separator), l.name...), `="`...)
		text = append(append(text, escapeLabel.Replace(l.value(source))...), '"')
		separator = ','
		if l.infoOnly {
			r.infoOnly[infoOnly] = span{uint32(start), uint32(len(text))} //nolint:gosec // labels are short
			infoOnly++
		}
	}
	return text
}

// appendSample appends the sample of a metric.
func (r *tokenRow) appendSample(text []byte, metric int, openMetrics bool) []byte {
	text = append(text, tokenMetrics[metric].name...)
	var start uint32
	if metric != infoMetric {
		for _, part := range r.infoOnly {
			text = append(text, r.labels[start:part.start]...)
			start = part.end
		}
	}
	text = append(append(text, r.labels[start:]...), "} "...)
	return append(appendValue(text, r.values[metric], openMetrics), '\n')
}

func appendValue(text []byte, value float64, openMetrics bool) []byte {
	start := len(text)
	if value == 0 || value == 1 { // the most common values
		text = append(text, '0'+byte(value))
	} else {
		text = strconv.AppendFloat(text, value, 'g', -1, 64)
	}
	if openMetrics && !bytes.ContainsAny(text[start:], ".e") {
		text = append(text, ".0"...)
	}
	return text
}

// labelValues returns the label values of a metric, in the order of sortedTokenLabels.
func (r *tokenRow) labelValues(metric int) []string {
	values := make([]string, 0, len(sortedTokenLabels))
	rest := r.labels
	for _, l := range sortedTokenLabels {
		quoted, _ := strconv.QuotedPrefix(rest[len(",")+len(l.name)+len("="):])
		rest = rest[len(",")+len(l.name)+len("=")+len(quoted):]
		if !l.infoOnly || metric == infoMetric {
			value, _ := strconv.Unquote(quoted) // the escapes are a subset of Go's
			values = append(values, value)
		}
	}
	return values
}

// Write writes the metrics in the text format or OpenMetrics, without the # EOF line of
// OpenMetrics.
func (s *Snapshot) Write(w io.Writer, format expfmt.Format) error {
	registry := prometheus.NewRegistry()
	if err := registry.Register(targetMetrics{s}); err != nil {
		return err
	}
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	encoder := expfmt.NewEncoder(w, format)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return err
		}
	}
	return s.writeTokens(w, format.FormatType() == expfmt.TypeOpenMetrics)
}

// bufferSize is the size of the chunks in which token metrics are written, in bytes.
const bufferSize = 32 << 10

// writeTokens writes the metrics of all tokens, family by family.
func (s *Snapshot) writeTokens(w io.Writer, openMetrics bool) error {
	text := make([]byte, 0, bufferSize+bufferSize/8)
	for i, m := range tokenMetrics {
		hasHeader := false
		for row := range s.rows {
			if math.IsNaN(row.values[i]) {
				continue
			}
			if !hasHeader {
				text = append(text, "# HELP "+m.name+" "+m.help+"\n# TYPE "+m.name+" gauge\n"...)
				hasHeader = true
			}
			text = row.appendSample(text, i, openMetrics)
			if len(text) >= bufferSize {
				if _, err := w.Write(text); err != nil {
					return err
				}
				text = text[:0]
			}
		}
	}
	_, err := w.Write(text)
	return err
}

// rows iterates over the rows of all successful listings.
func (s *Snapshot) rows(yield func(*tokenRow) bool) {
	for _, t := range s.targets {
		for _, o := range t.outcomes {
			if o.result == nil {
				continue
			}
			for i := range o.result.rows {
				if !yield(&o.result.rows[i]) {
					return
				}
			}
		}
	}
}

// collectTokens sends the metrics of all tokens.
func (s *Snapshot) collectTokens(ch chan<- prometheus.Metric) {
	for row := range s.rows {
		labelValues := row.labelValues(infoMetric + 1)
		for i, m := range tokenMetrics {
			switch {
			case math.IsNaN(row.values[i]):
			case i == infoMetric:
				m.gauge(ch, row.values[i], row.labelValues(i)...)
			default:
				m.gauge(ch, row.values[i], labelValues...)
			}
		}
	}
}

// targetMetrics collects the metrics of targets and listings.
type targetMetrics struct{ *Snapshot }

// Describe implements prometheus.Collector. It sends nothing, so that registries do not
// check the metrics at each scrape. Tests do.
func (targetMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (m targetMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, t := range m.targets {
		success := !slices.ContainsFunc(t.outcomes, func(o outcome) bool { return o.result == nil })
		up.gauge(ch, boolToFloat(success), t.name, t.controlPlane)
		if expiry, ok := timestamp(t.key.expiry()); ok {
			apiKeyExpiry.gauge(ch, expiry, t.name, t.controlPlane)
		}
		t.state.requests.Collect(ch)
		t.state.duration.Collect(ch)
		t.state.retries.Collect(ch)
		for i, l := range t.listings {
			l.collect(ch, t.outcomes[i], t.name, t.controlPlane, string(l.kind))
		}
	}
}

// collect sends the metrics of a listing.
func (l *listing) collect(ch chan<- prometheus.Metric, o outcome, labelValues ...string) {
	listingSuccess.gauge(ch, boolToFloat(o.result != nil), labelValues...)
	listingDuration.gauge(ch, o.duration.Seconds(), labelValues...)
	l.state.collect(ch, labelValues...)
	if o.result == nil {
		return
	}
	listingTokens.gauge(ch, float64(len(o.result.rows)), labelValues...)
	listingDuplicateTokens.gauge(ch, float64(o.result.Duplicates), labelValues...)
	listingInvalidItems.gauge(ch, float64(o.result.InvalidItems), labelValues...)
	if o.result.Reported >= 0 {
		listingReportedTokens.gauge(ch, float64(o.result.Reported), labelValues...)
	}
	for _, field := range client.Fields() {
		listingInvalidFields.gauge(ch, float64(o.result.InvalidFields[field]), withLabel(labelValues, string(field))...)
	}
}

// collect sends the counters and the time of the last success.
func (s *listingState) collect(ch chan<- prometheus.Metric, labelValues ...string) {
	s.mu.Lock()
	ended, failures, lastSuccess := s.ended, maps.Clone(s.errors), s.status.LastSuccess
	s.mu.Unlock()
	listings.counter(ch, ended, labelValues...)
	// Every reason is exported from the start, since increase() ignores the first
	// sample of a new series.
	for _, reason := range client.Reasons() {
		listingErrors.counter(ch, failures[reason], withLabel(labelValues, string(reason))...)
	}
	if last, ok := timestamp(lastSuccess); ok {
		listingLastSuccess.gauge(ch, last, labelValues...)
	}
}
