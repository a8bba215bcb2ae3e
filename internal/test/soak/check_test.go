package soak

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// exposition is what a scrape got.
type exposition struct {
	// begun is when the scrape began.
	begun int64
	// up is of each target, and success of each listing.
	up      map[string]float64
	success map[listing]float64
	// tokens are the series of each listing's tokens, by id and name.
	tokens map[listing]map[string]map[string]float64
	// counts are the other series of each listing: its numbers, by name.
	counts map[listing]map[string]float64
	// listings is how many of each have ended, and failures how many of those failed.
	listings map[listing]float64
	failures map[listing]map[client.Reason]float64
	// counters are all series that only grow, those of no listing, and of no
	// target, too.
	counters map[listing]map[string]float64
	// targets are those of any series.
	targets map[string]bool
	// gauges are the exporter's own, without labels.
	gauges map[string]float64
}

var comments = regexp.MustCompile(`(?m)^#.*\n`)

// parse reads an exposition, whether OpenMetrics or not.
func parse(body []byte, openMetrics bool) (*exposition, error) {
	if complete := bytes.HasSuffix(body, []byte("\n# EOF\n")); complete != openMetrics {
		return nil, fmt.Errorf("it ends with # EOF: %t", complete)
	}
	if openMetrics {
		// In OpenMetrics, go_memstats_alloc_bytes is a gauge and a counter. That
		// is the library's, and Prometheus does not mind. The parser does.
		body = comments.ReplaceAll(body, nil)
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

func (e *exposition) add(name string, m *dto.Metric) error {
	labels, parts := map[string]string{}, []string{name}
	for _, l := range m.Label {
		labels[l.GetName()] = l.GetValue()
		parts = append(parts, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	series := strings.Join(parts, " ")
	value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
	of := listing{labels["target"], client.Kind(labels["kind"])}
	if of.target != "" {
		e.targets[of.target] = true
	}
	switch {
	case strings.HasPrefix(name, "truefoundry_token_"):
		if labels["token_name"] != "token-"+labels["token_id"] {
			return fmt.Errorf("%s has the name of another token", series)
		}
		return put(inner(inner(e.tokens, of), labels["token_id"]), name, value)
	case name == "truefoundry_up":
		return put(e.up, of.target, value)
	case name == "truefoundry_listing_success":
		return put(e.success, of, value)
	case name == "truefoundry_listing_invalid_fields":
		if value != 0 {
			return fmt.Errorf("%s is %g", series, value)
		}
	case strings.HasSuffix(name, "_total"):
		var err error
		switch name {
		case "truefoundry_listing_errors_total":
			err = put(inner(e.failures, of), client.Reason(labels["reason"]), value)
		case "truefoundry_listings_total":
			err = put(e.listings, of, value)
		}
		if err != nil {
			return err
		}
		return put(inner(e.counters, of), series, value)
	case of.kind != "":
		return put(inner(e.counts, of), name, value)
	case len(labels) == 0:
		return put(e.gauges, name, value)
	}
	return nil
}

// inner returns the map below a key.
func inner[K, L comparable, V any](outer map[K]map[L]V, key K) map[L]V {
	if outer[key] == nil {
		outer[key] = map[L]V{}
	}
	return outer[key]
}

// put refuses series that are there twice.
func put[K comparable](values map[K]float64, key K, value float64) error {
	if _, twice := values[key]; twice {
		return fmt.Errorf("%v is there twice", key)
	}
	values[key] = value
	return nil
}

// verdict is what else is to be said of an exposition that is right.
type verdict struct {
	failed int // listings that failed
	// disturbed are listings that changed while they were read, or of which pages
	// were too short, and gaps are those of them that say that tokens are missing.
	disturbed, gaps int
}

// check compares an exposition with what the control planes held. Only pages
// after since may be in it, and none that a scrape before has shown: scrapes only
// share what is under way.
func (tr *truth) check(e *exposition, since int64) (v verdict, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.clock++
	targets := map[string]float64{}
	for of, success := range e.success {
		if up, ok := targets[of.target]; !ok || success < up {
			targets[of.target] = success
		}
	}
	if !maps.Equal(targets, e.up) {
		return v, fmt.Errorf("truefoundry_up is %v, and the listings' success %v", e.up, targets)
	}
	for target := range e.targets {
		if _, ok := e.up[target]; !ok {
			return v, fmt.Errorf("something is left of the target %q", target)
		}
	}
	for _, of := range slices.Concat(slices.Collect(maps.Keys(e.tokens)), slices.Collect(maps.Keys(e.counts)), slices.Collect(maps.Keys(e.listings)), slices.Collect(maps.Keys(e.failures))) {
		if _, ok := e.success[of]; !ok {
			return v, fmt.Errorf("something is left of the listing %v", of)
		}
	}
	for of, success := range e.success {
		if err := tr.checkReasons(of, e.failures[of]); err != nil {
			return v, fmt.Errorf("%v: %w", of, err)
		}
		failures := 0.0
		for _, n := range e.failures[of] {
			failures += n
		}
		if e.listings[of] < failures {
			return v, fmt.Errorf("%v: %g listings have ended, and %g failed", of, e.listings[of], failures)
		}
		if success == 0 {
			v.failed++
			err = checkFailed(e.tokens[of], e.counts[of])
		} else {
			err = tr.checkList(of, e, since, &v)
		}
		if err != nil {
			return v, fmt.Errorf("%v: %w", of, err)
		}
	}
	return v, nil
}

// checkReasons refuses more failures than the control plane gave reason for.
func (tr *truth) checkReasons(of listing, failures map[client.Reason]float64) error {
	if len(failures) != len(client.Reasons()) {
		return fmt.Errorf("it has %d reasons", len(failures))
	}
	for reason, n := range failures {
		switch injected := tr.injected[of]; {
		case n == 0, reason == client.ReasonTimeout: // the machine may be slow
		case reason == client.ReasonRateLimited && tr.banned(of.target):
		case n > float64(injected[reason]):
			return fmt.Errorf("%g failures are %s, and only %d answers were", n, reason, injected[reason])
		}
	}
	return nil
}

// banned tells whether the control plane has ever asked to be left alone by a
// target: what one listing is told holds for the other.
func (tr *truth) banned(target string) bool {
	for _, kind := range client.Kinds() {
		if tr.injected[listing{target, kind}][banned] > 0 {
			return true
		}
	}
	return false
}

// checkFailed refuses what a listing that failed must not have.
func checkFailed(tokens map[string]map[string]float64, counts map[string]float64) error {
	if len(tokens) > 0 {
		return fmt.Errorf("it failed, and shows %d tokens", len(tokens))
	}
	for name := range counts {
		if name != "truefoundry_listing_duration_seconds" && name != "truefoundry_listing_last_success_timestamp_seconds" {
			return fmt.Errorf("it failed, and shows %s", name)
		}
	}
	return nil
}

// checkList compares what a listing shows with the pages that it was made from:
// they must be all the pages of a list, from its beginning to its end, and all
// that was on each of them must be shown as it was there.
func (tr *truth) checkList(of listing, e *exposition, since int64, v *verdict) error {
	tokens, counts := e.tokens[of], e.counts[of]
	if n := counts["truefoundry_listing_tokens"]; int(n) != len(tokens) {
		return fmt.Errorf("it says that it has %g tokens, and shows %d", n, len(tokens))
	}
	if n := counts["truefoundry_listing_invalid_items"]; n != 0 {
		return fmt.Errorf("it has dropped %g items", n)
	}
	pages, err := tr.pagesOf(of, tokens, since)
	if err != nil {
		return err
	}
	for offset, p := range pages {
		if p.shown == 0 {
			p.shown = tr.clock
		} else if p.shown < e.begun {
			return fmt.Errorf("a scrape that was over before this one began had the page at %d already", offset)
		}
	}
	// The first page's length is that of the steps.
	step, last := 0, -1
	if len(tokens) > 0 {
		if pages[0] == nil {
			return fmt.Errorf("its first page is missing: %v", slices.Sorted(maps.Keys(pages)))
		}
		step, last = len(pages[0].items), slices.Max(slices.Collect(maps.Keys(pages)))
	}
	used, whole := 0, true
	var list version
	for offset := 0; ; offset += step {
		p := pages[offset]
		if p != nil {
			used++
		} else if p = tr.invisible(of, offset, tokens, since, func(p *page) bool { return len(p.items) < step && identical(list, p.list) }); p == nil {
			return fmt.Errorf("the page at %d of a list in steps of %d is missing", offset, step)
		}
		whole = whole && !p.shortened && (list == nil || identical(list, p.list))
		list = p.list
		isWholeList := offset == 0 && !p.shortened && len(p.items) < pageSize && len(p.items) == len(p.list)
		if len(p.items) < step && offset >= last || step == 0 || isWholeList && last == 0 {
			break
		}
	}
	if used != len(pages) {
		return fmt.Errorf("it is made from the pages at %v, in steps of %d", slices.Sorted(maps.Keys(pages)), step)
	}
	reported := int(counts["truefoundry_listing_reported_tokens"])
	switch {
	case whole && len(tokens) != len(list):
		return fmt.Errorf("it shows %d tokens, and all of its pages are from a list of %d", len(tokens), len(list))
	case whole && reported == len(list):
	case !tr.told(of, reported, since):
		return fmt.Errorf("it reports %d tokens, which no page has told", reported)
	default:
		v.disturbed++
	}
	if len(tokens) < reported {
		v.gaps++
	}
	return nil
}

// told tells whether a page told this total. It need not be one that shows:
// beyond the end of a list, pages are empty.
func (tr *truth) told(of listing, total int, since int64) bool {
	for _, p := range tr.pages {
		if p.of == of && p.serial > since && len(p.list) == total {
			return true
		}
	}
	return false
}

// pagesOf returns the pages that a listing was made from, by their offsets.
func (tr *truth) pagesOf(of listing, tokens map[string]map[string]float64, since int64) (map[int]*page, error) {
	pages := map[int]*page{}
	for id, values := range tokens {
		serial := int64(values[lastUsed]) - lastUse(0).Unix()
		p := tr.pages[serial]
		if p == nil || p.of != of || serial <= since {
			return nil, fmt.Errorf("token %s is from page %d, which is no page of this list after page %d", id, serial, since)
		}
		if other := pages[p.offset]; other != nil && other != p {
			return nil, fmt.Errorf("it is made from two pages at %d", p.offset)
		}
		pages[p.offset] = p
		at := slices.IndexFunc(p.items, func(h *held) bool { return h.ID == id })
		if at < 0 {
			return nil, fmt.Errorf("token %s was not on the page that it is from", id)
		}
		delete(values, lastUsed)
		if want := p.items[at].want; !maps.Equal(values, want) {
			return nil, fmt.Errorf("token %s is %v, want %v", id, values, want)
		}
	}
	for _, p := range pages {
		if !shown(p, tokens) {
			return nil, fmt.Errorf("a part of the page at %d is missing", p.offset)
		}
	}
	return pages, nil
}

// invisible returns a page of which no series tells, since it had nothing that
// other pages did not have; best one that is as expected.
func (tr *truth) invisible(of listing, offset int, tokens map[string]map[string]float64, since int64, expected func(*page) bool) *page {
	var found *page
	for _, p := range tr.pages {
		if p.of == of && p.offset == offset && p.serial > since && shown(p, tokens) {
			if found = p; expected(p) {
				break
			}
		}
	}
	return found
}

// shown tells whether all of a page is.
func shown(p *page, tokens map[string]map[string]float64) bool {
	return !slices.ContainsFunc(p.items, func(h *held) bool { return tokens[h.ID] == nil })
}

// identical tells whether two lists are the same version of one.
func identical(a, b version) bool { return len(a) == len(b) && &a[0] == &b[0] }
