package collector

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// metric is one row of the public contract. Describe, the exposition and the
// README's table are made from these rows, and from nothing else.
type metric struct {
	name       string
	help       string
	metricType dto.MetricType
	labels     []string
	// absent says when there is no series, empty where there is always one.
	absent string
}

func (m *metric) desc() *prometheus.Desc { return prometheus.NewDesc(m.name, m.help, m.labels, nil) }

// tokenMetric is a gauge with the labels of a token. value returns false where
// there is no value: then there is no series.
type tokenMetric struct {
	metric
	value func(t *client.Token, now time.Time) (float64, bool)
}

// tokenLabel is a label of a token's metrics. value points into the token, so
// that labels cost no copies.
type tokenLabel struct {
	name  string
	value func(*labelled) string
	// infoOnly: it stands on truefoundry_token_info alone.
	infoOnly bool
}

// labelled is what the labels of a token are made of.
type labelled struct {
	target       *target
	kind         string
	creatorLabel CreatorLabel
	token        *client.Token
}

// tokenLabels are the labels of tokens, in the order of the docs.
var tokenLabels = []tokenLabel{
	{name: "target", value: func(l *labelled) string { return l.target.name }},
	{name: "control_plane", value: func(l *labelled) string { return l.target.controlPlane }},
	{name: "kind", value: func(l *labelled) string { return l.kind }},
	{name: "tenant", value: func(l *labelled) string { return l.token.Tenant }},
	{name: "owner_team", value: func(l *labelled) string { return l.token.Team }},
	{name: "creator", value: creator},
	{name: "token_name", value: func(l *labelled) string { return l.token.Name }},
	{name: "token_id", value: func(l *labelled) string { return l.token.ID }},
	{name: "creator_type", value: func(l *labelled) string { return l.token.Creator.Type }, infoOnly: true},
	{name: "token_type", value: func(l *labelled) string { return l.token.Type }, infoOnly: true},
}

// sortedTokenLabels are the same in the order of an exposition.
var sortedTokenLabels = slices.SortedFunc(slices.Values(tokenLabels), func(a, b tokenLabel) int {
	return strings.Compare(a.name, b.name)
})

func creator(l *labelled) string {
	c := &l.token.Creator
	if l.creatorLabel == CreatorID {
		return c.ID
	}
	return c.Name
}

func tokenGauge(name, help, absent string, value func(*client.Token, time.Time) (float64, bool)) tokenMetric {
	return tokenMetric{metric{name, help, dto.MetricType_GAUGE, labelNames(false), absent}, value}
}

var tokenInfo = metric{
	name:       "truefoundry_token_info",
	help:       "A token that the control plane lists; always 1.",
	metricType: dto.MetricType_GAUGE,
	labels:     labelNames(true),
}

func labelNames(info bool) (names []string) {
	for _, l := range tokenLabels {
		if info || !l.infoOnly {
			names = append(names, l.name)
		}
	}
	return names
}

var tokenMetrics = []tokenMetric{
	tokenGauge("truefoundry_token_has_expiry",
		"Whether the token has an expiry (1) or never expires (0).",
		"the expiry could not be read",
		func(t *client.Token, _ time.Time) (float64, bool) {
			return boolean(!t.Expiry.At.IsZero()), t.Expiry.Readable
		}),
	tokenGauge("truefoundry_token_expiry_timestamp_seconds",
		"When the token stops working, in seconds since the Unix epoch.",
		"the token never expires, or the expiry could not be read",
		func(t *client.Token, _ time.Time) (float64, bool) { return timestamp(t.Expiry.At) }),
	tokenGauge("truefoundry_token_expired",
		"Whether the token is expired, as the API says; where it does not say, whether it has an expiry that has passed.",
		"the API does not say, and the expiry could not be read",
		expired),
	tokenGauge("truefoundry_token_created_timestamp_seconds",
		"When the token was created, in seconds since the Unix epoch.",
		"missing or unreadable",
		func(t *client.Token, _ time.Time) (float64, bool) { return timestamp(t.Created) }),
	tokenGauge("truefoundry_token_issued_timestamp_seconds",
		"When the token's current JWT was created, in seconds since the Unix epoch; where there is no JWT, when the token was.",
		"missing or unreadable",
		func(t *client.Token, _ time.Time) (float64, bool) { return timestamp(t.Issued) }),
	tokenGauge("truefoundry_token_last_accessed_timestamp_seconds",
		"When the token last authenticated somebody, in seconds since the Unix epoch.",
		"never, or the control plane does not report it",
		func(t *client.Token, _ time.Time) (float64, bool) { return timestamp(t.LastAccessed) }),
	tokenGauge("truefoundry_token_auto_rotate_interval_seconds",
		"How often the token rotates by itself, in seconds.",
		"the token does not rotate by itself",
		func(t *client.Token, _ time.Time) (float64, bool) { return days(t.AutoRotateInterval) }),
	tokenGauge("truefoundry_token_auto_rotate_grace_period_seconds",
		"How long the previous JWT goes on working after a rotation, in seconds.",
		"the token does not rotate by itself",
		func(t *client.Token, _ time.Time) (float64, bool) { return days(t.GracePeriod) }),
	tokenGauge("truefoundry_token_next_rotation_timestamp_seconds",
		"When the token's next rotation is due, in seconds since the Unix epoch.",
		"no rotation is scheduled",
		func(t *client.Token, _ time.Time) (float64, bool) { return timestamp(t.NextRotation) }),
	tokenGauge("truefoundry_token_replaced",
		"Whether the same listing has another token of the same tenant, subject and name that was issued no earlier, "+
			"stops working later and is not called expired by the API.",
		"",
		func(t *client.Token, _ time.Time) (float64, bool) { return boolean(t.Replaced), true }),
	tokenGauge("truefoundry_token_previous_jwt_expiry_timestamp_seconds",
		"When the last of the token's JWTs that are not current stops working, in seconds since the Unix epoch.",
		"there is none",
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
		"Whether the token's current JWT did not reach its secret store; the log tells why. Experimental: inferred from the API's SDKs.",
		"the control plane does not report it",
		func(t *client.Token, _ time.Time) (float64, bool) {
			if t.SecretStoreSync == nil {
				return 0, false
			}
			return boolean(t.SecretStoreSync.Failed), true
		}),
}

// expired takes the API's word before the clock's.
func expired(t *client.Token, now time.Time) (float64, bool) {
	if t.Expired != nil {
		return boolean(*t.Expired), true
	}
	never := t.Expiry.At.IsZero()
	return boolean(!never && !t.Expiry.At.After(now)), t.Expiry.Readable
}

const absentOnFailure = "the listing failed"

// These labels tell a target, and one of its listings.
var (
	targetLabels  = []string{"target", "control_plane"}
	listingLabels = []string{"target", "control_plane", "kind"}
)

// with returns labels and one more.
func with(labels []string, label string) []string { return append(slices.Clip(labels), label) }

var (
	up = metric{
		name:       "truefoundry_up",
		help:       "Whether every listing of the target succeeded in this scrape.",
		metricType: dto.MetricType_GAUGE,
		labels:     targetLabels,
	}
	apiKeyExpiry = metric{
		name:       "truefoundry_api_key_expiry_timestamp_seconds",
		help:       "When the API key that the exporter itself uses stops working, in seconds since the Unix epoch.",
		metricType: dto.MetricType_GAUGE,
		labels:     targetLabels,
		absent:     "the key does not say so and its token is not named or not listed, or the key never ends",
	}

	listingSuccess = metric{
		name:       "truefoundry_listing_success",
		help:       "Whether the listing succeeded in this scrape.",
		metricType: dto.MetricType_GAUGE,
		labels:     listingLabels,
	}
	listings = metric{
		name:       "truefoundry_listings_total",
		help:       "Listings that ended, well or not.",
		metricType: dto.MetricType_COUNTER,
		labels:     listingLabels,
	}
	listingDuration = metric{
		name:       "truefoundry_listing_duration_seconds",
		help:       "How long this scrape waited for the listing, in seconds.",
		metricType: dto.MetricType_GAUGE,
		labels:     listingLabels,
	}
	listingTokens = metric{
		name:       "truefoundry_listing_tokens",
		help:       "Distinct tokens in the listing.",
		metricType: dto.MetricType_GAUGE,
		labels:     listingLabels,
		absent:     absentOnFailure,
	}
	listingReportedTokens = metric{
		name:       "truefoundry_listing_reported_tokens",
		help:       "Tokens in the list by the API's own count (pagination.total).",
		metricType: dto.MetricType_GAUGE,
		labels:     listingLabels,
		absent:     absentOnFailure + ", or the API gave no count",
	}
	listingDuplicateTokens = metric{
		name:       "truefoundry_listing_duplicate_tokens",
		help:       "Items dropped because the same listing had their token already.",
		metricType: dto.MetricType_GAUGE,
		labels:     listingLabels,
		absent:     absentOnFailure,
	}
	listingInvalidItems = metric{
		name:       "truefoundry_listing_invalid_items",
		help:       "Items dropped because they could not be read at all.",
		metricType: dto.MetricType_GAUGE,
		labels:     listingLabels,
		absent:     absentOnFailure,
	}
	listingInvalidFields = metric{
		name:       "truefoundry_listing_invalid_fields",
		help:       "Values dropped because they could not be read, by the path of their field in the API's answer.",
		metricType: dto.MetricType_GAUGE,
		labels:     with(listingLabels, "field"),
		absent:     absentOnFailure,
	}
	listingLastSuccess = metric{
		name:       "truefoundry_listing_last_success_timestamp_seconds",
		help:       "When the listing last succeeded, in seconds since the Unix epoch.",
		metricType: dto.MetricType_GAUGE,
		labels:     listingLabels,
		absent:     "it has not succeeded since the exporter started",
	}
	listingErrors = metric{
		name:       "truefoundry_listing_errors_total",
		help:       "Failed listings, by reason.",
		metricType: dto.MetricType_COUNTER,
		labels:     with(listingLabels, "reason"),
	}

	apiRequests = metric{
		name:       "truefoundry_exporter_api_requests_total",
		help:       "Requests to the control plane, by HTTP status; none where no answer came.",
		metricType: dto.MetricType_COUNTER,
		labels:     with(targetLabels, "code"),
		absent:     "no request had this outcome yet",
	}
	apiRequestDuration = metric{
		name:       "truefoundry_exporter_api_request_duration_seconds",
		help:       "How long requests to the control plane took until their answer was read, in seconds.",
		metricType: dto.MetricType_HISTOGRAM,
		labels:     targetLabels,
	}
	apiRetries = metric{
		name:       "truefoundry_exporter_api_retries_total",
		help:       "Requests to the control plane that were repeated.",
		metricType: dto.MetricType_COUNTER,
		labels:     targetLabels,
	}
)

// contract returns every metric of the collector, in the order of the docs.
func contract() []*metric {
	all := []*metric{&tokenInfo}
	for i := range tokenMetrics {
		all = append(all, &tokenMetrics[i].metric)
	}
	return append(all, &up, &listingSuccess, &listings, &listingDuration, &listingTokens,
		&listingReportedTokens, &listingDuplicateTokens, &listingInvalidItems, &listingInvalidFields,
		&listingLastSuccess, &listingErrors, &apiKeyExpiry, &apiRequests, &apiRequestDuration, &apiRetries)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// timestamp returns false for the zero time, which stands for none.
func timestamp(t time.Time) (float64, bool) {
	return float64(t.Unix()) + float64(t.Nanosecond())/1e9, !t.IsZero()
}

func days(n *int64) (float64, bool) {
	if n == nil {
		return 0, false
	}
	return float64(*n) * (24 * time.Hour).Seconds(), true
}
