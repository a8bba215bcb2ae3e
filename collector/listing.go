package collector

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// listing lists tokens of one kind from one target. Overlapping scrapes share a run and
// its result.
type listing struct {
	kind client.Kind
	// list lists the tokens. Its errors are of type *client.Error.
	list func(context.Context) (*result, error)
	// state is updated at the end of each run.
	state *listingState
	now   func() time.Time

	mu      sync.Mutex
	current *run
}

// run is a listing in progress.
type run struct {
	ctx     *movableDeadline
	waiters int           // scrapes that wait for the result
	done    chan struct{} // closed when result is set
	result  *result       // nil if the listing failed
}

// result is the result of a successful listing. It is shared by scrapes.
type result struct {
	// Listing is the client's result, without its Tokens.
	*client.Listing

	rows []tokenRow
	// apiKeyToken is the token that the API key belongs to, or nil if it is not listed.
	apiKeyToken *client.Token
	// expired is the number of expired tokens.
	expired int
	// nextExpiry is the earliest expiry of the other tokens. It is zero if none of them
	// expires.
	nextExpiry   time.Time
	syncFailures syncFailures
}

// outcome is the outcome of a listing for one scrape.
type outcome struct {
	result   *result // nil if the listing failed
	duration time.Duration
}

// scrape joins the current run, or starts one, and waits for its result until ctx ends.
// ctx must have a deadline. The run ends at the latest deadline of its waiters, and is
// cancelled when the last of them leaves.
func (l *listing) scrape(ctx context.Context) outcome {
	start := l.now()
	r := l.join(ctx)
	var res *result
	select {
	case <-r.done:
		res = r.result
	case <-ctx.Done():
		res = l.leave(ctx, r)
	}
	return outcome{result: res, duration: l.now().Sub(start)}
}

// join joins the current run, or starts one.
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
		res, err := l.list(r.ctx)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.finish(r, res, err)
	}()
	return r
}

// gracePeriod is how long a run that has reached its deadline may take to return its
// error.
const gracePeriod = 100 * time.Millisecond

// leave stops waiting for r, and ends r if nobody else waits for it. Then r has failed
// if the deadline of ctx has passed, and is cancelled otherwise. leave returns the
// result of r if there is one already.
func (l *listing) leave(ctx context.Context, r *run) *result {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.waiters--
	if r.waiters == 0 && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		r.ctx.expire()
		// Wait for the run's own error, which says how far it got. A run that is blocked
		// by something that ignores the context, like a file, does not return one.
		l.mu.Unlock()
		select {
		case <-r.done:
		case <-time.After(gracePeriod):
		}
		l.mu.Lock()
	}
	if r.waiters == 0 {
		l.finish(r, nil, client.ContextError(ctx))
	}
	return r.result
}

// finish ends r with a result or an error, unless r has ended already. The caller must
// hold l.mu.
func (l *listing) finish(r *run, res *result, err error) {
	select {
	case <-r.done:
		return
	default:
	}
	if l.current == r {
		l.current = nil
	}
	if err != nil {
		l.state.setFailed(l, err)
	} else {
		l.state.setSucceeded(l, res)
	}
	r.result = res
	close(r.done)
	r.ctx.stop()
}
