package deploy

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// What the windows of the rules follow from; docs/design.md tells why.
const (
	day = 24 * time.Hour

	round     = 5 * time.Minute  // facts are taken, and compared
	heldRound = 30 * time.Minute // those of tokens that nobody lists are looked up
	absence   = 3 * time.Hour    // of Prometheus, which has to cost no alert
	memory    = 7 * day          // of what nobody lists any more
)

// And the windows themselves.
const (
	twoRounds  = 2 * round
	late       = 3 * round              // a list ends alerts after that
	grace      = 2 * round              // rules of a list may be so far apart
	seenLately = 4 * round              // whether something is now
	longAgo    = heldRound + round      // long enough to alert, with the last round
	unsettled  = heldRound              // of lists that differ, or have lost tokens
	recent     = absence + 2*heldRound  // of what is known without looking further
	held       = 2 * heldRound          // unlisted for so long: look further
	revoked    = time.Hour + late       // so long, the API calls a token expired
	blind      = longAgo + twoRounds    // until an alert
	listedADay = day                    // what an instance had
	differ     = day / 2                // the alert of lists that differ goes on
	partOfADay = listedADay - time.Hour // when the last hour of that day begins
)

// readThrough says through which windows the rules of some groups may read some
// metrics. The names are regular expressions.
type readThrough struct {
	groups, metrics string
	windows         []string
}

// Of these, the first that matches counts.
var windows = []readThrough{
	{".*", `truefoundry:.*`, in(recent)},
	{"facts", `truefoundry_token:end_timestamp_seconds:last`, []string{text(recent) + " offset " + text(late)}},
	{"facts", `truefoundry_token:life_seconds:last`, in(recent)},
	{"facts", `truefoundry_token_expired`, append(in(round, revoked), text(late)+" offset "+text(time.Hour))},
	{"lists", `truefoundry_listing:tokens:max`, in(listedADay)},
	{"facts|lists", `up|truefoundry_[a-z_]*`, in(round)},
	{"held", `truefoundry_token:.*:last`, in(memory, held)},
	{"tokens", `truefoundry_listing:.*`, in(recent)},
	{"lists", `truefoundry_listing:seen_timestamp_seconds:last`, append(in(memory), text(recent)+" offset "+text(memory))},
	{"held|lists", `truefoundry_listing:listed_timestamp_seconds:complete`, []string{text(memory) + " offset " + text(late)}},
	{"held|tokens|token_alerts|informational", `truefoundry_token:.*|truefoundry_token_(warning|critical)_timestamp_seconds`, in(recent)},
	{"lists", `truefoundry_token:listed_timestamp_seconds:last`, in(recent, longAgo)},
	{"lists", `truefoundry_token:.*`, in(recent)},
	{"lists", `truefoundry_target:lists_differ`, in(unsettled)},
	{"lists", `truefoundry_target:lists_differ:30m`, in(recent, memory)},
	{"lists", `truefoundry_listing:tokens:lasting`, in(unsettled, memory)},
	{"exporters", `truefoundry_exporter:covered`, in(twoRounds)},
	{"lists|exporters", `truefoundry_exporter:.*`, in(recent)},
	{"exporters", `truefoundry_exporter_build_info`, in(round)},
	{"targets", `truefoundry_listing:instances:count`, []string{text(listedADay) + " offset " + text(longAgo)}},
	{"targets", `truefoundry_listing:unseen:seconds`, in(twoRounds)},
	{"targets", `truefoundry_exporter:listing|truefoundry_listing:tokens:unlisted`, in(seenLately)},
	{"targets", `truefoundry_listing:seen_timestamp_seconds:last`, in(longAgo, memory)},
	{"targets", `truefoundry_target:lists_differ:30m`, in(differ, memory)},
	{".*", `truefoundry_(listing|target):.*`, in(memory)},
	{"targets|exporters|absent", `up`, in(round)},
	{"absent", `truefoundry_up`, in(round)},
	{"targets|exporters", `truefoundry_listing_success`, in(twoRounds, longAgo)},
	{"targets", `truefoundry_listing_errors_total`, in(seenLately)},
	{"list_alerts", `truefoundry_listing_tokens`, append(in(twoRounds), text(time.Hour)+" offset "+text(partOfADay))},
	{"informational", `truefoundry_token_(last_accessed|issued)_timestamp_seconds`, in(time.Hour)},
	{"informational", `truefoundry_token_(expired|expiry_timestamp_seconds)`, in(twoRounds, time.Hour)},
	{".*", `truefoundry_[a-z_]*`, in(twoRounds)},
}

func in(durations ...time.Duration) (texts []string) {
	for _, d := range durations {
		texts = append(texts, text(d))
	}
	return texts
}

// text writes a duration as the rules do.
func text(d time.Duration) string {
	switch {
	case d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
}

type ruleText struct {
	group                    string // without what all groups have in common
	Record, Alert, Expr, For string
}

// everyRule returns the rules.
func everyRule(t *testing.T) (all []ruleText) {
	t.Helper()
	var rules struct {
		Groups []struct {
			Name  string
			Rules []ruleText
		}
	}
	load(t, "prometheus/rules.yml", &rules)
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			rule.group = strings.TrimPrefix(group.Name, "truefoundry_exporter.")
			all = append(all, rule)
		}
	}
	return all
}

var selector = regexp.MustCompile(`([a-z_]*:[a-z0-9_:]+|truefoundry_[a-z_]+|\bup\b)(?:\{[^}]*\})?(?:\[(\w+)\](?: (offset \w+))?)?`)

func TestRuleWindowsMatchTheDesign(t *testing.T) {
	used := make([]map[string]bool, len(windows))
	for _, rule := range everyRule(t) {
		for _, found := range selector.FindAllStringSubmatch(rule.Expr, -1) {
			metric, window := found[1], strings.TrimSpace(found[2]+" "+found[3])
			i := slices.IndexFunc(windows, func(w readThrough) bool {
				return matches(w.groups, rule.group) && matches(w.metrics, metric)
			})
			if i < 0 || !slices.Contains(windows[i].windows, window) {
				t.Errorf("%s%s reads %s through [%s]", rule.Record, rule.Alert, metric, window)
				continue
			}
			if used[i] == nil {
				used[i] = map[string]bool{}
			}
			used[i][window] = true
		}
	}
	for i, w := range windows {
		if got := slices.Sorted(maps.Keys(used[i])); len(got) != len(w.windows) {
			t.Errorf("in %s, %s is read through %q only, want %q", w.groups, w.metrics, got, w.windows)
		}
	}
}

func matches(pattern, text string) bool {
	return regexp.MustCompile("^(?:" + pattern + ")$").MatchString(text)
}

// A rule that reads another one's result by an instant selector finds nothing where
// that one is late, or Prometheus has been away.
func TestRecordsAreReadThroughWindows(t *testing.T) {
	records := 0
	for _, rule := range everyRule(t) {
		for _, found := range selector.FindAllStringSubmatch(rule.Expr, -1) {
			if strings.Contains(found[1], ":") || slices.ContainsFunc(everyRule(t), func(r ruleText) bool { return r.Record == found[1] }) {
				records++
				if found[2] == "" {
					t.Errorf("%s%s reads %s without a window", rule.Record, rule.Alert, found[1])
				}
			}
		}
	}
	if records == 0 {
		t.Error("no rule reads a record")
	}
}

// Where a threshold is there twice, a comparison with both of them is no error, but
// false.
func TestThresholdsAreReadAsOneNumber(t *testing.T) {
	one := regexp.MustCompile(`scalar\(max\(last_over_time\(truefoundry:[a-z_:]+\[` + text(recent) + `\]\)\)\)`)
	thresholds := 0
	for _, rule := range everyRule(t) {
		thresholds += len(one.FindAllString(rule.Expr, -1))
		if rest := one.ReplaceAllString(rule.Expr, ""); strings.Contains(rest, "truefoundry:") || strings.Contains(rest, "scalar(") {
			t.Errorf("%s%s reads a threshold otherwise:\n%s", rule.Record, rule.Alert, rest)
		}
	}
	if thresholds == 0 {
		t.Error("no rule reads a threshold")
	}
}

// What the windows follow from is what the rules do.
func TestGroupsHaveTheIntervalsOfTheDesign(t *testing.T) {
	var rules ruleFile
	load(t, "prometheus/rules.yml", &rules)
	want := map[string]time.Duration{"facts": round, "lists": round, "tokens": round, "list_alerts": round, "held": heldRound}
	for _, group := range rules.Groups {
		name := strings.TrimPrefix(group.Name, "truefoundry_exporter.")
		interval, err := time.ParseDuration(group.Interval)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		switch wanted, fixed := want[name]; {
		case fixed && interval != wanted:
			t.Errorf("%s is evaluated every %v, want %v", name, interval, wanted)
		case interval > twoRounds && name != "held":
			t.Errorf("%s is evaluated every %v, and its rules look back for %v", name, interval, twoRounds)
		}
		delete(want, name)
		// Mimir takes no more.
		if len(group.Rules) > 20 {
			t.Errorf("%s has %d rules", name, len(group.Rules))
		}
	}
	for name := range want {
		t.Errorf("there is no group %s", name)
	}
}

// Numbers in expressions are those of the design, too.
func TestTheGraceOfAListIsThatOfTheDesign(t *testing.T) {
	for pattern, want := range map[string]struct {
		seconds float64
		times   int
	}{
		`offset ` + text(late) + `\]?\) - (\d+)`: {grace.Seconds(), 2},
		`> (\d+) \* 60\)`:                        {longAgo.Minutes(), 1},
	} {
		found := regexp.MustCompile(pattern).FindAllStringSubmatch(read(t, "prometheus/rules.yml"), -1)
		for _, number := range found {
			if n, err := strconv.ParseFloat(number[1], 64); err != nil || n != want.seconds {
				t.Errorf("%q, want %v", number[0], want.seconds)
			}
		}
		if len(found) != want.times {
			t.Errorf("%s is there %d times, want %d", pattern, len(found), want.times)
		}
	}
	for _, rule := range everyRule(t) {
		if rule.Alert == "TrueFoundryTargetBlind" && rule.For != text(blind-longAgo) {
			t.Errorf("a target is blind after %v and %s, want %v", longAgo, rule.For, blind)
		}
	}
}

// The table of the design has each of these durations, and no other.
func TestTheDesignHasTheWindows(t *testing.T) {
	want := map[string]bool{text(heldRound): true, text(twoRounds): true}
	for _, w := range windows {
		for _, window := range w.windows {
			for duration := range strings.SplitSeq(window, " offset ") {
				want[duration] = true
			}
		}
	}
	design, err := os.ReadFile("../../../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+[mhd]) \|`).FindAllStringSubmatch(string(design), -1) {
		got[row[1]] = true
	}
	if !maps.Equal(got, want) {
		t.Errorf("the table has %q, want %q", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

// The header of the rules says how to keep clusters apart.
func TestRulesTakeALabelToAggregateBy(t *testing.T) {
	text := read(t, "prometheus/rules.yml")
	command := regexp.MustCompile(`(?m)^# +(sed -E '.+') rules\.yml$`).FindStringSubmatch(text)
	if command == nil {
		t.Fatal("the header does not say how")
	}
	if runbook, err := os.ReadFile("../../../../docs/runbook.md"); err != nil || !strings.Contains(string(runbook), command[1]) {
		t.Errorf("the runbook does not say %s: %v", command[1], err)
	}
	sed := exec.CommandContext(t.Context(), "sh", "-c", command[1])
	sed.Stdin = strings.NewReader(text)
	output, err := sed.Output()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	write(t, path, string(output))
	run(t, promtool, "check", "rules", "--lint=all", "--lint-fatal", path)

	var rules ruleFile
	if err := yaml.Load(output, &rules); err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`\b(by|on|without|ignoring)\b\s*\(([^)]*)\)`)
	lists := 0
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			expression := fmt.Sprint(rule.(map[string]any)["expr"])
			for _, found := range list.FindAllStringSubmatch(expression, -1) {
				lists++
				if !strings.HasPrefix(found[2], "cluster, ") || found[1] != "by" && found[1] != "on" {
					t.Errorf("%s does not keep clusters apart", found[0])
				}
			}
			// Without a list, all series are one.
			if one := regexp.MustCompile(`\b(sum|count|max|min|group)\s*\(`).FindString(strings.ReplaceAll(expression, "scalar(max(", "")); one != "" {
				t.Errorf("%s of all clusters: %s", one, expression)
			}
		}
	}
	if lists == 0 {
		t.Error("there are no lists")
	}
}
