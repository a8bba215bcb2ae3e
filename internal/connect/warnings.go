package connect

import (
	"context"
	"net/netip"
	"strings"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
)

// LogWarnings logs the warnings of Check. It reads the API keys of the targets, which may
// block for ever.
func LogWarnings(ctx context.Context, targets []config.Target, logger log.Logger) {
	for i := range targets {
		target := &targets[i]
		// If the key cannot be read, the listing fails, which is logged.
		expiryKnown, err := checkCredentials(ctx, &target.Credentials)
		for _, warning := range findWarnings(target, expiryKnown || err != nil) {
			level.Warn(logger).Log("msg", warning, "target", target.Name)
		}
	}
}

// findWarnings returns what users should know about a target that may well work.
func findWarnings(target *config.Target, expiryKnown bool) (warnings []string) {
	if !expiryKnown && target.APIKeyToken == "" {
		warnings = append(warnings, "its API key does not contain its expiry, so nothing warns before it expires: set api_key_token or "+
			"--truefoundry.api-key-token to the name of the key's token, if that is listed")
	}
	if target.URL.Scheme == "http" && !isLocal(target.URL.Hostname()) {
		warnings = append(warnings, "its URL begins with http://, so the API key is sent unencrypted: use https://")
	}
	return warnings
}

// isLocal reports whether a host is this machine or in the same cluster. Host
// names without a dot only exist there.
func isLocal(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".svc") || strings.Contains(host, ".svc.")
}
