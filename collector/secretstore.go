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

// maxSyncFailureExamples is the maximum number of examples.
const maxSyncFailureExamples = 10

// findSyncFailures returns the tokens that were not written to their secret stores.
func findSyncFailures(tokens []client.Token) (f syncFailures) {
	for i := range tokens {
		t := &tokens[i]
		if t.SecretStoreSync == nil || !t.SecretStoreSync.Failed {
			continue
		}
		text := fmt.Sprintf("%q with id %q", t.Name, t.ID)
		if t.SecretStoreSync.Error != "" {
			text += ": " + t.SecretStoreSync.Error
		}
		f.examples = append(f.examples, text)
	}
	f.count = len(f.examples)
	slices.Sort(f.examples) // the order of tokens may change
	f.examples = slices.Clone(f.examples[:min(f.count, maxSyncFailureExamples)])
	return f
}

// logSyncFailures logs which tokens were not written to their secret stores. The caller
// must hold s.mu.
func (s *listingState) logSyncFailures(f syncFailures, now time.Time) {
	s.logExamples(&s.syncFailures, now, f.examples, "tokens reach their secret stores again",
		"tokens did not reach their secret stores: applications that read them from there get the previous ones, which will expire", "tokens", f.count)
}
