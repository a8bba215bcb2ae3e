package collector

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// identity tells a target from others: what is counted has these labels.
type identity struct{ name, controlPlane string }

// labels are those of the target's counters.
func (i identity) labels() prometheus.Labels {
	return prometheus.Labels{"target": i.name, "control_plane": i.controlPlane}
}

// memory is what is kept of a target between scrapes, and when its
// configuration changes.
type memory struct {
	identity    identity
	instruments *instruments
	// histories and access are not used concurrently.
	histories map[client.Kind]*history
	access    *access
}

// access is what is kept only as long as a target is asked in the same way with
// the same API key.
type access struct {
	identity string
	ban      client.Ban
	key      ownKey
}

func newMemory(of identity) *memory {
	return &memory{identity: of, instruments: newInstruments(of), histories: map[client.Kind]*history{}}
}

// history returns what is kept of one of the target's listings.
func (m *memory) history(kind client.Kind, opts *Options) *history {
	h := m.histories[kind]
	if h == nil {
		labels := m.identity.labels()
		labels["kind"] = string(kind)
		h = &history{
			ended:    prometheus.NewCounter(prometheus.CounterOpts{Name: listings.name, ConstLabels: labels}),
			failures: newFailures(labels),
			logger:   log.With(opts.Logger, "target", m.identity.name, "kind", kind),
			now:      opts.Now,
		}
		m.histories[kind] = h
	}
	return h
}

// ownKey is what is known of a target's API key.
type ownKey struct {
	mu sync.Mutex
	// said is when the key says that it ends, and ofToken when the listed token
	// does that it belongs to; zero where that is not known.
	said, ofToken time.Time
	missing       episode
}

// read notes what the key says of its end.
func (k *ownKey) read(expiry time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.said = expiry
}

// listed notes the token that the key belongs to, nil where it is not listed. It
// returns true where its absence should be logged.
func (k *ownKey) listed(token *client.Token, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	state := ""
	k.ofToken = time.Time{}
	if token != nil {
		k.ofToken = token.Expiry.At
	} else if k.said.IsZero() {
		state = "missing"
	}
	return k.missing.news(state, now) && state != ""
}

// expiry returns when the key ends, zero where that is not known.
func (k *ownKey) expiry() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.said.IsZero() {
		return k.ofToken
	}
	return k.said
}

// history is what is kept of a listing between its runs: no tokens.
type history struct {
	ended    prometheus.Counter
	failures *prometheus.CounterVec
	logger   log.Logger
	now      func() time.Time

	mu sync.Mutex
	// owner is the listing of the present configuration. What becomes of others,
	// which are about to end, is counted, and else of no interest.
	owner      *listing
	status     ListingStatus
	failure    episode
	unreadable episode
	unsynced   episode
}

// belongsTo makes l the owner.
func (h *history) belongsTo(l *listing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.owner = l
}

// failed notes a run of l that failed with err, which is of type *client.Error.
// One that was cancelled counts nowhere.
func (h *history) failed(l *listing, err error) {
	var failure *client.Error
	errors.As(err, &failure)
	if failure.Canceled() {
		level.Debug(h.logger).Log("msg", "listing cancelled", "err", err)
		return
	}
	h.ended.Inc()
	h.failures.WithLabelValues(string(failure.Reason)).Inc()

	h.mu.Lock()
	defer h.mu.Unlock()
	if h.owner != l {
		return
	}
	h.status.Failing, h.status.Failure, h.status.LastFailure = true, failure, h.now()
	if !h.failure.news(string(failure.Reason), h.now()) {
		return
	}
	level.Error(h.logger).Log("msg", "listing failed", "reason", failure.Reason, "err", err)
}

// succeeded notes what a run of l has listed.
func (h *history) succeeded(l *listing, result *client.Listing) {
	h.ended.Inc()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.owner != l {
		return
	}
	now := h.now()
	h.status.Failing, h.status.LastSuccess = false, now
	h.status.Tokens, h.status.Expired, h.status.NextExpiry = len(result.Tokens), 0, time.Time{}
	for i := range result.Tokens {
		at := result.Tokens[i].Expiry.At
		switch {
		case at.IsZero():
		case !at.After(now):
			h.status.Expired++
		case h.status.NextExpiry.IsZero() || at.Before(h.status.NextExpiry):
			h.status.NextExpiry = at
		}
	}
	if h.failure.news("", now) {
		level.Info(h.logger).Log("msg", "listing works again", "tokens", len(result.Tokens))
	}
	h.logUnreadable(result)
	h.logUnsynced(result)
}

// logUnreadable names what is lost of the listing, or the first of it.
func (h *history) logUnreadable(result *client.Listing) {
	named := make([]string, len(result.Unreadable))
	for i, u := range result.Unreadable {
		named[i] = u.String()
	}
	lost := strings.Join(named, "; ")
	if !h.unreadable.news(lost, h.now()) {
		return
	}
	if lost == "" {
		level.Info(h.logger).Log("msg", "everything in the listing can be read again")
		return
	}
	values := 0
	for _, n := range result.InvalidFields {
		values += n
	}
	level.Warn(h.logger).Log("msg", "parts of the listing cannot be read", "items", result.InvalidItems, "values", values, "examples", lost)
}

// snapshot returns what is known at this moment.
func (h *history) snapshot() ListingStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

// reminder is how often a state that lasts is logged again.
const reminder = time.Hour

// episode is a state that lasts over several scrapes, and when it was logged.
type episode struct {
	state  string // empty where all is well
	logged time.Time
}

// news tells whether a state should be logged: because it is new, or because it
// has lasted long enough to say it again.
func (e *episode) news(state string, now time.Time) bool {
	if state == e.state && (state == "" || now.Sub(e.logged) < reminder) {
		return false
	}
	e.state, e.logged = state, now
	return true
}

// instruments count the requests for a target.
type instruments struct {
	requests *prometheus.CounterVec
	duration prometheus.Histogram
	retries  prometheus.Counter
}

func newInstruments(of identity) *instruments {
	labels := of.labels()
	return &instruments{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: apiRequests.name, ConstLabels: labels}, []string{"code"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:        apiRequestDuration.name,
			ConstLabels: labels,
			Buckets:     []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{Name: apiRetries.name, ConstLabels: labels}),
	}
}

func (i *instruments) trace() client.Trace {
	return client.Trace{
		Request: func(status int, took time.Duration) {
			code := "none"
			if status != 0 {
				code = strconv.Itoa(status)
			}
			i.requests.WithLabelValues(code).Inc()
			i.duration.Observe(took.Seconds())
		},
		Retry: i.retries.Inc,
	}
}

// newFailures counts the failed runs of a listing. Every reason is there from
// the start: increase() does not see the first error of a counter that was not.
func newFailures(labels prometheus.Labels) *prometheus.CounterVec {
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{Name: listingErrors.name, ConstLabels: labels}, []string{"reason"})
	for _, reason := range client.Reasons() {
		failures.WithLabelValues(string(reason))
	}
	return failures
}
