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

// scrape is what a scraper gets, and what else can be seen then.
type scrape struct {
	metricstest.Families
	t *testing.T
	// before is the scrape before this one, nil for the first one.
	before *scrape
	text   string
	log    []string
	// page is what a person reads on the landing page after the scrape.
	page string
	// requests, sent and allocated are the requests that the faulty control plane
	// got, the bytes that it sent, and those that this process allocated.
	requests        int
	sent, allocated int64
}

// expectFailed checks that the listing of the faulty target failed, and that this
// is told in all places and counted once.
func (s *scrape) expectFailed(reason client.Reason) {
	s.t.Helper()
	s.expectSuccess(0)
	if half := s.tokens(faulty); len(half) > 0 {
		s.t.Errorf("of the listing that failed there are\n%s", strings.Join(half, ""))
	}
	s.expectCounted(reason)
	s.expectPage("✗ fails "+faulty, "What to do:")
}

// expectListed checks that the listing of the faulty target succeeded, and has so
// many tokens.
func (s *scrape) expectListed(tokens int) {
	s.t.Helper()
	s.expectSuccess(1)
	s.expectListing("truefoundry_listing_tokens", float64(tokens))
	if n := len(s.Values("truefoundry_token_info", "token_id", "target", faulty)); n != tokens {
		s.t.Errorf("there are %d tokens, want %d", n, tokens)
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

// expectCounted checks that the scrape counted one listing, and one failure with
// the reason, where there is one.
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

// expectSameTokens checks that the faulty target has what it had before.
func (s *scrape) expectSameTokens(before *scrape) {
	s.t.Helper()
	s.expectListed(faultyTokens)
	s.expectTokensOf(faulty, before)
}

func (s *scrape) expectTokensOf(target string, before *scrape) {
	s.t.Helper()
	if got, want := s.tokens(target), before.tokens(target); !slices.Equal(got, want) {
		s.t.Errorf("of the target %s there are\n%s\nand there were\n%s", target, strings.Join(got, ""), strings.Join(want, ""))
	}
}

// tokens are the series of a target's tokens.
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

// expectListing checks the value of a metric of the faulty target's listing.
func (s *scrape) expectListing(metric string, want float64) {
	s.t.Helper()
	s.expectValues(metric, "kind", faulty, map[string]float64{string(client.PersonalAccessToken): want})
}

// expectValues checks the values of a metric of a target, by another label.
func (s *scrape) expectValues(metric, by, target string, want map[string]float64) {
	s.t.Helper()
	if got := s.Values(metric, by, "target", target); !maps.Equal(got, want) {
		s.t.Errorf("%s of the target %s by %s: %v, want %v", metric, target, by, got, want)
	}
}

// expectLost checks how many values of which fields could not be read.
func (s *scrape) expectLost(want map[string]float64) {
	s.t.Helper()
	got := s.Values("truefoundry_listing_invalid_fields", "field", "target", faulty)
	maps.DeleteFunc(got, func(_ string, n float64) bool { return n == 0 })
	if !maps.Equal(got, want) {
		s.t.Errorf("lost are %v, want %v", got, want)
	}
}

// expectToken checks the value of a metric of a token, without the prefix that
// the names of these metrics have.
func (s *scrape) expectToken(id, metric string, want float64) {
	s.t.Helper()
	if got, ok := s.Values("truefoundry_token_"+metric, "token_id", "target", faulty)[id]; !ok || got != want {
		s.t.Errorf("%s of the token %s is %v, %t; want %v", metric, id, got, ok, want)
	}
}

// expectOddLacks checks that the odd token has none of the metrics.
func (s *scrape) expectOddLacks(names ...string) {
	s.t.Helper()
	for _, metric := range names {
		if got, ok := s.Values("truefoundry_token_"+metric, "token_id", "target", faulty)[odd]; ok {
			s.t.Errorf("%s is %v, want none", metric, got)
		}
	}
}

// expectLog checks that one line was logged, with these parts, or nothing where
// there are none.
func (s *scrape) expectLog(parts ...string) {
	s.t.Helper()
	lines := min(len(parts), 1)
	if len(s.log) != lines {
		s.t.Fatalf("%d lines are logged, want %d with %q:\n%s", len(s.log), lines, parts, strings.Join(s.log, "\n"))
	}
	for _, part := range parts {
		metricstest.Present(s.t, s.log[0], part)
	}
}

// expectPage checks that the landing page says this.
func (s *scrape) expectPage(parts ...string) {
	s.t.Helper()
	for _, part := range parts {
		metricstest.Present(s.t, s.page, part)
	}
}

// expectRequests checks how many requests the faulty control plane got.
func (s *scrape) expectRequests(want int) {
	s.t.Helper()
	if s.requests != want {
		s.t.Errorf("%d requests, want %d", s.requests, want)
	}
}

// expectRetries checks how many requests were repeated.
func (s *scrape) expectRetries(want float64) {
	s.t.Helper()
	const retries = "truefoundry_exporter_api_retries_total"
	n := s.Values(retries, "target")[faulty] - s.before.Values(retries, "target")[faulty]
	if n != want {
		s.t.Errorf("%v retries, want %v", n, want)
	}
}

// expectAtMost checks that so many MiB were sent or allocated.
func (s *scrape) expectAtMost(what string, n, mebibytes int64) {
	s.t.Helper()
	if n > mebibytes<<20 {
		s.t.Errorf("%d bytes %s, want at most %d MiB", n, what, mebibytes)
	}
}

// allocations is what was allocated since the process started, in bytes.
func allocations() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
