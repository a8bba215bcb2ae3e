package collector

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// build makes the metric families of a scrape directly: const metrics through a
// registry cost several times as much. What a registry would check for each
// scrape, tests check once.
func (c *Collector) build(targets []*target, scraped [][]outcome) ([]*dto.MetricFamily, error) {
	b := &builder{families: map[string]*dto.MetricFamily{}}
	var rows []row
	for i, t := range targets {
		b.target(t, scraped[i])
		for j, o := range scraped[i] {
			b.listing(t, t.listings[j].history, o)
			if o.result != nil {
				rows = append(rows, c.rows(t, o)...)
			}
		}
	}
	// Everything in the order of its labels, as a registry has it: the same
	// tokens make the same exposition. Rows are sorted once for all metrics that
	// have their labels.
	slices.SortFunc(rows, func(a, b row) int { return compareLabels(a.labels, b.labels) })
	b.tokens(rows, c.opts.Now())

	families := make([]*dto.MetricFamily, 0, len(b.families))
	for name, family := range b.families {
		if !slices.ContainsFunc(tokenMetrics, func(m tokenMetric) bool { return m.name == name }) {
			slices.SortFunc(family.Metric, func(a, b *dto.Metric) int { return compareLabels(a.Label, b.Label) })
		}
		families = append(families, family)
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return families, b.err
}

// builder collects metrics by family. A family without metrics does not exist.
type builder struct {
	families map[string]*dto.MetricFamily
	// free are gauges that were allocated together and are not used yet.
	free []gauge
	err  error
}

// gauge holds all parts of a metric in one piece of memory.
type gauge struct {
	metric dto.Metric
	gauge  dto.Gauge
	value  float64
}

// add appends a gauge to the family of m. The labels are sorted by name.
func (b *builder) add(m *metric, labels []*dto.LabelPair, value float64) {
	if len(b.free) == 0 {
		b.free = make([]gauge, 128)
	}
	g := &b.free[0]
	b.free = b.free[1:]
	g.value = value
	g.gauge.Value = &g.value
	g.metric.Gauge = &g.gauge
	g.metric.Label = labels

	b.append(m, &g.metric)
}

// append adds a metric to the family of m.
func (b *builder) append(m *metric, one *dto.Metric) {
	family := b.families[m.name]
	if family == nil {
		family = &dto.MetricFamily{Name: &m.name, Help: &m.help, Type: m.metricType.Enum()}
		b.families[m.name] = family
	}
	family.Metric = append(family.Metric, one)
}

// counted adds what was counted so far to the family of m.
func (b *builder) counted(m *metric, from prometheus.Collector) {
	metrics := make(chan prometheus.Metric)
	go func() {
		defer close(metrics)
		from.Collect(metrics)
	}()
	for one := range metrics {
		out := new(dto.Metric)
		b.err = errors.Join(b.err, one.Write(out))
		b.append(m, out)
	}
}

// target adds what there is to say of a target.
func (b *builder) target(t *target, outcomes []outcome) {
	success := !slices.ContainsFunc(outcomes, func(o outcome) bool { return o.result == nil })
	labels := labelPairs("target", t.name, "control_plane", t.controlPlane)
	b.add(&up, labels, boolean(success))
	if expiry, ok := timestamp(t.key.expiry()); ok {
		b.add(&apiKeyExpiry, labels, expiry)
	}
	b.counted(&apiRequests, t.memory.instruments.requests)
	b.counted(&apiRequestDuration, t.memory.instruments.duration)
	b.counted(&apiRetries, t.memory.instruments.retries)
}

// listing adds what there is to say of a listing as a whole.
func (b *builder) listing(t *target, h *history, o outcome) {
	labels := labelPairs("target", t.name, "control_plane", t.controlPlane, "kind", string(o.kind))
	b.add(&listingSuccess, labels, boolean(o.result != nil))
	b.add(&listingDuration, labels, o.duration.Seconds())
	b.counted(&listingErrors, h.failures)
	b.counted(&listings, h.ended) // after its errors, which are never more
	if last, ok := timestamp(h.snapshot().LastSuccess); ok {
		b.add(&listingLastSuccess, labels, last)
	}
	if o.result == nil {
		return
	}
	b.add(&listingTokens, labels, float64(len(o.result.Tokens)))
	b.add(&listingDuplicateTokens, labels, float64(o.result.Duplicates))
	b.add(&listingInvalidItems, labels, float64(o.result.InvalidItems))
	if o.result.Reported >= 0 {
		b.add(&listingReportedTokens, labels, float64(o.result.Reported))
	}
	for _, field := range client.Fields() {
		withField := labelPairs("target", t.name, "control_plane", t.controlPlane, "kind", string(o.kind), "field", string(field))
		b.add(&listingInvalidFields, withField, float64(o.result.InvalidFields[field]))
	}
}

// tokens adds the metrics of each token.
func (b *builder) tokens(rows []row, now time.Time) {
	for _, r := range rows {
		b.add(&tokenInfo, r.infoLabels, 1)
		for i := range tokenMetrics {
			m := &tokenMetrics[i]
			if value, ok := m.value(r.token, now); ok {
				b.add(&m.metric, r.labels, value)
			}
		}
	}
}

// row is a token with its labels, which all of its metrics share.
type row struct {
	token              *client.Token
	labels, infoLabels []*dto.LabelPair
}

// rows returns the tokens of a listing with their labels. The labels are in few
// pieces of memory, which keep nothing else of the tokens.
func (c *Collector) rows(t *target, o outcome) []row {
	var (
		tokens      = o.result.Tokens
		all, shared = len(sortedTokenLabels), len(tokenMetrics[0].labels)
		rows        = make([]row, len(tokens))
		values      = make([]string, 0, len(tokens)*all)
		pairs       = make([]dto.LabelPair, len(tokens)*all)
		pointers    = make([]*dto.LabelPair, 0, len(tokens)*(all+shared))
	)
	for i := range tokens {
		of := labelled{target: t, token: &tokens[i], kind: string(o.kind), creatorLabel: c.opts.CreatorLabel}
		own := pairs[i*all:][:all]
		for j := range own {
			l := &sortedTokenLabels[j]
			values = append(values, l.value(&of))
			own[j].Name, own[j].Value = &l.name, &values[len(values)-1]
			pointers = append(pointers, &own[j])
		}
		info := len(pointers)
		for j := range own {
			if !sortedTokenLabels[j].infoOnly {
				pointers = append(pointers, &own[j])
			}
		}
		rows[i] = row{of.token, slices.Clip(pointers[info:]), slices.Clip(pointers[info-all : info])}
	}
	return rows
}

func compareLabels(a, b []*dto.LabelPair) int {
	for i := range a {
		if order := strings.Compare(*a[i].Value, *b[i].Value); order != 0 {
			return order
		}
	}
	return 0
}

// labelPairs makes labels of names and values, sorted by name.
func labelPairs(namesAndValues ...string) []*dto.LabelPair {
	pairs := make([]*dto.LabelPair, 0, len(namesAndValues)/2)
	for ; len(namesAndValues) > 0; namesAndValues = namesAndValues[2:] {
		pairs = append(pairs, &dto.LabelPair{Name: &namesAndValues[0], Value: &namesAndValues[1]})
	}
	slices.SortFunc(pairs, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return pairs
}
