package collector

import (
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// TargetStatus is what is known of a target from the scrapes so far.
type TargetStatus struct {
	Name         string
	ControlPlane string
	Listings     []ListingStatus
}

// ListingStatus is what is known of a listing from the scrapes so far.
type ListingStatus struct {
	Kind client.Kind
	// Failing tells whether the listing failed when it was last tried.
	Failing bool
	// LastSuccess and LastFailure are when the listing last succeeded and when
	// it last failed, zero where it never did.
	LastSuccess, LastFailure time.Time
	// Failure is with what it last failed, nil where it never did.
	Failure *client.Error
	// Tokens is how many tokens were listed at LastSuccess.
	Tokens int
	// Expired is how many of them had ended.
	Expired int
	// NextExpiry is when the first of the others ends, zero where none does.
	NextExpiry time.Time
}

// Status returns what is known of the targets, in the order of their
// configuration. It asks nobody.
func (c *Collector) Status() []TargetStatus {
	var all []TargetStatus
	for _, t := range *c.targets.Load() {
		status := TargetStatus{Name: t.name, ControlPlane: t.controlPlane}
		for _, l := range t.listings {
			known := l.history.snapshot()
			known.Kind = l.kind
			status.Listings = append(status.Listings, known)
		}
		all = append(all, status)
	}
	return all
}
