package e2e

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/e2e/internal/stack"
)

func TestDocumentedQueriesHaveResultsInTheDemo(t *testing.T) {
	prometheus := startPrometheus(t, startDemo(t))
	for _, document := range []string{"README.md", "docs/metrics.md"} {
		text, err := os.ReadFile("../../../../" + document)
		if err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllSubmatch(text, -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no queries", document)
		}
		for _, block := range blocks {
			for expression := range strings.SplitSeq(strings.TrimSpace(string(block[1])), "\n\n") {
				mustFind(t, prometheus, expression)
			}
		}
	}
}

// The relabelling that SECURITY.md recommends keeps all series and distinguishes the
// creators, without their e-mail addresses.
func TestRelabellingHidesTheCreators(t *testing.T) {
	text, err := os.ReadFile("../../../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)<!-- begin relabel -->\n\n```yaml\n(.*?)```").FindSubmatch(text)
	if block == nil {
		t.Fatal("SECURITY.md has no relabelling")
	}
	demo := startDemo(t)
	hidden, plain := startPrometheus(t, demo, string(block[1])), startPrometheus(t, demo)
	const tokens = `{__name__=~"truefoundry_token_.+"}`
	all := map[*stack.Server][]stack.Sample{}
	for _, prometheus := range []*stack.Server{hidden, plain} {
		eventually(t, func(ctx context.Context) (err error) {
			all[prometheus], err = stack.Query(ctx, prometheus, tokens)
			if err == nil && len(all[prometheus]) == 0 {
				err = fmt.Errorf("%s has no tokens", prometheus.URL)
			}
			return err
		})
	}
	if len(all[hidden]) != len(all[plain]) {
		t.Errorf("%d series, want %d", len(all[hidden]), len(all[plain]))
	}
	addresses := 0
	for prometheus, samples := range all {
		for _, sample := range samples {
			for name, value := range sample.Labels {
				if !strings.Contains(value, "@") || name == "token_name" {
					continue
				}
				if addresses++; prometheus == hidden {
					t.Errorf("the label %s is %q", name, value)
				}
			}
		}
	}
	if addresses == 0 {
		t.Error("the demo has no e-mail addresses")
	}
	for _, query := range []string{
		`count(count by (creator) (` + tokens + `))`,
		`count(count by (target, control_plane, kind, token_id) (truefoundry_token_info))`,
		`count by (__name__) (` + tokens + `)`,
	} {
		if got, want := values(t, hidden, query), values(t, plain, query); !slices.Equal(got, want) || len(want) == 0 {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	if names, err := stack.LabelNames(t.Context(), hidden, "truefoundry_up"); err != nil || slices.Contains(names, "creator") {
		t.Errorf("truefoundry_up has the labels %q: %v", names, err)
	}
	if names, err := stack.LabelNames(t.Context(), hidden, tokens); err != nil || slices.Contains(names, "__tmp_creator") {
		t.Errorf("tokens have the labels %q: %v", names, err)
	}
}

// values returns the sorted values of a query.
func values(t *testing.T, prometheus *stack.Server, query string) []float64 {
	t.Helper()
	samples, err := stack.Query(t.Context(), prometheus, query)
	if err != nil {
		t.Fatal(err)
	}
	var all []float64
	for _, sample := range samples {
		all = append(all, sample.Value)
	}
	slices.Sort(all)
	return all
}
