package collector

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// targetID identifies a target. Its counters have these labels.
type targetID struct{ name, controlPlane string }

// targetState is the state of a target, which is kept between scrapes and when its
// configuration changes. It contains no tokens.
type targetState struct {
	targetID

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	retries  *prometheus.CounterVec
	// listings and access are only used by Collector.Set.
	listings map[client.Kind]*listingState
	access   *accessState
}

// accessState is the state that depends on a target's URL and API key. It is kept while
// Target.Identity is the same.
type accessState struct {
	identity string
	client   client.State
	key      apiKeyState
}

func newTargetState(id targetID) *targetState {
	s := &targetState{
		targetID: id,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: apiRequests.name, Help: apiRequests.help}, apiRequests.labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: apiRequestDuration.name, Help: apiRequestDuration.help,
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, apiRequestDuration.labels),
		retries:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: apiRetries.name, Help: apiRetries.help}, apiRetries.labels),
		listings: map[client.Kind]*listingState{},
	}
	// Export these before the first request.
	s.duration.WithLabelValues(id.name, id.controlPlane)
	s.retries.WithLabelValues(id.name, id.controlPlane)
	return s
}

// trace returns callbacks that count the requests of the target's client.
func (s *targetState) trace() client.Trace {
	return client.Trace{
		Request: func(status int, duration time.Duration) {
			code := "none"
			if status != 0 {
				code = strconv.Itoa(status)
			}
			s.requests.WithLabelValues(s.name, s.controlPlane, code).Inc()
			s.duration.WithLabelValues(s.name, s.controlPlane).Observe(duration.Seconds())
		},
		Retry: s.retries.WithLabelValues(s.name, s.controlPlane).Inc,
	}
}

// listing returns the state of a listing.
func (s *targetState) listing(kind client.Kind, logger log.Logger, now func() time.Time) *listingState {
	l := s.listings[kind]
	if l == nil {
		l = &listingState{logger: log.With(logger, "kind", kind), now: now, errors: map[client.Reason]int{}}
		s.listings[kind] = l
	}
	return l
}

// apiKeyState holds the expiry of a target's API key.
type apiKeyState struct {
	mu sync.Mutex
	// keyExpiry is the expiry that the key itself contains, and tokenExpiry the expiry
	// of its token in a listing. Each is zero if it is unknown.
	keyExpiry, tokenExpiry time.Time
	missingToken           logThrottle
}

// setKeyExpiry sets the expiry that the key itself contains.
func (k *apiKeyState) setKeyExpiry(expiry time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keyExpiry = expiry
}

// setToken sets the key's token, or nil if it is not listed. It returns true if its
// absence should be logged.
func (k *apiKeyState) setToken(token *client.Token, now time.Time) (logMissing bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	problem := ""
	k.tokenExpiry = time.Time{}
	if token != nil {
		k.tokenExpiry = token.Expiry.At
	} else if k.keyExpiry.IsZero() {
		problem = "missing"
	}
	return k.missingToken.shouldLog(problem, now) && problem != ""
}

// expiry returns the expiry of the key, or zero if it is unknown.
func (k *apiKeyState) expiry() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keyExpiry.IsZero() {
		return k.tokenExpiry
	}
	return k.keyExpiry
}

// listingState is the state of a listing, which is kept between runs.
type listingState struct {
	logger log.Logger
	now    func() time.Time

	mu sync.Mutex
	// owner is the listing of the current configuration. Runs of previous
	// configurations are counted, but do not change the status.
	owner        *listing
	status       ListingStatus
	ended        int
	errors       map[client.Reason]int
	failure      logThrottle
	unreadable   logThrottle
	syncFailures logThrottle
}

func (s *listingState) setOwner(l *listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner = l
}

// setFailed records that a run of l failed with err, which is of type *client.Error.
// Cancelled runs are not counted.
func (s *listingState) setFailed(l *listing, err error) {
	var failure *client.Error
	errors.As(err, &failure)
	if failure.Canceled() {
		level.Debug(s.logger).Log("msg", "listing cancelled", "err", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended++
	s.errors[failure.Reason]++
	if s.owner != l {
		return
	}
	now := s.now()
	s.status.Failing, s.status.Failure, s.status.LastFailure = true, failure, now
	if s.failure.shouldLog(string(failure.Reason), now) {
		level.Error(s.logger).Log("msg", "listing failed", "reason", failure.Reason, "err", err, "help", HelpURL(failure.Reason))
	}
}

// setSucceeded records the result of a run of l.
func (s *listingState) setSucceeded(l *listing, res *result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended++
	if s.owner != l {
		return
	}
	now := s.now()
	s.status.Failing, s.status.LastSuccess = false, now
	s.status.Tokens, s.status.Expired, s.status.NextExpiry = len(res.rows), res.expired, res.nextExpiry
	if s.failure.shouldLog("", now) {
		level.Info(s.logger).Log("msg", "listing works again", "tokens", len(res.rows))
	}
	s.logUnreadable(res.Listing, now)
	s.logSyncFailures(res.syncFailures, now)
}

// logUnreadable logs which values could not be read. The caller must hold s.mu.
func (s *listingState) logUnreadable(list *client.Listing, now time.Time) {
	examples := make([]string, len(list.Examples))
	for i, example := range list.Examples {
		examples[i] = example.String()
	}
	values := 0
	for _, n := range list.InvalidFields {
		values += n
	}
	s.logExamples(&s.unreadable, now, examples, "everything in the listing can be read again",
		"parts of the listing cannot be read", "items", list.InvalidItems, "values", values)
}

// logExamples logs a problem if its examples have changed, or that it is resolved.
func (s *listingState) logExamples(throttle *logThrottle, now time.Time, examples []string, resolved, problem string, keyvals ...any) {
	text := strings.Join(examples, "; ")
	switch {
	case !throttle.shouldLog(text, now):
	case text == "":
		level.Info(s.logger).Log("msg", resolved)
	default:
		level.Warn(s.logger).Log(slices.Concat([]any{"msg", problem}, keyvals, []any{"examples", text})...)
	}
}

// snapshot returns the current status.
func (s *listingState) snapshot() ListingStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// logInterval is the interval at which an unresolved problem is logged again.
const logInterval = time.Hour

// logThrottle prevents a problem from being logged at each scrape.
type logThrottle struct {
	problem string    // empty if there is none
	logged  time.Time // when the problem was last logged
}

// shouldLog reports whether a problem should be logged, because it is new or was last
// logged logInterval ago. An empty problem means that it is resolved.
func (t *logThrottle) shouldLog(problem string, now time.Time) bool {
	if problem == t.problem && (problem == "" || now.Sub(t.logged) < logInterval) {
		return false
	}
	t.problem, t.logged = problem, now
	return true
}
