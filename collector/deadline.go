package collector

import (
	"context"
	"sync"
	"time"
)

// movableDeadline is a context whose deadline can be moved to a later time
// while it runs.
type movableDeadline struct {
	context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	deadline time.Time
	timer    *time.Timer
}

// withMovableDeadline returns a context that ends at the latest of the deadlines
// given to it, or when it is stopped, which the caller must do in the end. Its
// context.Cause tells which: context.DeadlineExceeded or context.Canceled.
func withMovableDeadline(deadline time.Time) *movableDeadline {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &movableDeadline{
		Context:  ctx,
		cancel:   cancel,
		deadline: deadline,
		timer:    time.AfterFunc(time.Until(deadline), func() { cancel(context.DeadlineExceeded) }),
	}
}

// Deadline implements context.Context. What it returns may move to later.
func (d *movableDeadline) Deadline() (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.deadline, true
}

// extend moves the deadline, never to an earlier time. It returns false where
// the context has ended.
func (d *movableDeadline) extend(deadline time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.timer.Stop() {
		return false // it has fired, even if the context does not know yet
	}
	if deadline.After(d.deadline) {
		d.deadline = deadline
	}
	d.timer.Reset(time.Until(d.deadline))
	return true
}

// expire ends the context as if its deadline had passed.
func (d *movableDeadline) expire() {
	d.timer.Stop()
	d.cancel(context.DeadlineExceeded)
}

// stop cancels the context.
func (d *movableDeadline) stop() {
	d.timer.Stop()
	d.cancel(context.Canceled)
}
