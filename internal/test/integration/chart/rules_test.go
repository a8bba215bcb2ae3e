package chart

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"sigs.k8s.io/yaml"
)

// rule is a rule with any fields.
type rule map[string]any

type rules struct {
	Groups []struct {
		Name     string `json:"name"`
		Interval string `json:"interval,omitempty"`
		Rules    []rule `json:"rules"`
	} `json:"groups"`
}

func parseRules(t *testing.T, text []byte) (parsed rules) {
	t.Helper()
	if err := yaml.UnmarshalStrict(text, &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}

// source returns the rules in deploy/prometheus.
func source(t *testing.T) rules {
	t.Helper()
	return parseRules(t, []byte(read(t, "../../../../deploy/prometheus/rules.yml")))
}

func (r rules) each(visit func(rule)) {
	for _, group := range r.Groups {
		for _, rule := range group.Rules {
			visit(rule)
		}
	}
}

// find returns the alert or recording rule with this name, or nil.
func (r rules) find(name string) (found rule) {
	r.each(func(rule rule) {
		if rule["alert"] == name || rule["record"] == name {
			found = rule
		}
	})
	return found
}

func firstAlert(t *testing.T) (name string) {
	t.Helper()
	source(t).each(func(rule rule) {
		if alert, ok := rule["alert"].(string); ok && name == "" {
			name = alert
		}
	})
	return name
}

// thresholds returns the names of the thresholds, which are recording rules.
func thresholds(t *testing.T) (names []string) {
	t.Helper()
	for _, group := range source(t).Groups {
		for _, rule := range group.Rules {
			if strings.HasSuffix(group.Name, ".thresholds") {
				names = append(names, rule["record"].(string))
			}
		}
	}
	if len(names) == 0 {
		t.Fatal("there are no thresholds")
	}
	return names
}

// firstComputed returns the name of a recording rule that is not a threshold.
func firstComputed(t *testing.T) (name string) {
	t.Helper()
	known := thresholds(t)
	source(t).each(func(rule rule) {
		if record, ok := rule["record"].(string); ok && name == "" && !slices.Contains(known, record) {
			name = record
		}
	})
	return name
}

// render returns the rules of the chart with these values.
func render(t *testing.T, values string) rules {
	t.Helper()
	object := get[*monitoring.PrometheusRule](t, mustRender(t, `prometheusRule: {enabled: true}`, values), "PrometheusRule/"+fullName)
	text, err := yaml.Marshal(object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return parseRules(t, text)
}

func TestRulesMatchTheFile(t *testing.T) {
	t.Parallel()
	want := source(t)
	want.each(func(rule rule) {
		if rule["alert"] != nil {
			rule["labels"].(map[string]any)["namespace"] = "mon"
		}
	})
	if got := render(t, ``); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v,\nwant %v", got, want)
	}
}

func TestPromtoolAcceptsTheRules(t *testing.T) {
	t.Parallel()
	var allThresholds strings.Builder
	for _, name := range thresholds(t) {
		fmt.Fprintf(&allThresholds, "    %q: 1.5 * 86400\n", name)
	}
	for _, values := range []string{``, "full-values.yaml", "prometheusRule:\n  thresholds:\n" + allThresholds.String(), `prometheusRule: {aggregationLabels: [cluster, region]}`} {
		all := mustRender(t, `prometheusRule: {enabled: true}`, `fullnameOverride: ""`, values)
		for id, object := range all {
			object, ok := object.(*monitoring.PrometheusRule)
			if !ok {
				continue
			}
			text, err := yaml.Marshal(object.Spec)
			if err != nil {
				t.Fatal(err)
			}
			if out, errOut, err := run(t, promtoolPath, "check", "rules", "--lint=all", "--lint-fatal", write(t, string(text), t.TempDir(), "rules.yml")); err != nil {
				t.Errorf("%s with %s: %v\n%s%s", id, values, err, out, errOut)
			}
		}
	}
}

func TestAlertLabels(t *testing.T) {
	t.Parallel()
	original := source(t)
	for _, test := range []struct {
		values string
		want   map[string]any
	}{
		{``, map[string]any{"namespace": "mon"}},
		{`prometheusRule: {alertLabels: {controlplane: "true"}}`, map[string]any{"namespace": "mon", "controlplane": "true"}},
		{`prometheusRule: {alertLabels: {namespace: ""}}`, map[string]any{"namespace": ""}},
	} {
		render(t, test.values).each(func(rule rule) {
			if rule["alert"] == nil {
				if rule["labels"] != nil {
					t.Errorf("%v has labels: %v", rule["record"], rule["labels"])
				}
				return
			}
			got, _ := rule["labels"].(map[string]any)
			for name, want := range test.want {
				if got[name] != want {
					t.Errorf("%v has the labels %v, want %v", rule["alert"], got, test.want)
				}
			}
			if got["severity"] != original.find(rule["alert"].(string))["labels"].(map[string]any)["severity"] {
				t.Errorf("%v has lost its severity: %v", rule["alert"], got)
			}
		})
	}
}

func TestAlertSettings(t *testing.T) {
	t.Parallel()
	name := firstAlert(t)
	count := func(r rules) (n int) {
		r.each(func(rule) { n++ })
		return n
	}
	before := source(t)

	if got := render(t, `prometheusRule: {alerts: {`+name+`: {enabled: false}}}`); got.find(name) != nil || count(got) != count(before)-1 {
		t.Errorf("%s is disabled, but rendered", name)
	}
	if got := render(t, `prometheusRule: {alerts: {`+name+`: {enabled: true}}}`); got.find(name) == nil {
		t.Errorf("%s is enabled, but not rendered", name)
	}

	changed := render(t, `prometheusRule: {alerts: {`+name+`: {for: 7h, severity: page}}}`)
	got, want := changed.find(name), before.find(name)
	want["for"] = "7h"
	want["labels"].(map[string]any)["namespace"], want["labels"].(map[string]any)["severity"] = "mon", "page"
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if count(changed) != count(before) {
		t.Error("other rules are missing")
	}

	// Groups without rules are left out.
	var disable strings.Builder
	for _, group := range before.Groups {
		for _, rule := range group.Rules {
			if rule["alert"] != nil {
				fmt.Fprintf(&disable, "    %s: {enabled: false}\n", rule["alert"])
			}
		}
	}
	for _, group := range render(t, "prometheusRule:\n  alerts:\n"+disable.String()).Groups {
		if len(group.Rules) == 0 || group.Rules[0]["alert"] != nil {
			t.Errorf("got the group %v", group)
		}
	}
}

func TestThresholds(t *testing.T) {
	t.Parallel()
	var values strings.Builder
	want := source(t)
	for i, name := range thresholds(t) {
		given := []string{"2592000", "0.25", "30 * 86400", "1/3"}[i%4]
		fmt.Fprintf(&values, "    %q: %s\n", name, given)
		want.find(name)["expr"] = "vector(" + given + ")"
	}
	got := render(t, "prometheusRule:\n  thresholds:\n"+values.String())
	want.each(func(rule rule) {
		if record, ok := rule["record"].(string); ok {
			if expr := got.find(record)["expr"]; expr != rule["expr"] {
				t.Errorf("%s is %v, want %v", record, expr, rule["expr"])
			}
		}
	})
}

func TestGroupsCanBeDisabled(t *testing.T) {
	t.Parallel()
	names := func(r rules) (names []string) {
		for _, group := range r.Groups {
			names = append(names, group.Name)
		}
		return names
	}
	all := names(source(t))
	for _, name := range []string{"informational", "absent"} {
		group := "truefoundry_exporter." + name
		want := slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == group })
		if got := names(render(t, `prometheusRule: {`+name+`: false}`)); !slices.Equal(got, want) || len(want) != len(all)-1 {
			t.Errorf("without %s: got %q, want %q", name, got, want)
		}
		if got := names(render(t, `prometheusRule: {`+name+`: true}`)); !slices.Equal(got, all) {
			t.Errorf("with %s: got %q, want %q", name, got, all)
		}
	}
}

// Users of the plain file do the same with sed.
func TestAggregationLabels(t *testing.T) {
	t.Parallel()
	want, got := source(t), render(t, `prometheusRule: {aggregationLabels: [cluster, region]}`)
	grouping := regexp.MustCompile(`\b(by|on) \(`)
	found := 0
	for i, group := range want.Groups {
		for j, rule := range group.Rules {
			expr := rule["expr"].(string)
			found += len(grouping.FindAllString(expr, -1))
			if want := grouping.ReplaceAllString(expr, "${0}cluster, region, "); got.Groups[i].Rules[j]["expr"] != want {
				t.Errorf("got %v, want %s", got.Groups[i].Rules[j]["expr"], want)
			}
		}
	}
	if found == 0 {
		t.Error("no rule has a grouping")
	}
}

func TestRunbook(t *testing.T) {
	t.Parallel()
	alerts := 0
	render(t, `prometheusRule: {runbookUrl: "https://wiki.example/x"}`).each(func(rule rule) {
		if alert, ok := rule["alert"].(string); ok {
			alerts++
			if got, want := rule["annotations"].(map[string]any)["runbook_url"], "https://wiki.example/x#"+strings.ToLower(alert); got != want {
				t.Errorf("%s has the runbook %v, want %s", alert, got, want)
			}
		}
	})
	if alerts == 0 {
		t.Error("there are no alerts")
	}
}

func TestMetadataOfTheRules(t *testing.T) {
	t.Parallel()
	object := get[*monitoring.PrometheusRule](t, mustRender(t, `prometheusRule: {enabled: true, namespace: monitoring, labels: {release: p}, annotations: {a: b}}`), "PrometheusRule/"+fullName)
	if object.Namespace != "monitoring" || object.Labels["release"] != "p" || object.Annotations["a"] != "b" {
		t.Errorf("got %+v", object.ObjectMeta)
	}
	// The namespace label of alerts is still the namespace of the release.
	if labels := object.Spec.Groups[len(object.Spec.Groups)-1].Rules[0].Labels; labels["namespace"] != "mon" {
		t.Errorf("got the labels %v", labels)
	}
}
