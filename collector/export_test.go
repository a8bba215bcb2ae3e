package collector

import (
	"flag"
	"fmt"
	"net/url"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/truefoundry-community/truefoundry_exporter/client"
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

// Build makes the metrics of a listing with these tokens.
func Build(tokens []client.Token, now func() time.Time) ([]*dto.MetricFamily, error) {
	c := New(Options{CreatorLabel: CreatorSlug, Now: now})
	u := &url.URL{Scheme: "https", Host: "acme.truefoundry.example"}
	c.Set(Target{Name: "acme", Kinds: []client.Kind{client.PersonalAccessToken}, Client: client.Config{URL: u}})
	var scraped [][]outcome
	for range *c.targets.Load() {
		scraped = append(scraped, []outcome{{kind: client.PersonalAccessToken, result: &client.Listing{Tokens: tokens}}})
	}
	return c.build(*c.targets.Load(), scraped)
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
