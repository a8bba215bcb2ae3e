package deploy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// The dashboard uses the thresholds of the rules. Its variables have the same values, for
// installations without the rules, and so do its colours.
func TestDashboardHasTheThresholdsOfTheRules(t *testing.T) {
	text := read(t, "grafana/dashboard.json")
	var dashboard struct {
		Templating struct {
			List []struct {
				Name    string
				Current struct{ Value any }
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &dashboard); err != nil {
		t.Fatal(err)
	}
	days := map[string]float64{}
	for _, variable := range dashboard.Templating.List {
		if value, ok := variable.Current.Value.(string); ok {
			days[variable.Name], _ = strconv.ParseFloat(value, 64) // 0 if it is not a number
		}
	}
	uses := regexp.MustCompile(`max\(last_over_time\((truefoundry:[a-z_:]+)\[4h\]\)\) or vector\(\$(\w+) \* 86400\)`).FindAllStringSubmatch(text, -1)
	if records := strings.Count(text, "truefoundry:"); len(uses) == 0 || records != len(uses) {
		t.Errorf("%d of %d thresholds have a variable", len(uses), records)
	}
	for _, use := range uses {
		if want := threshold(t, use[1]); days[use[2]]*86400 != want {
			t.Errorf("$%s is %v days, and %s is %v seconds", use[2], days[use[2]], use[1], want)
		}
	}

	// The steps are red (expired), orange (critical), yellow (warning) and green.
	steps := regexp.MustCompile(`"yellow",\s+"value": (\d+)\s+\},\s+\{\s+"color": "green",\s+"value": (\d+)`).FindAllStringSubmatch(text, -1)
	if len(steps) == 0 {
		t.Error("there are no colours")
	}
	critical, warning := threshold(t, "truefoundry:critical_lead:seconds"), threshold(t, "truefoundry:warning_lead:seconds")
	inSeconds, inDays := fmt.Sprint(int(critical), int(warning)), fmt.Sprint(int(critical/86400), int(warning/86400))
	for _, step := range steps {
		if got := step[1] + " " + step[2]; got != inSeconds && got != inDays {
			t.Errorf("the thresholds of yellow and green are %s, want %s or %s", got, inSeconds, inDays)
		}
	}
}

// threshold returns the value of a record that is a product of numbers.
func threshold(t *testing.T, record string) float64 {
	t.Helper()
	for _, rule := range everyRule(t) {
		if rule.Record != record {
			continue
		}
		product := 1.0
		for factor := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(rule.Expr, "vector("), ")"), " * ") {
			n, err := strconv.ParseFloat(factor, 64)
			if err != nil {
				t.Fatalf("%s is %s: %v", record, rule.Expr, err)
			}
			product *= n
		}
		return product
	}
	t.Fatalf("no rule records %s", record)
	return 0
}
