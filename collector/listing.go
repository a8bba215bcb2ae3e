package collector

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// listing lists one kind of token of one target. Scrapes that overlap share one
// run of it, and its result.
type listing struct {
	kind client.Kind
	// list lists the tokens. Its errors are of type *client.Error.
	list func(context.Context) (*result, error)
	// state is updated once at the end of each run.
	state *listingState
	now   func() time.Time

	mu      sync.Mutex
	current *run
}

// run is one listing under way, shared by all scrapes that wait for it.
type run struct {
	ctx     *movableDeadline
	waiters int
	done    chan struct{} // closed when result is set
	result  *result       // nil if the listing failed
}

// result is what scrapes share of a successful listing.
type result struct {
	// Listing is the client's, without its Tokens.
	*client.Listing

	rows []tokenRow
	// apiKeyToken is the token that the API key belongs to; nil if there is none.
	apiKeyToken *client.Token
	// expired counts the tokens that have ended, and nextExpiry is when the first
	// of the others ends; zero if none does.
	expired    int
	nextExpiry time.Time
	unsynced   unsynced
}

// outcome is what one scrape gets of a listing.
type outcome struct {
	result   *result // nil if the listing failed
	duration time.Duration
}

// scrape joins the run under way, or starts one, and waits for it until ctx
// ends, which must have a deadline. The run ends at the latest deadline of
// those who wait for it, and is cancelled when the last of them leaves.
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

// grace is how long a run that has reached its deadline may take to say why.
const grace = 100 * time.Millisecond

// leave stops waiting for r. It returns r's result if r ended at the same
// moment, else nil. When the last waiter leaves, the run ends too: it has failed
// if that waiter's deadline has passed, else it is cancelled.
func (l *listing) leave(ctx context.Context, r *run) *result {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.waiters--
	if r.waiters == 0 && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		r.ctx.expire()
		// The listing knows how far it got, unless it hangs where no context reaches,
		// as in a file.
		l.mu.Unlock()
		select {
		case <-r.done:
		case <-time.After(grace):
		}
		l.mu.Lock()
	}
	if r.waiters == 0 {
		l.finish(r, nil, client.ContextError(ctx))
	}
	return r.result
}

// finish ends r with its first result; later ones are dropped. l.mu is held.
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
		l.state.failed(l, err)
	} else {
		l.state.succeeded(l, res)
	}
	r.result = res
	close(r.done)
	r.ctx.stop()
}
