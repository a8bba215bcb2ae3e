package collector

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// Update is set to update golden files and generated documentation.
var Update = flag.Bool("update", false, "update golden files and generated documentation")

// HasRuns reports whether a listing of c is in progress.
func (c *Collector) HasRuns() bool {
	for _, t := range *c.targets.Load() {
		for _, l := range t.listings {
			if l.current != nil {
				return true
			}
		}
	}
	return false
}

// SnapshotOf returns the snapshot of a listing with these tokens.
func SnapshotOf(tokens []client.Token, now func() time.Time) *Snapshot {
	t := &target{targetID: targetID{"acme", "acme.truefoundry.example"}, creatorLabel: CreatorSlug, now: now}
	res := t.result(client.PersonalAccessToken, &client.Listing{Tokens: tokens})
	return &Snapshot{[]targetSnapshot{{t, []outcome{{result: res}}}}}
}

// TokenMetrics returns the names of the token metrics.
func TokenMetrics() (names []string) {
	for _, m := range tokenMetrics {
		names = append(names, m.name)
	}
	return names
}

// WriteTokens writes the token metrics only.
func (s *Snapshot) WriteTokens(w io.Writer, openMetrics bool) error {
	return s.writeTokens(w, openMetrics)
}

// TokenMetricsTable returns the documentation of the token metrics as Markdown. types maps
// the names of metrics to their types.
func TokenMetricsTable(types map[string]string) string {
	var b strings.Builder
	shared, all := labelNames(tokenLabels, false), labelNames(tokenLabels, true)
	fmt.Fprintf(&b, "All of them have the labels `%s`.\n\n", strings.Join(shared, "`, `"))
	b.WriteString("| name | type | meaning | absent if |\n|---|---|---|---|\n")
	for i, m := range tokenMetrics {
		help := m.help
		if i == infoMetric {
			help += " It also has the labels `" + strings.Join(all[len(shared):], "`, `") + "`."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, types[m.name], help, m.absent)
	}
	return b.String()
}

// TargetMetricsTable is like TokenMetricsTable for the metrics of targets and listings.
func TargetMetricsTable(types map[string]string) string {
	var b strings.Builder
	b.WriteString("| name | type | labels | meaning | absent if |\n|---|---|---|---|---|\n")
	for _, m := range allMetrics()[len(tokenMetrics):] {
		fmt.Fprintf(&b, "| `%s` | %s | `%s` | %s | %s |\n", m.name, types[m.name], strings.Join(m.labels, "`, `"), m.help, m.absent)
	}
	return b.String()
}
