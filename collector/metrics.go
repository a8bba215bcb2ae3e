package collector

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// metric describes a metric. docs/metrics.md is generated from these descriptions.
type metric struct {
	name   string
	help   string
	labels []string
	// absent describes when there is no series. It is empty if there always is one.
	absent string
	desc   *prometheus.Desc
}

func newMetric(name, help, absent string, labels ...string) *metric {
	return &metric{name, help, labels, absent, prometheus.NewDesc(name, help, labels, nil)}
}

func (m *metric) gauge(ch chan<- prometheus.Metric, value float64, labelValues ...string) {
	ch <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, value, labelValues...)
}

func (m *metric) counter(ch chan<- prometheus.Metric, value int, labelValues ...string) {
	ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(value), labelValues...)
}

// tokenMetric is a gauge of each token. value returns false if the token does not have
// the metric.
type tokenMetric struct {
	*metric

	value func(t *client.Token, now time.Time) (float64, bool)
}

// tokenLabel is a label of token metrics.
type tokenLabel struct {
	name  string
	value func(*labelSource) string
	// infoOnly is true for labels that only truefoundry_token_info has.
	infoOnly bool
}

// labelSource holds what label values are taken from.
type labelSource struct {
	target *target
	token  *client.Token
	kind   client.Kind
}

// tokenLabels are the labels of token metrics, in the order of the documentation.
var tokenLabels = []tokenLabel{
	{name: "target", value: func(s *labelSource) string { return s.target.name }},
	{name: "control_plane", value: func(s *labelSource) string { return s.target.controlPlane }},
	{name: "kind", value: func(s *labelSource) string { return string(s.kind) }},
	{name: "tenant", value: func(s *labelSource) string { return s.token.Tenant }},
	{name: "owner_team", value: func(s *labelSource) string { return s.token.Team }},
	{name: "creator", value: creator},
	{name: "token_name", value: func(s *labelSource) string { return s.token.Name }},
	{name: "token_id", value: func(s *labelSource) string { return s.token.ID }},
	{name: "creator_type", value: func(s *labelSource) string { return s.token.Creator.Type }, infoOnly: true},
	{name: "token_type", value: func(s *labelSource) string { return s.token.Type }, infoOnly: true},
}

// infoOnlyLabels is the number of infoOnly labels.
const infoOnlyLabels = 2

// sortedTokenLabels are the tokenLabels in the order of an exposition.
var sortedTokenLabels = slices.SortedFunc(slices.Values(tokenLabels), func(a, b tokenLabel) int {
	return strings.Compare(a.name, b.name)
})

func creator(s *labelSource) string {
	if s.target.creatorLabel == CreatorID {
		return s.token.Creator.ID
	}
	return s.token.Creator.Name
}

func labelNames(labels []tokenLabel, info bool) (names []string) {
	for _, l := range labels {
		if info || !l.infoOnly {
			names = append(names, l.name)
		}
	}
	return names
}

func tokenGauge(name, help, absent string, value func(*client.Token, time.Time) (float64, bool)) tokenMetric {
	return tokenMetric{newMetric(name, help, absent, labelNames(sortedTokenLabels, false)...), value}
}

// infoMetric is the index of truefoundry_token_info in tokenMetrics.
const infoMetric = 0

var tokenMetrics = []tokenMetric{
	infoMetric: {
		newMetric("truefoundry_token_info", "A token that is listed by the control plane. The value is always 1.", "", labelNames(sortedTokenLabels, true)...),
		func(*client.Token, time.Time) (float64, bool) { return 1, true },
	},
	tokenGauge("truefoundry_token_has_expiry",
		"Whether the token has an expiry (1) or never expires (0).",
		"the expiry could not be read",
		func(t *client.Token, _ time.Time) (float64, bool) {
			return boolToFloat(!t.Expiry.At.IsZero()), t.Expiry.Readable
		}),
	tokenGauge("truefoundry_token_expiry_timestamp_seconds",
		"When the token stops working, in seconds since the Unix epoch.",
		"the token never expires, or the expiry could not be read",
		func(t *client.Token, _ time.Time) (float64, bool) { return timestamp(t.Expiry.At) }),
	tokenGauge("truefoundry_token_expired",
		"Whether the token is expired according to the API, or has an expiry in the past if the API does not say.",
		"the API does not say, and the expiry could not be read",
		expired),
	tokenGauge("truefoundry_token_created_timestamp_seconds",
		"When the token was created, in seconds since the Unix epoch.",
		"it is missing or unreadable",
		func(t *client.Token, _ time.Time) (float64, bool) { return timestamp(t.Created) }),
	tokenGauge("truefoundry_token_issued_timestamp_seconds",
		"When the token's current JWT was created, or the token itself if it has no JWT, in seconds since the Unix epoch.",
		"it is missing or unreadable",
		func(t *client.Token, _ time.Time) (float64, bool) { return timestamp(t.Issued) }),
	tokenGauge("truefoundry_token_last_accessed_timestamp_seconds",
		"When the token was last used to authenticate, in seconds since the Unix epoch.",
		"the token was never used, or the control plane does not report its use",
		func(t *client.Token, _ time.Time) (float64, bool) { return timestamp(t.LastAccessed) }),
	tokenGauge("truefoundry_token_auto_rotate_interval_seconds",
		"Interval at which the token is rotated automatically, in seconds.",
		"the token is not rotated automatically",
		func(t *client.Token, _ time.Time) (float64, bool) { return days(t.AutoRotateInterval) }),
	tokenGauge("truefoundry_token_auto_rotate_grace_period_seconds",
		"How long the previous JWT remains valid after a rotation, in seconds.",
		"the token is not rotated automatically",
		func(t *client.Token, _ time.Time) (float64, bool) { return days(t.GracePeriod) }),
	tokenGauge("truefoundry_token_next_rotation_timestamp_seconds",
		"When the token's next rotation is due, in seconds since the Unix epoch.",
		"no rotation is scheduled",
		func(t *client.Token, _ time.Time) (float64, bool) { return timestamp(t.NextRotation) }),
	tokenGauge("truefoundry_token_replaced",
		"Whether the same listing has a replacement: a token of the same tenant, creator and name that was issued at the same time "+
			"or later, expires later, and is not expired according to the API.",
		"",
		func(t *client.Token, _ time.Time) (float64, bool) { return boolToFloat(t.Replaced), true }),
	tokenGauge("truefoundry_token_previous_jwt_expiry_timestamp_seconds",
		"When the last of the token's previous JWTs stops working, in seconds since the Unix epoch.",
		"there is no previous JWT that expires",
		func(t *client.Token, _ time.Time) (float64, bool) { return timestamp(t.PreviousJWTExpiry) }),
	tokenGauge("truefoundry_token_secret_store_sync_timestamp_seconds",
		"When the token's current JWT was last written to its secret store, or failed to be, in seconds since the Unix epoch. "+
			"Experimental: inferred from the API's SDKs.",
		"the control plane does not report it",
		func(t *client.Token, _ time.Time) (float64, bool) {
			if t.SecretStoreSync == nil {
				return 0, false
			}
			return timestamp(t.SecretStoreSync.At)
		}),
	tokenGauge("truefoundry_token_secret_store_sync_failed",
		"Whether the token's current JWT could not be written to its secret store. The reason is logged. Experimental: inferred from the API's SDKs.",
		"the control plane does not report it",
		func(t *client.Token, _ time.Time) (float64, bool) {
			if t.SecretStoreSync == nil {
				return 0, false
			}
			return boolToFloat(t.SecretStoreSync.Failed), true
		}),
}

// expired returns what the API says, or else compares the expiry with now.
func expired(t *client.Token, now time.Time) (float64, bool) {
	if t.Expired != nil {
		return boolToFloat(*t.Expired), true
	}
	never := t.Expiry.At.IsZero()
	return boolToFloat(!never && !t.Expiry.At.After(now)), t.Expiry.Readable
}

const absentOnFailure = "the listing failed"

// Labels of targets and of their listings.
var (
	targetLabels  = []string{"target", "control_plane"}
	listingLabels = []string{"target", "control_plane", "kind"}
)

// withLabel returns labels with label appended.
func withLabel(labels []string, label string) []string { return append(slices.Clip(labels), label) }

var (
	up = newMetric("truefoundry_up",
		"Whether every listing of the target succeeded in this scrape.",
		"", targetLabels...)
	apiKeyExpiry = newMetric("truefoundry_api_key_expiry_timestamp_seconds",
		"When the API key of the exporter stops working, in seconds since the Unix epoch.",
		"the key does not contain its expiry and its token is not configured or not listed, or the key never expires", targetLabels...)
	listingSuccess = newMetric("truefoundry_listing_success",
		"Whether the listing succeeded in this scrape.",
		"", listingLabels...)
	listings = newMetric("truefoundry_listings_total",
		"Listings that have ended, successfully or not.",
		"", listingLabels...)
	listingDuration = newMetric("truefoundry_listing_duration_seconds",
		"How long this scrape waited for the listing, in seconds.",
		"", listingLabels...)
	listingTokens = newMetric("truefoundry_listing_tokens",
		"Distinct tokens in the listing.",
		absentOnFailure, listingLabels...)
	listingReportedTokens = newMetric("truefoundry_listing_reported_tokens",
		"Tokens in the list according to the API (pagination.total).",
		absentOnFailure+", or the API gave no count", listingLabels...)
	listingDuplicateTokens = newMetric("truefoundry_listing_duplicate_tokens",
		"Items dropped because the same listing had their token already.",
		absentOnFailure, listingLabels...)
	listingInvalidItems = newMetric("truefoundry_listing_invalid_items",
		"Items dropped because they could not be read at all.",
		absentOnFailure, listingLabels...)
	listingInvalidFields = newMetric("truefoundry_listing_invalid_fields",
		"Values dropped because they could not be read, by the path of their field in the API's response.",
		absentOnFailure, withLabel(listingLabels, "field")...)
	listingLastSuccess = newMetric("truefoundry_listing_last_success_timestamp_seconds",
		"When the listing last succeeded, in seconds since the Unix epoch.",
		"it has not succeeded since the exporter started", listingLabels...)
	listingErrors = newMetric("truefoundry_listing_errors_total",
		"Failed listings, by reason.",
		"", withLabel(listingLabels, "reason")...)
	apiRequests = newMetric("truefoundry_exporter_api_requests_total",
		"Requests to the control plane, by HTTP status. The code is none if there was no response.",
		"no request has had this outcome yet", withLabel(targetLabels, "code")...)
	apiRequestDuration = newMetric("truefoundry_exporter_api_request_duration_seconds",
		"Duration of requests to the control plane until their response was read, in seconds.",
		"", targetLabels...)
	apiRetries = newMetric("truefoundry_exporter_api_retries_total",
		"Requests to the control plane that were repeated.",
		"", targetLabels...)
)

// allMetrics returns all metrics, in the order of the documentation.
func allMetrics() []*metric {
	var all []*metric
	for _, m := range tokenMetrics {
		all = append(all, m.metric)
	}
	return append(all, up, listingSuccess, listings, listingDuration, listingTokens,
		listingReportedTokens, listingDuplicateTokens, listingInvalidItems, listingInvalidFields,
		listingLastSuccess, listingErrors, apiKeyExpiry, apiRequests, apiRequestDuration, apiRetries)
}

func boolToFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// timestamp returns t in seconds since the Unix epoch, or false if t is zero.
func timestamp(t time.Time) (float64, bool) {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9, !t.IsZero()
}

// days converts days to seconds. It returns false if n is nil.
func days(n *int64) (float64, bool) {
	if n == nil {
		return 0, false
	}
	return float64(*n) * (24 * time.Hour).Seconds(), true
}
