package faults_test

import (
	"maps"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// scrape is the result of a scrape.
type scrape struct {
	metricstest.Families
	t *testing.T
	// before is the previous scrape, or nil.
	before *scrape
	text   string
	// log has the lines that were logged.
	log []string
	// page is the text of the landing page after the scrape.
	page string
	// requests is the number of requests to the faulty control plane.
	requests int
	// sent and allocated are the number of bytes that the faulty control plane sent, and
	// that this process allocated.
	sent, allocated int64
}

// expectFailed checks that the listing of the faulty target failed, and that all metrics
// and the landing page say so.
func (s *scrape) expectFailed(reason client.Reason) {
	s.t.Helper()
	s.expectSuccess(0)
	if tokens := s.tokens(faulty); len(tokens) > 0 {
		s.t.Errorf("the listing failed, but there are\n%s", strings.Join(tokens, ""))
	}
	s.expectCounted(reason)
	s.expectPage("✗ fails "+faulty, "What to do:")
}

// expectListed checks that the listing of the faulty target succeeded, and its number of
// tokens.
func (s *scrape) expectListed(tokens int) {
	s.t.Helper()
	s.expectSuccess(1)
	s.expectListing("truefoundry_listing_tokens", float64(tokens))
	if n := len(s.Values("truefoundry_token_info", "token_id", "target", faulty)); n != tokens {
		s.t.Errorf("got %d tokens, want %d", n, tokens)
	}
	s.expectCounted("")
	s.expectPage("✓ works " + faulty)
}

func (s *scrape) expectSuccess(want float64) {
	s.t.Helper()
	s.expectValues("truefoundry_up", "target", faulty, map[string]float64{faulty: want})
	s.expectListing("truefoundry_listing_success", want)
	s.expectValues("truefoundry_api_key_expiry_timestamp_seconds", "target", faulty, map[string]float64{faulty: 1790000000})
}

// expectCounted checks that the scrape counted one listing, and one error with the reason
// unless that is empty.
func (s *scrape) expectCounted(reason client.Reason) {
	s.t.Helper()
	listings, errors := 1.0, map[string]float64{}
	for _, each := range client.Reasons() {
		errors[string(each)] = 0
	}
	if s.before != nil {
		listings += s.before.Values("truefoundry_listings_total", "target", "target", faulty)[faulty]
		errors = s.before.Values("truefoundry_listing_errors_total", "reason", "target", faulty)
	}
	if reason != "" {
		errors[string(reason)]++
	}
	s.expectListing("truefoundry_listings_total", listings)
	s.expectValues("truefoundry_listing_errors_total", "reason", faulty, errors)
}

// expectSameTokens checks that the tokens of the faulty target are the same as in another
// scrape.
func (s *scrape) expectSameTokens(before *scrape) {
	s.t.Helper()
	s.expectListed(faultyTokens)
	s.expectTokensOf(faulty, before)
}

func (s *scrape) expectTokensOf(target string, before *scrape) {
	s.t.Helper()
	if got, want := s.tokens(target), before.tokens(target); !slices.Equal(got, want) {
		s.t.Errorf("the target %s has the tokens\n%s\nwant\n%s", target, strings.Join(got, ""), strings.Join(want, ""))
	}
}

// tokens returns the series of a target's tokens.
func (s *scrape) tokens(target string) []string {
	var series []string
	for line := range strings.Lines(s.text) {
		ofTokens := strings.HasPrefix(line, "truefoundry_token_") || strings.HasPrefix(line, "truefoundry_listing_tokens{")
		if ofTokens && strings.Contains(line, `target="`+target+`"`) {
			series = append(series, line)
		}
	}
	return series
}

// expectListing checks a metric of the faulty target's listing.
func (s *scrape) expectListing(metric string, want float64) {
	s.t.Helper()
	s.expectValues(metric, "kind", faulty, map[string]float64{string(client.PersonalAccessToken): want})
}

// expectValues checks the values of a metric of a target, by label.
func (s *scrape) expectValues(metric, label, target string, want map[string]float64) {
	s.t.Helper()
	if got := s.Values(metric, label, "target", target); !maps.Equal(got, want) {
		s.t.Errorf("%s of the target %s by %s is %v, want %v", metric, target, label, got, want)
	}
}

// expectInvalidFields checks the numbers of invalid values by field.
func (s *scrape) expectInvalidFields(want map[string]float64) {
	s.t.Helper()
	got := s.Values("truefoundry_listing_invalid_fields", "field", "target", faulty)
	maps.DeleteFunc(got, func(_ string, n float64) bool { return n == 0 })
	if !maps.Equal(got, want) {
		s.t.Errorf("the invalid fields are %v, want %v", got, want)
	}
}

// expectToken checks a metric of a token. The name of the metric lacks its prefix
// truefoundry_token_.
func (s *scrape) expectToken(id, metric string, want float64) {
	s.t.Helper()
	if got, ok := s.Values("truefoundry_token_"+metric, "token_id", "target", faulty)[id]; !ok || got != want {
		s.t.Errorf("%s of the token %q is %v (exists: %t), want %v", metric, id, got, ok, want)
	}
}

// expectNoMetrics checks that a token has none of the metrics. Their names are like those of
// expectToken.
func (s *scrape) expectNoMetrics(id string, names ...string) {
	s.t.Helper()
	for _, metric := range names {
		if got, ok := s.Values("truefoundry_token_"+metric, "token_id", "target", faulty)[id]; ok {
			s.t.Errorf("%s of the token %q is %v, want none", metric, id, got)
		}
	}
}

// expectLog checks that one line with these parts was logged, or nothing if there are no
// parts.
func (s *scrape) expectLog(parts ...string) {
	s.t.Helper()
	lines := min(len(parts), 1)
	if len(s.log) != lines {
		s.t.Fatalf("got %d lines in the log, want %d with %q:\n%s", len(s.log), lines, parts, strings.Join(s.log, "\n"))
	}
	for _, part := range parts {
		metricstest.Present(s.t, s.log[0], part)
	}
}

// expectPage checks that the landing page contains these parts.
func (s *scrape) expectPage(parts ...string) {
	s.t.Helper()
	for _, part := range parts {
		metricstest.Present(s.t, s.page, part)
	}
}

// expectRequests checks the number of requests to the faulty control plane.
func (s *scrape) expectRequests(want int) {
	s.t.Helper()
	if s.requests != want {
		s.t.Errorf("got %d requests, want %d", s.requests, want)
	}
}

// expectRetries checks the number of retries.
func (s *scrape) expectRetries(want float64) {
	s.t.Helper()
	const retries = "truefoundry_exporter_api_retries_total"
	n := s.Values(retries, "target")[faulty] - s.before.Values(retries, "target")[faulty]
	if n != want {
		s.t.Errorf("got %v retries, want %v", n, want)
	}
}

// expectSent checks that the faulty control plane sent at most this many MiB.
func (s *scrape) expectSent(most int64) {
	s.t.Helper()
	if s.sent > most<<20 {
		s.t.Errorf("%d bytes were sent, want at most %d MiB", s.sent, most)
	}
}

// expectAllocated checks that at most this many MiB were allocated.
func (s *scrape) expectAllocated(most int64) {
	s.t.Helper()
	if s.allocated > most<<20 {
		s.t.Errorf("%d bytes were allocated, want at most %d MiB", s.allocated, most)
	}
}

// allocations returns the number of bytes that this process has allocated.
func allocations() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
