package collector

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-kit/log/level"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// unsynced are the tokens that did not reach their secret stores. Only the log says
// why.
type unsynced struct {
	count    int
	examples []string
}

// maxUnsynced is the number of examples.
const maxUnsynced = 10

// unsyncedTokens returns the tokens that did not reach their secret stores.
func unsyncedTokens(tokens []client.Token) (u unsynced) {
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
	slices.Sort(u.examples) // the tokens have no order
	u.examples = slices.Clone(u.examples[:min(u.count, maxUnsynced)])
	return u
}

// logUnsynced names the first of the tokens that did not reach their secret stores.
// s.mu is held.
func (s *listingState) logUnsynced(u unsynced, now time.Time) {
	examples := strings.Join(u.examples, "; ")
	if !s.unsynced.shouldLog(examples, now) {
		return
	}
	if examples == "" {
		level.Info(s.logger).Log("msg", "tokens reach their secret stores again")
		return
	}
	level.Warn(s.logger).Log("msg", "tokens did not reach their secret stores: whoever reads them from there gets the ones of before, which end",
		"tokens", u.count, "examples", examples)
}
