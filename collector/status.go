package collector

import (
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// TargetStatus is the status of a target after the scrapes so far.
type TargetStatus struct {
	Name         string
	ControlPlane string
	Listings     []ListingStatus
}

// ListingStatus is the status of a listing after the scrapes so far.
type ListingStatus struct {
	Kind client.Kind
	// Failing is whether the listing failed when it was last tried.
	Failing bool
	// LastSuccess and LastFailure are when the listing last succeeded and when
	// it last failed; zero if it never did.
	LastSuccess, LastFailure time.Time
	// Failure is the last failure; nil if there was none.
	Failure *client.Error
	// Tokens is the number of tokens listed at LastSuccess.
	Tokens int
	// Expired is the number of those that had ended by then.
	Expired int
	// NextExpiry is when the first of the others ends; zero if none does.
	NextExpiry time.Time
}

// HelpURL returns where the documentation explains failures with the reason.
func HelpURL(reason client.Reason) string {
	return "https://github.com/truefoundry-community/truefoundry_exporter/blob/main/docs/troubleshooting.md#" + string(reason)
}

// Status returns the status of the targets, in the order of their
// configuration, without asking the control planes.
func (c *Collector) Status() []TargetStatus {
	var all []TargetStatus
	for _, t := range *c.targets.Load() {
		status := TargetStatus{Name: t.name, ControlPlane: t.controlPlane}
		for _, l := range t.listings {
			listing := l.state.snapshot()
			listing.Kind = l.kind
			status.Listings = append(status.Listings, listing)
		}
		all = append(all, status)
	}
	return all
}
