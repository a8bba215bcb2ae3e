package client

import "context"

// Limiter limits the concurrent requests to one control plane, and the pages in
// memory, across all clients that share it.
type Limiter struct{ requests, pages chan struct{} }

// NewLimiter returns a Limiter that allows n concurrent requests and 2n pages in
// memory: n that are being received and n that are being decoded. n must be
// positive.
func NewLimiter(n int) *Limiter {
	return &Limiter{requests: make(chan struct{}, n), pages: make(chan struct{}, 2*n)}
}

// maxPages returns the maximum number of pages in memory.
func (l *Limiter) maxPages() int { return cap(l.pages) }

// slot permits one request and holds the memory of its page. It must not be used
// concurrently.
type slot struct {
	limiter    *Limiter
	requesting bool
}

// acquire waits for a slot, which the caller must release. It returns nil if ctx ends
// first.
func (l *Limiter) acquire(ctx context.Context) *slot {
	if !acquire(ctx, l.pages) {
		return nil
	}
	if !acquire(ctx, l.requests) {
		<-l.pages
		return nil
	}
	return &slot{limiter: l, requesting: true}
}

// acquire acquires a semaphore. It returns false if ctx ends first.
func acquire(ctx context.Context, semaphore chan<- struct{}) bool {
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

// endRequest allows another request while the page of this one is decoded.
func (s *slot) endRequest() {
	if s.requesting {
		s.requesting = false
		<-s.limiter.requests
	}
}

// release returns the slot to the Limiter.
func (s *slot) release() {
	s.endRequest()
	<-s.limiter.pages
}
