package collector

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// listing is one target asked for one kind of token. Scrapes that overlap
// share one run of it. Of a run that is over, only what its history notes is kept.
type listing struct {
	kind client.Kind
	// list's errors are of type *client.Error.
	list func(context.Context) (*client.Listing, error)
	// history is told the end of each run, once.
	history *history
	now     func() time.Time

	mu      sync.Mutex
	current *run
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
	kind     client.Kind
	result   *client.Listing // nil where the listing failed
	duration time.Duration
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
	return outcome{kind: l.kind, result: result, duration: l.now().Sub(start)}
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

// grace is how long a run that has reached its deadline may take to say why.
const grace = 100 * time.Millisecond

// leave stops waiting for r. It returns r's result if r ended at the same
// moment, else nil. When the last waiter leaves, the run ends too: at that
// waiter's deadline it has failed, else it is cancelled.
func (l *listing) leave(ctx context.Context, r *run) *client.Listing {
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
		l.settle(r, nil, client.ContextError(ctx))
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
	if err != nil {
		l.history.failed(l, err)
	} else {
		l.history.succeeded(l, result)
	}
	r.result = result
	close(r.done)
	r.ctx.stop()
}
