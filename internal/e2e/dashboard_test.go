package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/e2e/internal/stack"
)

// dashboard is what asks Prometheus in Grafana's JSON.
type dashboard struct {
	Panels     []panel
	Templating struct{ List []variable }
}

type panel struct {
	Title   string
	Targets []struct{ Expr string }
	Panels  []panel // of a row that is closed
}

type variable struct {
	Name, Type string
	Query      json.RawMessage // depends on the type
	Current    struct{ Value any }
}

// The demonstration has something to show in each panel.
func TestDashboardQueriesFindSomethingInTheDemo(t *testing.T) {
	text, err := os.ReadFile("../../deploy/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	prometheus := startStack(t).Prometheus
	queries := 0
	find := func(of, expression string) {
		queries++
		t.Run(of, func(t *testing.T) {
			expanded, err := d.expand(expression)
			if err != nil {
				t.Fatal(err)
			}
			mustFind(t, prometheus, expanded)
		})
	}
	for p := range allPanels(d.Panels) {
		for _, target := range p.Targets {
			find(p.Title, target.Expr)
		}
	}
	if queries == 0 {
		t.Error("no panel asks anything")
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		expression, err := v.expression()
		if err != nil {
			t.Errorf("$%s: %v", v.Name, err)
			continue
		}
		find("$"+v.Name, expression)
	}
}

// allPanels yields the panels, and those in rows.
func allPanels(panels []panel) func(yield func(panel) bool) {
	var all []panel
	for _, p := range panels {
		all = append(all, p)
		all = slices.AppendSeq(all, allPanels(p.Panels))
	}
	return slices.Values(all)
}

var reference = regexp.MustCompile(`\$\{?([A-Za-z_]\w*)(?::\w+)?\}?`)

// expand puts in what Grafana would: “All” for each variable that asks
// Prometheus for its choices, and its present value for any other.
func (d dashboard) expand(expression string) (expanded string, err error) {
	values := map[string]string{"__rate_interval": "5m", "__interval": "1m", "__range": "1h", "__range_s": "3600"}
	for _, v := range d.Templating.List {
		values[v.Name] = fmt.Sprint(v.Current.Value)
		if v.Type == "query" {
			values[v.Name] = ".*"
		}
	}
	expanded = reference.ReplaceAllStringFunc(expression, func(use string) string {
		value, ok := values[reference.FindStringSubmatch(use)[1]]
		if !ok {
			err = fmt.Errorf("unknown variable %s in %s", use, expression)
		}
		return value
	})
	return expanded, err
}

var labelValues = regexp.MustCompile(`^label_values\((.+), *(\w+)\)$`)

// expression is PromQL for the choices of a variable.
func (v variable) expression() (string, error) {
	var query string
	if err := json.Unmarshal(v.Query, &query); err != nil {
		var object struct{ Query string }
		if err := json.Unmarshal(v.Query, &object); err != nil {
			return "", err
		}
		query = object.Query
	}
	match := labelValues.FindStringSubmatch(query)
	if match == nil {
		return "", fmt.Errorf("not of the form label_values(metric, label): %s", query)
	}
	return fmt.Sprintf("count by (%s) (%s)", match[2], match[1]), nil
}

// mustFind fails the test where an expression's value remains empty.
func mustFind(t *testing.T, prometheus *stack.Server, expression string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		result, err := stack.Query(ctx, prometheus, expression)
		if err == nil && len(result) == 0 {
			err = errors.New("it finds nothing")
		}
		if err != nil {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(expression))
		}
		return err
	})
}
