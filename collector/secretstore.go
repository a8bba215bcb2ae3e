package collector

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-kit/log/level"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// maxUnsynced is how many tokens that did not reach their secret stores are named
// in the log.
const maxUnsynced = 10

// logUnsynced tells of tokens that did not reach their secret stores, and why:
// nothing else does. h.mu is held.
func (h *history) logUnsynced(result *client.Listing) {
	var failed []string
	for i := range result.Tokens {
		if t := &result.Tokens[i]; t.SecretStoreSync != nil && t.SecretStoreSync.Failed {
			text := fmt.Sprintf("%q with id %q", t.Name, t.ID)
			if t.SecretStoreSync.Error != "" {
				text += ": " + t.SecretStoreSync.Error
			}
			failed = append(failed, text)
		}
	}
	slices.Sort(failed) // listings have no order
	examples := strings.Join(failed[:min(len(failed), maxUnsynced)], "; ")
	if !h.unsynced.news(examples, h.now()) {
		return
	}
	if examples == "" {
		level.Info(h.logger).Log("msg", "no token fails to reach its secret store any more")
		return
	}
	level.Warn(h.logger).Log("msg", "tokens did not reach their secret stores: whoever reads them there has the ones before, which end",
		"tokens", len(failed), "examples", examples)
}
