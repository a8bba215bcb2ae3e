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

// ContractTable returns the documentation of all metrics as Markdown.
func ContractTable() string {
	var b strings.Builder
	row := func(m *metric, labels []string) {
		name := m.name
		if len(labels) > 0 {
			name += "{" + strings.Join(labels, ",") + "}"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, m.help, m.absent)
	}
	shared, all := labelNames(tokenLabels, false), labelNames(tokenLabels, true)
	fmt.Fprintf(&b, "Of each token, with the labels `%s`:\n\n", strings.Join(shared, "`, `"))
	b.WriteString("| metric | value | no series where |\n|---|---|---|\n")
	for i, m := range tokenMetrics {
		m := *m.metric
		if i == infoMetric {
			m.help += " It adds the labels `" + strings.Join(all[len(shared):], "`, `") + "`."
		}
		row(&m, nil)
	}
	b.WriteString("\nOf each target, and of each listing: a target asked for one kind of token.\n\n")
	b.WriteString("| metric | value | no series where |\n|---|---|---|\n")
	for _, m := range allMetrics()[len(tokenMetrics):] {
		row(m, m.labels)
	}
	return b.String()
}
