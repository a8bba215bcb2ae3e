package targets

import (
	"context"
	"fmt"
	"os"

	"github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// Check reads the files that the target names, and sends nothing. The problems
// keep the target from being listed; the warnings do not.
func (t *Target) Check(ctx context.Context) (problems, warnings []string) {
	report := func(err error) { problems = append(problems, fmt.Sprintf("target %q: %v", t.Name, err)) }
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
		if _, err := c.transport(); err != nil {
			report(err)
		}
	}
	for _, file := range headerFiles(t.HTTP.HTTPHeaders) {
		if _, err := os.ReadFile(file); err != nil { //nolint:gosec // the user names it
			report(unreadable(err))
		}
	}
	if err == nil && t.Opaque(key) {
		warnings = append(warnings, fmt.Sprintf("target %q: its key does not say when it ends, so nothing will tell before it does: "+
			"set api_key_token to the name of its token, where that is listed", t.Name))
	}
	return problems, warnings
}

func headerFiles(headers *config.Headers) (files []string) {
	if headers == nil {
		return nil
	}
	for _, header := range headers.Headers {
		files = append(files, header.Files...)
	}
	return files
}
