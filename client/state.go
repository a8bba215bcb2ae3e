package client

import (
	"sync"
	"time"
)

const (
	// maxRateLimit is the longest time for which a Retry-After is respected.
	maxRateLimit = 5 * time.Minute
	// fullReadInterval is how often a list that claims to fit on one page is read
	// to its end nevertheless.
	fullReadInterval = time.Hour
)

// State is what clients learn about a control plane and pass on to the client that
// follows when the configuration changes. The zero value is ready to use. It is
// safe for concurrent use.
type State struct {
	mu sync.Mutex
	// rateLimitEnd is when the server may be asked again, and rateLimitCause the
	// response that said so.
	rateLimitEnd   time.Time
	rateLimitCause string
	// lastFullRead is when a list that fits on one page was last read to its end.
	lastFullRead map[Kind]time.Time
	// clampsPages is set once a first page claimed to be all of a longer list.
	clampsPages bool
}

// rateLimit returns the end and the cause of a rate limit in effect. The end is
// zero if there is none.
func (s *State) rateLimit(now time.Time) (end time.Time, cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.rateLimitEnd) {
		return s.rateLimitEnd, s.rateLimitCause
	}
	return time.Time{}, ""
}

// setRateLimit records a rate limit, unless one that ends later is known.
func (s *State) setRateLimit(end time.Time, cause string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end.After(s.rateLimitEnd) {
		s.rateLimitEnd, s.rateLimitCause = end, cause
	}
}

// trustsFirstPage reports whether a first page that claims to be the whole list is
// believed without another sign.
func (s *State) trustsFirstPage(kind Kind, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.lastFullRead[kind]
	return !s.clampsPages && ok && now.Sub(last) < fullReadInterval
}

// confirmFirstPage records that a first page that claimed to be the whole list was
// right.
func (s *State) confirmFirstPage(kind Kind, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastFullRead == nil {
		s.lastFullRead = map[Kind]time.Time{}
	}
	s.lastFullRead[kind] = now
}

// distrustFirstPage records that a first page that claimed to be the whole list was
// wrong. It returns false if that was known.
func (s *State) distrustFirstPage() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.clampsPages
	s.clampsPages = true
	return !known
}
