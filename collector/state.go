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

// targetID identifies a target: its counters have these labels.
type targetID struct{ name, controlPlane string }

// targetState is what is kept of a target between scrapes, and when its
// configuration changes. No tokens are kept.
type targetState struct {
	targetID

	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	retries  *prometheus.CounterVec
	// listings and access are only used by Collector.Set.
	listings map[client.Kind]*listingState
	access   *accessState
}

// accessState is kept only while a target is asked in the same way with the same
// API key.
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
	// These exist before the first request.
	s.duration.WithLabelValues(id.name, id.controlPlane)
	s.retries.WithLabelValues(id.name, id.controlPlane)
	return s
}

// trace counts the requests of the target's client.
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

// listing returns the state of one of the target's listings.
func (s *targetState) listing(kind client.Kind, logger log.Logger, now func() time.Time) *listingState {
	l := s.listings[kind]
	if l == nil {
		l = &listingState{logger: log.With(logger, "kind", kind), now: now, errors: map[client.Reason]int{}}
		s.listings[kind] = l
	}
	return l
}

// apiKeyState is what is known of a target's API key.
type apiKeyState struct {
	mu sync.Mutex
	// keyExpiry is when the key itself says that it ends, and tokenExpiry when its
	// token does in a listing; zero if that is not known.
	keyExpiry, tokenExpiry time.Time
	missingToken           logThrottle
}

// setExpiry notes when the key itself says that it ends.
func (k *apiKeyState) setExpiry(expiry time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keyExpiry = expiry
}

// setToken notes the key's token, nil if it is not listed. It returns true if its
// absence is to be logged.
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

// expiry returns when the key ends, zero if that is not known.
func (k *apiKeyState) expiry() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keyExpiry.IsZero() {
		return k.tokenExpiry
	}
	return k.keyExpiry
}

// listingState is what is kept of a listing between its runs.
type listingState struct {
	logger log.Logger
	now    func() time.Time

	mu sync.Mutex
	// owner is the listing of the current configuration. Runs of earlier ones are
	// counted, but change nothing else.
	owner      *listing
	status     ListingStatus
	ended      int
	errors     map[client.Reason]int
	failure    logThrottle
	unreadable logThrottle
	unsynced   logThrottle
}

func (s *listingState) setOwner(l *listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.owner = l
}

// failed notes that a run of l failed with err, which is of type *client.Error. A
// run that was cancelled is not counted.
func (s *listingState) failed(l *listing, err error) {
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

// succeeded notes the result of a run of l.
func (s *listingState) succeeded(l *listing, res *result) {
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
	s.logUnsynced(res.unsynced, now)
}

// logUnreadable names the first of what could not be read. s.mu is held.
func (s *listingState) logUnreadable(list *client.Listing, now time.Time) {
	named := make([]string, len(list.Examples))
	for i, u := range list.Examples {
		named[i] = u.String()
	}
	examples := strings.Join(named, "; ")
	if !s.unreadable.shouldLog(examples, now) {
		return
	}
	if examples == "" {
		level.Info(s.logger).Log("msg", "everything in the listing can be read again")
		return
	}
	values := 0
	for _, n := range list.InvalidFields {
		values += n
	}
	level.Warn(s.logger).Log("msg", "parts of the listing cannot be read", "items", list.InvalidItems, "values", values, "examples", examples)
}

// snapshot returns the current status.
func (s *listingState) snapshot() ListingStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// logInterval is how often a problem that lasts is logged again.
const logInterval = time.Hour

// logThrottle keeps a problem that lasts from being logged at each scrape.
type logThrottle struct {
	problem string // empty if there is none
	logged  time.Time
}

// shouldLog returns whether the problem, or its end, is to be logged: because it
// is new, or because it was last logged an hour ago.
func (t *logThrottle) shouldLog(problem string, now time.Time) bool {
	if problem == t.problem && (problem == "" || now.Sub(t.logged) < logInterval) {
		return false
	}
	t.problem, t.logged = problem, now
	return true
}
