package targets

import (
	"context"
	"net/netip"
	"strings"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

const (
	warnOpaque = "its API key does not say when it ends, so nothing will tell before it does: name the token that it belongs to " +
		"with api_key_token or --truefoundry.api-key-token, if that is listed"
	warnClear = "its URL begins with http://, so that the API key crosses the network as it is: use https://"
)

// LogWarnings logs what is dubious about targets that may well work. It reads
// their keys, which may take for ever, and sends nothing.
func LogWarnings(ctx context.Context, list []Target, logger log.Logger) {
	for i := range list {
		t := &list[i]
		warn := func(text string) { level.Warn(logger).Log("msg", text, "target", t.Name) }
		if t.keyIsInTheClear() {
			warn(warnClear)
		}
		// A key that cannot be read fails the listing, which is logged then.
		if key, err := t.readKey(ctx); err == nil && t.Opaque(key) {
			warn(warnOpaque)
		}
	}
}

// readKey reads the target's API key. It asks nobody for an access token.
func (t *Target) readKey(ctx context.Context) (client.Key, error) {
	reader := t.APIKey
	if token, ok := reader.(*oauth2Token); ok {
		reader = unasked{token}
	}
	return client.New(client.Config{APIKey: reader, Scheme: t.Scheme, Renewed: t.Renewed}).Key(ctx)
}

// keyIsInTheClear tells whether the API key crosses a network unencrypted.
func (t *Target) keyIsInTheClear() bool { return t.URL.Scheme == "http" && !isNear(t.URL.Hostname()) }

// isNear tells whether a host is this machine or inside the same cluster. A name
// without a dot is found nowhere else.
func isNear(host string) bool {
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Unmap().IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".svc") || strings.Contains(host, ".svc.")
}
