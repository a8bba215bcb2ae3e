package client

import (
	"sync"
	"time"
)

const (
	// maxRateLimit is the longest Retry-After that is respected.
	maxRateLimit = 5 * time.Minute
	// fullReadInterval is how often a list that seems to fit on its first page is read
	// to its end anyway.
	fullReadInterval = time.Hour
)

// State is what a client has learned about a control plane. It is passed to the next
// client when the configuration changes. The zero value is ready to use. It is safe for
// concurrent use.
type State struct {
	mu sync.Mutex
	// rateLimitEnd is when requests are allowed again. rateLimitCause describes the
	// response that asked for it.
	rateLimitEnd   time.Time
	rateLimitCause string
	// lastFullRead is when a list that fits on its first page was last read to its end.
	lastFullRead map[Kind]time.Time
	// capsPageSize is true after the first page of a longer list looked complete.
	capsPageSize bool
}

// rateLimit returns the end and the cause of the current rate limit. The end is zero if
// there is none.
func (s *State) rateLimit(now time.Time) (end time.Time, cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.rateLimitEnd) {
		return s.rateLimitEnd, s.rateLimitCause
	}
	return time.Time{}, ""
}

// setRateLimit sets the rate limit, unless the current one ends later.
func (s *State) setRateLimit(end time.Time, cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end.After(s.rateLimitEnd) {
		s.rateLimitEnd, s.rateLimitCause = end, cause
	}
}

// trustsFirstPage reports whether a first page that looks complete is taken for the
// whole list.
func (s *State) trustsFirstPage(kind Kind, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.lastFullRead[kind]
	return !s.capsPageSize && ok && now.Sub(last) < fullReadInterval
}

// confirmFirstPage records that a first page that looked complete was complete.
func (s *State) confirmFirstPage(kind Kind, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastFullRead == nil {
		s.lastFullRead = map[Kind]time.Time{}
	}
	s.lastFullRead[kind] = now
}

// distrustFirstPage records that a first page that looked complete was not. It returns
// false if this was known before.
func (s *State) distrustFirstPage() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.capsPageSize
	s.capsPageSize = true
	return !known
}
