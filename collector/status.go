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
	// Failing reports whether the last attempt failed.
	Failing bool
	// LastSuccess and LastFailure are the times of the last success and the last
	// failure. Each is zero if there was none.
	LastSuccess, LastFailure time.Time
	// Failure is the last failure, or nil if there was none.
	Failure *client.Error
	// Tokens is the number of tokens listed at LastSuccess.
	Tokens int
	// Expired is the number of these tokens that had expired at LastSuccess.
	Expired int
	// NextExpiry is the earliest expiry of the other tokens. It is zero if none of them
	// expires.
	NextExpiry time.Time
}

// HelpURL returns the URL of the documentation of failures with the reason.
func HelpURL(reason client.Reason) string {
	return "https://github.com/truefoundry-community/truefoundry_exporter/blob/main/docs/troubleshooting.md#" + string(reason)
}

// Status returns the status of the targets, in the order of the configuration. It sends
// no requests.
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
