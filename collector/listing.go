package collector

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// listing is one target asked for one kind of token. Scrapes that overlap
// share one run of it. Nothing is kept of a run that is over, except when one
// last succeeded and what was logged about it.
type listing struct {
	kind client.Kind
	// list's errors are of type *client.Error.
	list func(context.Context) (*client.Listing, error)
	// countFailure is called once for each failed run.
	countFailure func(client.Reason)
	logger       log.Logger
	now          func() time.Time

	mu          sync.Mutex
	current     *run
	lastSuccess time.Time
	failure     episode
	unreadable  episode
}

// run is one listing under way, for everybody who waits for it.
type run struct {
	ctx     *movableDeadline
	waiters int
	done    chan struct{}   // closed when result is set
	result  *client.Listing // nil where the listing failed
}

// outcome is what a scrape gets of a listing.
type outcome struct {
	kind        client.Kind
	result      *client.Listing // nil where the listing failed
	duration    time.Duration
	lastSuccess time.Time // zero where it never succeeded
}

// scrape joins the run under way, or starts one, and waits for it until ctx
// ends, which must have a deadline. The run ends at the latest deadline of
// those who wait for it, and is cancelled when the last of them leaves.
func (l *listing) scrape(ctx context.Context) outcome {
	start := l.now()
	r := l.join(ctx)
	var result *client.Listing
	select {
	case <-r.done:
		result = r.result
	case <-ctx.Done():
		result = l.leave(ctx, r)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return outcome{kind: l.kind, result: result, duration: l.now().Sub(start), lastSuccess: l.lastSuccess}
}

func (l *listing) join(ctx context.Context) *run {
	deadline, _ := ctx.Deadline()
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.current; r != nil && r.ctx.extend(deadline) {
		r.waiters++
		return r
	}
	r := &run{ctx: withMovableDeadline(deadline), waiters: 1, done: make(chan struct{})}
	l.current = r
	go func() {
		result, err := l.list(r.ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.settle(r, result, err)
	}()
	return r
}

// leave stops waiting for r. It returns r's result if r ended at the same
// moment, else nil. When the last waiter leaves, the run ends too, with that
// waiter's reason: timeout or canceled.
func (l *listing) leave(ctx context.Context, r *run) *client.Listing {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.waiters--
	if r.waiters == 0 {
		l.settle(r, nil, client.StoppedError(ctx))
	}
	return r.result
}

// settle ends r with its first result: what comes later is dropped. l.mu is
// held.
func (l *listing) settle(r *run, result *client.Listing, err error) {
	select {
	case <-r.done:
		return
	default:
	}
	if l.current == r {
		l.current = nil // lets go of the tokens
	}
	r.result = result
	close(r.done)
	r.ctx.stop()

	if err != nil {
		var failure *client.Error
		errors.As(err, &failure)
		l.countFailure(failure.Reason)
		if l.failure.news(string(failure.Reason), l.now()) {
			logger := level.Error(l.logger)
			if failure.Reason == client.ReasonCanceled {
				logger = level.Warn(l.logger) // most often somebody's Ctrl-C
			}
			logger.Log("msg", "listing failed", "reason", failure.Reason, "err", err)
		}
		return
	}
	l.lastSuccess = l.now()
	if l.failure.news("", l.now()) {
		level.Info(l.logger).Log("msg", "listing works again", "tokens", len(result.Tokens))
	}
	l.logUnreadable(result)
}

// logUnreadable names what is lost of the listing, or the first of it.
func (l *listing) logUnreadable(result *client.Listing) {
	named := make([]string, len(result.Unreadable))
	for i, u := range result.Unreadable {
		named[i] = u.String()
	}
	lost := strings.Join(named, "; ")
	if !l.unreadable.news(lost, l.now()) {
		return
	}
	if lost == "" {
		level.Info(l.logger).Log("msg", "everything in the listing can be read again")
		return
	}
	values := 0
	for _, n := range result.InvalidFields {
		values += n
	}
	level.Warn(l.logger).Log("msg", "parts of the listing cannot be read", "items", result.InvalidItems, "values", values, "examples", lost)
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
