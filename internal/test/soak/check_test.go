package soak

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// exposition holds the metrics of a scrape.
type exposition struct {
	begun    int64 // the clock when the scrape began
	up       map[string]float64
	success  map[listing]float64
	tokens   map[listing]map[string]map[string]float64 // by ID and metric
	counts   map[listing]map[string]float64            // other gauges of listings
	listings map[listing]float64
	failures map[listing]map[client.Reason]float64
	counters map[listing]map[string]float64 // all counters, by series
	targets  map[string]bool                // the targets of all series
	gauges   map[string]float64             // gauges of the exporter without labels
}

// parse parses an exposition.
func parse(body []byte, openMetrics bool) (*exposition, error) {
	if complete := bytes.HasSuffix(body, []byte("\n# EOF\n")); complete != openMetrics {
		return nil, fmt.Errorf("the exposition ends with # EOF: %t", complete)
	}
	if openMetrics {
		// The parser of the text format does not accept the types of OpenMetrics.
		body = withoutComments(body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	e := &exposition{
		up: map[string]float64{}, success: map[listing]float64{}, tokens: map[listing]map[string]map[string]float64{},
		counts: map[listing]map[string]float64{}, listings: map[listing]float64{}, failures: map[listing]map[client.Reason]float64{},
		counters: map[listing]map[string]float64{}, targets: map[string]bool{}, gauges: map[string]float64{},
	}
	for name, family := range families {
		for _, m := range family.Metric {
			if err := e.add(name, m); err != nil {
				return nil, err
			}
		}
	}
	return e, nil
}

// withoutComments returns the lines that are samples.
func withoutComments(body []byte) []byte {
	var samples []byte
	for line := range bytes.Lines(body) {
		if line[0] != '#' {
			samples = append(samples, line...)
		}
	}
	return samples
}

// add adds a sample.
func (e *exposition) add(name string, m *dto.Metric) error {
	labels := map[string]string{}
	for _, l := range m.Label {
		labels[l.GetName()] = l.GetValue()
	}
	value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
	l := listing{labels["target"], client.Kind(labels["kind"])}
	if l.target != "" {
		e.targets[l.target] = true
	}
	switch {
	case strings.HasPrefix(name, "truefoundry_token_"):
		if labels["token_name"] != "token-"+labels["token_id"] {
			return fmt.Errorf("%s has the name of another token", series(name, m))
		}
		return setOnce(getOrMake(getOrMake(e.tokens, l), labels["token_id"]), name, value)
	case name == "truefoundry_up":
		return setOnce(e.up, l.target, value)
	case name == "truefoundry_listing_success":
		return setOnce(e.success, l, value)
	case name == "truefoundry_listing_invalid_fields":
		if value != 0 {
			return fmt.Errorf("%s is %g", series(name, m), value)
		}
	case strings.HasSuffix(name, "_total"):
		var err error
		switch name {
		case "truefoundry_listing_errors_total":
			err = setOnce(getOrMake(e.failures, l), client.Reason(labels["reason"]), value)
		case "truefoundry_listings_total":
			err = setOnce(e.listings, l, value)
		}
		if err != nil {
			return err
		}
		return setOnce(getOrMake(e.counters, l), series(name, m), value)
	case l.kind != "":
		return setOnce(getOrMake(e.counts, l), name, value)
	case len(labels) == 0:
		return setOnce(e.gauges, name, value)
	}
	return nil
}

// series returns the name and the labels of a sample.
func series(name string, m *dto.Metric) string {
	parts := []string{name}
	for _, l := range m.Label {
		parts = append(parts, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	return strings.Join(parts, " ")
}

// getOrMake returns the map of a key and makes it if it is missing.
func getOrMake[K, L comparable, V any](outer map[K]map[L]V, key K) map[L]V {
	if outer[key] == nil {
		outer[key] = map[L]V{}
	}
	return outer[key]
}

// setOnce sets a value, or returns an error if it is set already.
func setOnce[K comparable](values map[K]float64, key K, value float64) error {
	if _, twice := values[key]; twice {
		return fmt.Errorf("%v is repeated", key)
	}
	values[key] = value
	return nil
}

// checkResult counts what is not an error in an exposition.
type checkResult struct {
	failed int // listings that failed
	// changed counts listings that changed while they were read or had short pages. gaps
	// counts those that report missing tokens.
	changed, gaps int
}

// check compares an exposition with the state of the control planes. It may only contain
// pages after since, and none that an earlier scrape has exposed: scrapes only share
// listings in progress.
func (tr *truth) check(e *exposition, since int64) (v checkResult, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.clock++
	targets := map[string]float64{}
	for l, success := range e.success {
		if up, ok := targets[l.target]; !ok || success < up {
			targets[l.target] = success
		}
	}
	if !maps.Equal(targets, e.up) {
		return v, fmt.Errorf("truefoundry_up is %v, but the success of listings is %v", e.up, targets)
	}
	for target := range e.targets {
		if _, ok := e.up[target]; !ok {
			return v, fmt.Errorf("the removed target %q has metrics", target)
		}
	}
	for _, l := range slices.Concat(slices.Collect(maps.Keys(e.tokens)), slices.Collect(maps.Keys(e.counts)), slices.Collect(maps.Keys(e.listings)), slices.Collect(maps.Keys(e.failures))) {
		if _, ok := e.success[l]; !ok {
			return v, fmt.Errorf("the removed listing %v has metrics", l)
		}
	}
	for l, success := range e.success {
		if err := tr.checkReasons(l, e.failures[l]); err != nil {
			return v, fmt.Errorf("%v: %w", l, err)
		}
		failures := 0.0
		for _, n := range e.failures[l] {
			failures += n
		}
		if e.listings[l] < failures {
			return v, fmt.Errorf("%v: %g listings have ended, and %g failed", l, e.listings[l], failures)
		}
		if success == 0 {
			v.failed++
			err = checkFailed(e.tokens[l], e.counts[l])
		} else {
			err = tr.checkList(l, e, since, &v)
		}
		if err != nil {
			return v, fmt.Errorf("%v: %w", l, err)
		}
	}
	return v, nil
}

// checkReasons returns an error if there are more failures than injected faults.
func (tr *truth) checkReasons(l listing, failures map[client.Reason]float64) error {
	if len(failures) != len(client.Reasons()) {
		return fmt.Errorf("there are %d reasons", len(failures))
	}
	for reason, n := range failures {
		switch injected := tr.injected[l]; {
		case n == 0, reason == client.ReasonTimeout: // the machine may be slow
		case reason == client.ReasonRateLimited && tr.rateLimited(l.target):
		case n > float64(injected[reason]):
			return fmt.Errorf("%g failures are %s, but only %d such faults were injected", n, reason, injected[reason])
		}
	}
	return nil
}

// rateLimited reports whether the control plane has ever sent a Retry-After of a second to
// a target. It applies to all listings of the target.
func (tr *truth) rateLimited(target string) bool {
	for _, kind := range client.Kinds() {
		if tr.injected[listing{target, kind}][retryAfter] > 0 {
			return true
		}
	}
	return false
}

// checkFailed returns an error if a failed listing has metrics that it must not have.
func checkFailed(tokens map[string]map[string]float64, counts map[string]float64) error {
	if len(tokens) > 0 {
		return fmt.Errorf("the failed listing has %d tokens", len(tokens))
	}
	for name := range counts {
		if name != "truefoundry_listing_duration_seconds" && name != "truefoundry_listing_last_success_timestamp_seconds" {
			return fmt.Errorf("the failed listing has %s", name)
		}
	}
	return nil
}

// checkList compares a listing with the pages that it consists of. They must be all pages of
// a list, and all of their tokens must be exposed as they were sent.
func (tr *truth) checkList(l listing, e *exposition, since int64, v *checkResult) error {
	tokens, counts := e.tokens[l], e.counts[l]
	if n := counts["truefoundry_listing_tokens"]; int(n) != len(tokens) {
		return fmt.Errorf("listing_tokens is %g, but there are %d tokens", n, len(tokens))
	}
	if n := counts["truefoundry_listing_invalid_items"]; n != 0 {
		return fmt.Errorf("%g items were dropped", n)
	}
	pages, err := tr.pagesOf(l, tokens, since)
	if err != nil {
		return err
	}
	for offset, p := range pages {
		if p.shown == 0 {
			p.shown = tr.clock
		} else if p.shown < e.begun {
			return fmt.Errorf("the page at %d was exposed by a scrape that ended before this one began", offset)
		}
	}
	// All pages are as long as the first one.
	pageLength, last := 0, -1
	if len(tokens) > 0 {
		if pages[0] == nil {
			return fmt.Errorf("the first page is missing: %v", slices.Sorted(maps.Keys(pages)))
		}
		pageLength, last = len(pages[0].items), slices.Max(slices.Collect(maps.Keys(pages)))
	}
	used, unchanged := 0, true
	var list tokenList
	for offset := 0; ; offset += pageLength {
		p := pages[offset]
		if p != nil {
			used++
		} else if p = tr.findHiddenPage(l, offset, tokens, since, func(p *page) bool { return len(p.items) < pageLength && identical(list, p.list) }); p == nil {
			return fmt.Errorf("the page at %d is missing, with pages of %d", offset, pageLength)
		}
		unchanged = unchanged && !p.shortened && (list == nil || identical(list, p.list))
		list = p.list
		isOnlyPage := offset == 0 && !p.shortened && len(p.items) < pageSize && len(p.items) == len(p.list)
		if len(p.items) < pageLength && offset >= last || pageLength == 0 || isOnlyPage && last == 0 {
			break
		}
	}
	if used != len(pages) {
		return fmt.Errorf("the listing consists of the pages at %v, with pages of %d", slices.Sorted(maps.Keys(pages)), pageLength)
	}
	reported := int(counts["truefoundry_listing_reported_tokens"])
	switch {
	case unchanged && len(tokens) != len(list):
		return fmt.Errorf("got %d tokens, but all pages are from a list of %d", len(tokens), len(list))
	case unchanged && reported == len(list):
	case !tr.reportedBy(l, reported, since):
		return fmt.Errorf("got %d reported tokens, which no page has reported", reported)
	default:
		v.changed++
	}
	if len(tokens) < reported {
		v.gaps++
	}
	return nil
}

// reportedBy reports whether any page had this total. That may be an empty page after the
// end of a list.
func (tr *truth) reportedBy(l listing, total int, since int64) bool {
	for _, p := range tr.pages {
		if p.listing == l && p.serial > since && len(p.list) == total {
			return true
		}
	}
	return false
}

// pagesOf returns the pages that a listing consists of, by offset.
func (tr *truth) pagesOf(l listing, tokens map[string]map[string]float64, since int64) (map[int]*page, error) {
	pages := map[int]*page{}
	for id, values := range tokens {
		serial := int64(values[lastAccessedMetric]) - lastAccess(0).Unix()
		p := tr.pages[serial]
		if p == nil || p.listing != l || serial <= since {
			return nil, fmt.Errorf("token %s is from page %d, which is not a page of this list after page %d", id, serial, since)
		}
		if other := pages[p.offset]; other != nil && other != p {
			return nil, fmt.Errorf("the listing consists of two pages at %d", p.offset)
		}
		pages[p.offset] = p
		at := slices.IndexFunc(p.items, func(h *expectedToken) bool { return h.ID == id })
		if at < 0 {
			return nil, fmt.Errorf("token %s was not on its page", id)
		}
		delete(values, lastAccessedMetric)
		if want := p.items[at].want; !maps.Equal(values, want) {
			return nil, fmt.Errorf("token %s is %v, want %v", id, values, want)
		}
	}
	for _, p := range pages {
		if !isShown(p, tokens) {
			return nil, fmt.Errorf("tokens of the page at %d are missing", p.offset)
		}
	}
	return pages, nil
}

// findHiddenPage returns a page whose tokens were also on other pages, preferably one that
// meets the expectation.
func (tr *truth) findHiddenPage(l listing, offset int, tokens map[string]map[string]float64, since int64, expected func(*page) bool) *page {
	var found *page
	for _, p := range tr.pages {
		if p.listing == l && p.offset == offset && p.serial > since && isShown(p, tokens) {
			if found = p; expected(p) {
				break
			}
		}
	}
	return found
}

// isShown reports whether all tokens of a page are exposed.
func isShown(p *page, tokens map[string]map[string]float64) bool {
	return !slices.ContainsFunc(p.items, func(h *expectedToken) bool { return tokens[h.ID] == nil })
}

// identical reports whether two lists are the same version of a list.
func identical(a, b tokenList) bool { return len(a) == len(b) && &a[0] == &b[0] }
