package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// ruleTests are the files with promtool's tests of rules.yml whose names match.
func ruleTests(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(deploy, "prometheus", pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("there are no tests of the rules: %v", err)
	}
	return names
}

type ruleFile struct {
	Groups []ruleGroup `yaml:"groups"`
}

type ruleGroup struct {
	Name     string `yaml:"name"`
	Interval string `yaml:"interval,omitempty"`
	Rules    []any  `yaml:"rules"`
}

// unitTest is a file of promtool's tests. What a variant does not change is
// kept as it is.
type unitTest struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval string         `yaml:"evaluation_interval"`
	GroupEvalOrder     []string       `yaml:"group_eval_order,omitempty"`
	Tests              []unitTestCase `yaml:"tests"`
}

type unitTestCase struct {
	Name        string `yaml:"name"`
	Interval    string `yaml:"interval"`
	InputSeries []struct {
		Series string `yaml:"series"`
		Values string `yaml:"values"`
	} `yaml:"input_series"`
	AlertRuleTest  any `yaml:"alert_rule_test,omitempty"`
	PromqlExprTest any `yaml:"promql_expr_test,omitempty"`
}

// A ruler of Thanos or Mimir may evaluate the rules of a group at the same time,
// and see the results of others a round late.
func TestRulesHoldWhereEachIsEvaluatedBeforeThoseThatItReads(t *testing.T) {
	t.Parallel()
	var rules, alone ruleFile
	load(t, "prometheus/rules.yml", &rules)
	var order []string
	for _, group := range rules.Groups {
		for i, rule := range group.Rules {
			name := fmt.Sprintf("%s.%02d", group.Name, i)
			alone.Groups = append(alone.Groups, ruleGroup{Name: name, Interval: group.Interval, Rules: []any{rule}})
			order = append(order, name)
		}
	}
	slices.Reverse(order)
	testRules(t, "rules*_test.yml", alone, func(test *unitTest) { test.GroupEvalOrder = order })
}

// Groups are evaluated at different times within their interval, so that each may be the
// last one.
func TestRulesHoldWhereListsAreEvaluatedLast(t *testing.T) {
	t.Parallel()
	var rules ruleFile
	load(t, "prometheus/rules.yml", &rules)
	var first, last []string
	for _, group := range rules.Groups {
		if strings.HasSuffix(group.Name, ".lists") || strings.HasSuffix(group.Name, ".held") {
			last = append(last, group.Name)
		} else {
			first = append(first, group.Name)
		}
	}
	if len(last) != 2 {
		t.Fatalf("the groups that are evaluated last are %q", last)
	}
	testRules(t, "rules_noise_test.yml", rules, func(test *unitTest) { test.GroupEvalOrder = slices.Concat(first, last) })
}

func TestRulesHoldWithScrapesEvery30SecondsAndAnEvaluationEvery5Minutes(t *testing.T) {
	t.Parallel()
	var rules ruleFile
	load(t, "prometheus/rules.yml", &rules)
	testRules(t, "rules*_test.yml", rules, func(test *unitTest) {
		test.EvaluationInterval = "5m"
		for i := range test.Tests {
			c := &test.Tests[i]
			interval, err := time.ParseDuration(c.Interval)
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			c.Interval = "30s"
			for j := range c.InputSeries {
				c.InputSeries[j].Values = repeatSamples(t, c.InputSeries[j].Values, int(interval/(30*time.Second)))
			}
		}
	})
}

// testRules runs promtool's tests in the files that match, changed by vary, against the
// rules.
func testRules(t *testing.T, files string, rules ruleFile, vary func(*unitTest)) {
	t.Helper()
	dir := t.TempDir()
	text, err := yaml.Dump(rules)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "rules.yml"), string(text))
	for _, name := range ruleTests(t, files) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var test unitTest
			if err := yaml.Load(source, &test, yaml.WithKnownFields()); err != nil {
				t.Fatal(err)
			}
			vary(&test)
			text, err := yaml.Dump(test)
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, filepath.Base(name))
			write(t, path, string(text))
			run(t, promtool, "test", "rules", path)
		})
	}
}

var samples = regexp.MustCompile(`^(?:(_)|(-?[\d.]+|[+-]?Inf))(?:([+-])([\d.]+))?(?:x(\d+))?$`)

// repeatSamples writes each sample of a series of promtool's tests n times.
func repeatSamples(t *testing.T, values string, n int) string {
	t.Helper()
	var repeated []string
	add := func(value string, times int) {
		for range times {
			repeated = append(repeated, value)
		}
	}
	for word := range strings.FieldsSeq(values) {
		if word == "stale" {
			add("stale", 1)
			add("_", n-1)
			continue
		}
		part := samples.FindStringSubmatch(word)
		if part == nil {
			t.Fatalf("%q is not understood", word)
		}
		times, _ := strconv.Atoi(part[5])
		if part[1] == "_" {
			add("_", max(times, 1)*n)
			continue
		}
		value, _ := strconv.ParseFloat(part[2], 64)
		step, _ := strconv.ParseFloat(part[3]+part[4], 64)
		for range times + 1 {
			add(strconv.FormatFloat(value, 'f', -1, 64), n)
			value += step
		}
	}
	return strings.Join(repeated, " ")
}
