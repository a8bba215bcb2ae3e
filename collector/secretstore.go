package collector

import (
	"fmt"
	"slices"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// syncFailures describes the tokens that were not written to their secret stores. Reasons
// are only logged.
type syncFailures struct {
	count    int
	examples []string
}

// maxUnsyncedExamples is the maximum number of examples.
const maxUnsyncedExamples = 10

// findSyncFailures returns the tokens that were not written to their secret stores.
func findSyncFailures(tokens []client.Token) (u syncFailures) {
	for i := range tokens {
		t := &tokens[i]
		if t.SecretStoreSync == nil || !t.SecretStoreSync.Failed {
			continue
		}
		text := fmt.Sprintf("%q with id %q", t.Name, t.ID)
		if t.SecretStoreSync.Error != "" {
			text += ": " + t.SecretStoreSync.Error
		}
		u.examples = append(u.examples, text)
	}
	u.count = len(u.examples)
	slices.Sort(u.examples) // the order of tokens may change
	u.examples = slices.Clone(u.examples[:min(u.count, maxUnsyncedExamples)])
	return u
}

// logSyncFailures logs which tokens were not written to their secret stores. The caller
// must hold s.mu.
func (s *listingState) logSyncFailures(u syncFailures, now time.Time) {
	s.logExamples(&s.syncFailures, now, u.examples, "tokens reach their secret stores again",
		"tokens did not reach their secret stores: applications that read them from there get the previous ones, which will expire", "tokens", u.count)
}
