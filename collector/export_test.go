package collector

import (
	"flag"
	"fmt"
	"strings"
)

// Update is set to rewrite golden files and what documents repeat of the code.
var Update = flag.Bool("update", false, "rewrite golden files and the regions of documents")

// Holds tells whether c holds on to a run of a listing.
func (c *Collector) Holds() bool {
	for _, t := range *c.targets.Load() {
		for _, l := range t.listings {
			if l.current != nil {
				return true
			}
		}
	}
	return false
}

// ContractTable is the contract as Markdown.
func ContractTable() string {
	var b strings.Builder
	row := func(m *metric, labels []string) {
		name := m.name
		if len(labels) > 0 {
			name += "{" + strings.Join(labels, ",") + "}"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, m.help, m.absent)
	}
	fmt.Fprintf(&b, "Of each token, with the labels `%s`:\n\n", strings.Join(labelNames(false), "`, `"))
	b.WriteString("| metric | value | no series where |\n|---|---|---|\n")
	info := tokenInfo
	info.help += " It adds the labels `" + strings.Join(tokenInfo.labels[len(labelNames(false)):], "`, `") + "`."
	row(&info, nil)
	for i := range tokenMetrics {
		row(&tokenMetrics[i].metric, nil)
	}
	b.WriteString("\nOf each target, and of each listing: a target asked for one kind of token.\n\n")
	b.WriteString("| metric | value | no series where |\n|---|---|---|\n")
	for _, m := range contract()[1+len(tokenMetrics):] {
		row(m, m.labels)
	}
	return b.String()
}
