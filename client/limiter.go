package client

import "context"

// Limiter bounds the requests to one control plane that run at the same time, and
// the pages held in memory at the same time, across all clients that share it.
type Limiter struct{ requests, pages chan struct{} }

// NewLimiter returns a Limiter for n concurrent requests, while as many pages
// again are being decoded. n must be positive.
func NewLimiter(n int) *Limiter {
	return &Limiter{requests: make(chan struct{}, n), pages: make(chan struct{}, 2*n)}
}

// maxPages is the number of pages that may be held at the same time.
func (l *Limiter) maxPages() int { return cap(l.pages) }

// slot is the permission to make one request and to hold its page. It is used by
// one goroutine.
type slot struct {
	limiter    *Limiter
	requesting bool
}

// acquire waits for a slot, which must be released. It returns nil if ctx ends
// first.
func (l *Limiter) acquire(ctx context.Context) *slot {
	if !enter(ctx, l.pages) {
		return nil
	}
	if !enter(ctx, l.requests) {
		<-l.pages
		return nil
	}
	return &slot{limiter: l, requesting: true}
}

// enter takes a place of the semaphore. It returns false if ctx ends first.
func enter(ctx context.Context, semaphore chan<- struct{}) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case semaphore <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// endRequest lets the next request run while the page of this one is decoded.
func (s *slot) endRequest() {
	if s.requesting {
		s.requesting = false
		<-s.limiter.requests
	}
}

// release gives the slot back.
func (s *slot) release() {
	s.endRequest()
	<-s.limiter.pages
}
