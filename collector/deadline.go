package collector

import (
	"context"
	"sync"
	"time"
)

// movableDeadline is a context whose deadline can be extended.
type movableDeadline struct {
	context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	deadline time.Time
	timer    *time.Timer
}

// withMovableDeadline returns a context that ends at its deadline or when it is stopped.
// Its context.Cause is context.DeadlineExceeded or context.Canceled. The caller must
// stop it to release its timer.
func withMovableDeadline(deadline time.Time) *movableDeadline {
	ctx, cancel := context.WithCancelCause(context.Background())
	return &movableDeadline{
		Context:  ctx,
		cancel:   cancel,
		deadline: deadline,
		timer:    time.AfterFunc(time.Until(deadline), func() { cancel(context.DeadlineExceeded) }),
	}
}

// Deadline implements context.Context. The deadline may be extended later.
func (d *movableDeadline) Deadline() (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.deadline, true
}

// extend moves the deadline to a later time. It returns false if the context has ended.
func (d *movableDeadline) extend(deadline time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.timer.Stop() {
		return false // the timer has fired, even if the context is not done yet
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
