package targets

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// Check reads the files that the target names, and sends nothing. The problems
// keep the target from being listed; the warnings do not.
func (t *Target) Check(ctx context.Context) (problems, warnings []string) {
	report := func(err error) { problems = append(problems, fmt.Sprintf("target %q: %v", t.Name, err)) }
	warn := func(text string) { warnings = append(warnings, fmt.Sprintf("target %q: %s", t.Name, text)) }
	reader := t.APIKey
	connections := []*connection{newConnection(t.HTTP)}
	if token, ok := reader.(*oauth2Token); ok {
		reader = unasked{token}
		connections = append(connections, token.connection)
	}
	key, err := client.New(client.Config{APIKey: reader, Scheme: t.Scheme, Renewed: t.Renewed}).Key(ctx)
	if err != nil {
		report(err)
	}
	for _, c := range connections {
		missing := false
		for _, file := range c.files() {
			if err := readable(file); err != nil {
				missing = true
				report(unreadable(err))
			}
		}
		if missing {
			continue
		}
		if _, err := c.transport(); err != nil {
			report(err)
		}
	}
	if err == nil && t.Opaque(key) {
		warn("its API key does not say when it ends, so nothing will tell before it does: name the token that it belongs to " +
			"with api_key_token or --truefoundry.api-key-token, if that is listed")
	}
	if t.URL.Scheme == "http" && strings.Contains(t.URL.Hostname(), ".") && !local(t.URL.Hostname()) {
		warn("its URL begins with http://, so that the API key crosses the network as it is: use https://")
	}
	return problems, warnings
}

// local tells whether a host is this machine or a service of the same cluster.
func local(host string) bool {
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback() || strings.HasSuffix(host, ".svc") || strings.Contains(host, ".svc.")
}
