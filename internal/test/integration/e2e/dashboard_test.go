package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/e2e/internal/stack"
)

const dashboardFile = "../../../../deploy/grafana/dashboard.json"

// Each panel shows data of the demo, and all references in the dashboard exist.
func TestDashboardInTheDemo(t *testing.T) {
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	prometheus := startStack(t).Prometheus
	var results map[string][]stack.Sample
	// The context of eventually is not used: its end would look like an error of the dashboard.
	eventually(t, func(context.Context) error {
		results = map[string][]stack.Sample{}
		return inspect(t.Context(), prometheus, text, results)
	})

	// Mistakes are found.
	for name, mistake := range map[string]struct{ pattern, with, want string }{
		"a label in a filter":       {`truefoundry_up\{control_plane=`, `truefoundry_up{control_plain=`, "no label control_plain"},
		"a filter of another label": {`owner_team=~\\"\$owner_team\\"`, `token_name=~\"$$owner_team\"`, "with the choices of $owner_team"},
		"a missing filter":          {`(_expired\{[^}]*)tenant=~\\"\$tenant\\",`, `${1}`, "although no series has this $tenant"},
		"a label to aggregate by":   {`by \(target, control_plane, kind\)`, `by (target, control_plane, knid)`, "no label knid"},
		"a label to join on":        {`on \(target, control_plane\)`, `on (tagret, control_plane)`, "no label tagret"},
		"a metric after or":         {`"expr": "count\(.*\) or vector\(0\)"`, `"expr": "count(go_nothing) or vector(0)"`, "no metric go_nothing"},
		"a value without series":    {`(truefoundry_up\{[^}]*\}\)) == 0`, `$1 == 2`, "has no results"},
		"a variable":                {`\$warning_days \* 86400`, `$$warning_dasy * 86400`, "no variable $warning_dasy"},
		"a label of a variable":     {`label_values\(truefoundry_up, control_plane\)`, `label_values(truefoundry_up, control_plain)`, "no label control_plain"},
		"a legend":                  {`\{\{reason\}\}`, `{{raeson}}`, "{{raeson}}"},
		"a panel without a query":   {`(?s)"targets": \[.*?\n      \],`, `"targets": [],`, "has no query"},
		"an override":               {`"options": "Overdue"`, `"options": "Overdeu"`, `no field "Overdeu"`},
		"a column name":             {`"Value #H": "Key ends in"`, `"Value #Z": "Key ends in"`, `no field "Value #Z"`},
		"a column index":            {`"tenant": 5`, `"tennant": 5`, `no field "tennant"`},
		"an excluded column":        {`"token_id": true`, `"token_di": true`, `no field "token_di"`},
		"the sort order of a table": {`"displayName": "Time left"`, `"displayName": "Time lost"`, `no field "Time lost"`},
	} {
		t.Run(name, func(t *testing.T) {
			pattern := regexp.MustCompile(mistake.pattern)
			at := pattern.FindSubmatchIndex(text)
			if at == nil {
				t.Fatalf("the dashboard has no %s", pattern)
			}
			mistaken := slices.Concat(text[:at[0]], pattern.Expand(nil, []byte(mistake.with), text, at), text[at[1]:])
			if err := inspect(t.Context(), prometheus, mistaken, results); err == nil || !strings.Contains(err.Error(), mistake.want) {
				t.Errorf("with %s: %v, want %q", mistake.with, err, mistake.want)
			}
		})
	}
}

// notInTheDemo are the metrics that the demo does not have, with reasons.
var notInTheDemo = map[string]string{
	"truefoundry_api_key_expiry_timestamp_seconds": "the key of the demo has no expiry",
}

// dashboard contains the queries in Grafana's JSON and references to their results.
type dashboard struct {
	Panels     []panel
	Templating struct{ List []variable }
}

type panel struct {
	Title, Type     string
	Targets         []target
	Transformations []struct {
		Options struct {
			ExcludeByName map[string]bool
			IndexByName   map[string]int
			RenameByName  map[string]string
		}
	}
	FieldConfig struct {
		Overrides []struct {
			Matcher struct {
				ID      string
				Options any
			}
		}
	}
	Options struct {
		SortBy []struct{ DisplayName string }
	}
	Panels []panel // of a collapsed row
}

type target struct{ RefID, Expr, LegendFormat, Format string }

type variable struct {
	Name, Type string
	Query      json.RawMessage // its type depends on Type
	Current    struct{ Value any }
}

// inspection checks a dashboard with the data of a Prometheus server.
type inspection struct {
	prometheus      *stack.Server
	metrics, labels []string
	defaults        map[string]string         // the initial value of each variable
	selected        map[string]string         // the value of each filter if all choices are selected
	results         map[string][]stack.Sample // by expression
	errs            []error
}

// inspect returns the errors of a dashboard. It caches the results of queries.
func inspect(ctx context.Context, prometheus *stack.Server, text []byte, results map[string][]stack.Sample) error {
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		return err
	}
	i := inspection{prometheus: prometheus, selected: map[string]string{}, results: results}
	var err error
	if i.metrics, err = stack.MetricNames(ctx, prometheus); err != nil {
		return err
	}
	if i.labels, err = stack.LabelNames(ctx, prometheus, `{__name__=~"truefoundry_.*|up"}`); err != nil {
		return err
	}
	i.defaults = map[string]string{"__rate_interval": "5m", "__interval": "1m", "__range": "1h", "__range_s": "3600"}
	panels := allPanels(d.Panels)
	for _, v := range d.Templating.List {
		i.defaults[v.Name] = fmt.Sprint(v.Current.Value)
		if v.Type == "query" {
			i.defaults[v.Name] = ".*" // All
		}
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		expression, label, err := v.expression()
		if err == nil {
			i.selected[v.Name], err = i.choices(ctx, expression, label)
		}
		i.report("$"+v.Name, err)
		panels = append(panels, panel{Title: "$" + v.Name, Targets: []target{{RefID: "A", Expr: expression}}})
	}
	for _, p := range panels {
		if _, err := expand(p.Title, i.defaults); err != nil && !strings.HasPrefix(p.Title, "$") {
			i.report(p.Title, err)
		}
		if p.Type != "row" && p.Type != "text" {
			i.panel(ctx, p)
		}
	}
	for metric := range notInTheDemo {
		if slices.Contains(i.metrics, metric) {
			i.report(metric, errors.New("the demo has this metric; remove it from notInTheDemo"))
		}
	}
	return errors.Join(i.errs...)
}

// report records an error.
func (i *inspection) report(where string, err error) {
	if err != nil {
		i.errs = append(i.errs, fmt.Errorf("%s: %w", where, err))
	}
}

// allPanels returns the panels, including the panels in rows.
func allPanels(panels []panel) (all []panel) {
	for _, p := range panels {
		all = append(append(all, p), allPanels(p.Panels)...)
	}
	return all
}

// panel checks a panel.
func (i *inspection) panel(ctx context.Context, p panel) {
	if len(p.Targets) == 0 {
		i.report(p.Title, errors.New("it has no query"))
	}
	fields := map[string]bool{"Time": true}
	for _, target := range p.Targets {
		where := p.Title + ", " + target.RefID
		i.report(where, i.references(target.Expr))
		parts, fallbacks := alternatives(target.Expr)
		if len(parts) == 0 {
			i.report(where, fmt.Errorf("it has no metric: %s", target.Expr))
		}
		var samples []stack.Sample
		for _, part := range parts {
			found, err := i.part(ctx, part, target.Expr)
			i.report(where, err)
			samples = append(samples, found...)
		}
		labels := labelsOf(samples)
		for _, match := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
			if !labels[match[1]] {
				i.report(where, fmt.Errorf("the legend contains %s, but the labels of the result are %q", match[0], slices.Sorted(maps.Keys(labels))))
			}
		}
		// Fallbacks have legends, too.
		for _, fallback := range fallbacks {
			found, err := i.query(ctx, fallback, i.defaults)
			i.report(where, err)
			samples = append(samples, found...)
		}
		maps.Copy(fields, labelsOf(samples))
		if fields["Value"] = true; len(p.Targets) > 1 {
			delete(fields, "Value")
			fields["Value #"+target.RefID] = true
		}
		for _, sample := range samples {
			fields[legend.ReplaceAllStringFunc(target.LegendFormat, func(use string) string {
				return sample.Labels[legend.FindStringSubmatch(use)[1]]
			})] = true
		}
	}
	i.names(p, fields)
}

var legend = regexp.MustCompile(`\{\{ *(\w+) *\}\}`)

func labelsOf(samples []stack.Sample) map[string]bool {
	labels := map[string]bool{}
	for _, sample := range samples {
		for label := range sample.Labels {
			labels[label] = true
		}
	}
	return labels
}

// names checks the names of fields in a panel.
func (i *inspection) names(p panel, fields map[string]bool) {
	mustHave := func(names []string) {
		for _, name := range names {
			if !fields[name] {
				i.report(p.Title, fmt.Errorf("there is no field %q among %q", name, slices.Sorted(maps.Keys(fields))))
			}
		}
	}
	for _, transformation := range p.Transformations {
		o := transformation.Options
		mustHave(slices.Concat(slices.Sorted(maps.Keys(o.ExcludeByName)), slices.Sorted(maps.Keys(o.IndexByName)), slices.Sorted(maps.Keys(o.RenameByName))))
	}
	for _, transformation := range p.Transformations {
		for _, name := range transformation.Options.RenameByName {
			fields[name] = true
		}
	}
	for _, override := range p.FieldConfig.Overrides {
		if override.Matcher.ID == "byName" {
			mustHave([]string{fmt.Sprint(override.Matcher.Options)})
		}
	}
	for _, by := range p.Options.SortBy {
		mustHave([]string{by.DisplayName})
	}
}

var errNothing = errors.New("it has no results")

// part returns the results of a part of an expression. Each filter of the expression must
// apply to the part, too.
func (i *inspection) part(ctx context.Context, part, expression string) ([]stack.Sample, error) {
	found, err := i.query(ctx, part, i.defaults)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: %s", errNothing, part)
	}
	for filter, choices := range i.selected {
		if !slices.ContainsFunc(reference.FindAllStringSubmatch(expression, -1), func(use []string) bool { return use[1] == filter }) {
			continue
		}
		values := maps.Clone(i.defaults)
		values[filter] = choices
		if some, err := i.query(ctx, part, values); err != nil {
			return nil, err
		} else if len(some) == 0 {
			return nil, fmt.Errorf("%w with the choices of $%s: %s", errNothing, filter, part)
		}
		values[filter] = "nothing-has-this"
		if some, err := i.query(ctx, part, values); err != nil {
			return nil, err
		} else if len(some) > 0 {
			return nil, fmt.Errorf("it has the result %v, although no series has this $%s: %s", some[0], filter, part)
		}
	}
	return found, nil
}

// query returns the result of an expression, with the values of variables.
func (i *inspection) query(ctx context.Context, expression string, values map[string]string) ([]stack.Sample, error) {
	expanded, err := expand(expression, values)
	if err != nil {
		return nil, err
	}
	if samples, ok := i.results[expanded]; ok {
		return samples, nil
	}
	samples, err := stack.Query(ctx, i.prometheus, expanded)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, expression)
	}
	i.results[expanded] = samples
	return samples, nil
}

var reference = regexp.MustCompile(`\$\{?([A-Za-z_]\w*)(?::\w+)?\}?`)

// expand replaces variables with their values.
func expand(text string, values map[string]string) (expanded string, err error) {
	expanded = reference.ReplaceAllStringFunc(text, func(use string) string {
		value, ok := values[reference.FindStringSubmatch(use)[1]]
		if !ok {
			err = fmt.Errorf("there is no variable %s: %s", use, text)
		}
		return value
	})
	return expanded, err
}

var labelValues = regexp.MustCompile(`^label_values\((.+), *(\w+)\)$`)

// expression returns the query for the choices of a variable, and the label that contains
// them.
func (v variable) expression() (expression, label string, err error) {
	var query string
	if err := json.Unmarshal(v.Query, &query); err != nil {
		var object struct{ Query string }
		if err := json.Unmarshal(v.Query, &object); err != nil {
			return "", "", err
		}
		query = object.Query
	}
	match := labelValues.FindStringSubmatch(query)
	if match == nil {
		return "", "", fmt.Errorf("not of the form label_values(metric, label): %s", query)
	}
	return fmt.Sprintf("count by (%s) (%s)", match[2], match[1]), match[2], nil
}

// choices returns a regular expression in PromQL that matches all choices.
func (i *inspection) choices(ctx context.Context, expression, label string) (string, error) {
	samples, err := i.query(ctx, expression, i.defaults)
	var values []string
	for _, sample := range samples {
		if value := sample.Labels[label]; value != "" {
			values = append(values, regexp.QuoteMeta(value))
		}
	}
	quoted := strconv.Quote("(" + strings.Join(values, "|") + ")")
	return quoted[1 : len(quoted)-1], err
}

// alternatives splits an expression at each "or" that is not in parentheses. Fallbacks are
// the alternatives for an empty result: they have no metric, or multiply one by 0.
func alternatives(expression string) (parts, fallbacks []string) {
	depth, start := 0, 0
	var all []string
	for _, at := range token.FindAllStringIndex(expression, -1) {
		switch expression[at[0]:at[1]] {
		case "(":
			depth++
		case ")":
			depth--
		case "or":
			if depth == 0 {
				all = append(all, expression[start:at[0]])
				start = at[1]
			}
		}
	}
	for n, part := range append(all, expression[start:]) {
		part = strings.TrimSpace(part)
		if n > 0 {
			part = strings.TrimSpace(joinOn.ReplaceAllString(part, ""))
		}
		if metrics, _ := names(part); len(metrics) == 0 || strings.HasPrefix(part, "0 *") {
			fallbacks = append(fallbacks, part)
		} else {
			parts = append(parts, part)
		}
	}
	return parts, fallbacks
}

var (
	token  = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|[()]`)
	joinOn = regexp.MustCompile(`^(?:on|ignoring) *\([^()]*\)`)

	text       = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	labelLists = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^()]*)\)`)
	matchers   = regexp.MustCompile(`\{([^{}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)\s*[=!]`)
	ranges     = regexp.MustCompile(`\[[^\[\]]*\]|\$\w+|\$\{[^{}]*\}`)
	word       = regexp.MustCompile(`[0-9.]\w*|([A-Za-z_:][\w:]*)(\s*\()?`)
	keywords   = []string{"and", "or", "unless", "atan2", "bool", "offset", "by", "without", "on", "ignoring", "group_left", "group_right", "inf", "nan"}
)

// names returns the names of metrics and labels in PromQL.
func names(expression string) (metrics, labels []string) {
	expression = ranges.ReplaceAllString(text.ReplaceAllString(expression, `""`), "")
	for _, list := range labelLists.FindAllStringSubmatch(expression, -1) {
		for label := range strings.SplitSeq(list[1], ",") {
			if label = strings.TrimSpace(label); label != "" {
				labels = append(labels, label)
			}
		}
	}
	expression = labelLists.ReplaceAllString(expression, " ")
	for _, braces := range matchers.FindAllStringSubmatch(expression, -1) {
		for _, match := range matcher.FindAllStringSubmatch(braces[1], -1) {
			labels = append(labels, match[1])
		}
	}
	expression = matchers.ReplaceAllString(expression, " ")
	for _, match := range word.FindAllStringSubmatch(expression, -1) {
		// Names with parentheses are functions, which Prometheus checks.
		if match[1] != "" && !slices.Contains(keywords, strings.ToLower(match[1])) && match[2] == "" {
			metrics = append(metrics, match[1])
		}
	}
	return metrics, labels
}

// references checks the names in PromQL.
func (i *inspection) references(expression string) error {
	var errs []error
	metrics, labels := names(expression)
	for _, metric := range metrics {
		if !slices.Contains(i.metrics, metric) && notInTheDemo[metric] == "" {
			errs = append(errs, fmt.Errorf("there is no metric %s: %s", metric, expression))
		}
	}
	for _, label := range labels {
		if !slices.Contains(i.labels, label) {
			errs = append(errs, fmt.Errorf("there is no label %s: %s", label, expression))
		}
	}
	return errors.Join(errs...)
}

// mustFind fails the test if the result of an expression remains empty.
func mustFind(t *testing.T, prometheus *stack.Server, expression string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		result, err := stack.Query(ctx, prometheus, expression)
		if err == nil && len(result) == 0 {
			err = errNothing
		}
		if err != nil {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(expression))
		}
		return err
	})
}
