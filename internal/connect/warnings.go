package connect

import (
	"context"
	"net/netip"
	"strings"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
)

// LogWarnings logs the warnings of Check. It reads the targets' keys, which may take
// for ever.
func LogWarnings(ctx context.Context, targets []config.Target, logger log.Logger) {
	for i := range targets {
		target := &targets[i]
		// A key that cannot be read fails the listing, which is logged then.
		expires, err := checkCredentials(ctx, &target.Credentials)
		for _, text := range warningsOf(target, expires || err != nil) {
			level.Warn(logger).Log("msg", text, "target", target.Name)
		}
	}
}

// warningsOf returns what is dubious about a target that may well work. keyExpires is
// whether the end of its API key is known or of no interest.
func warningsOf(target *config.Target, keyExpires bool) (warnings []string) {
	if !keyExpires && target.APIKeyToken == "" {
		warnings = append(warnings, "its API key does not say when it ends, so nothing will tell before it does: name the token that it belongs to "+
			"with api_key_token or --truefoundry.api-key-token, if that is listed")
	}
	if target.URL.Scheme == "http" && !isLocal(target.URL.Hostname()) {
		warnings = append(warnings, "its URL begins with http://, so that the API key crosses the network as it is: use https://")
	}
	return warnings
}

// isLocal reports whether a host is this machine or in the same cluster. A name without
// a dot is found nowhere else.
func isLocal(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".svc") || strings.Contains(host, ".svc.")
}
