package targets

import (
	"context"
	"fmt"
)

// Check reads the files that the target names, and sends nothing. The problems
// keep the target from being listed; the warnings do not.
func (t *Target) Check(ctx context.Context) (problems, warnings []string) {
	report := func(err error) { problems = append(problems, fmt.Sprintf("target %q: %v", t.Name, err)) }
	warn := func(text string) { warnings = append(warnings, fmt.Sprintf("target %q: %s", t.Name, text)) }
	connections := []*connection{newConnection(t.HTTP)}
	if token, ok := t.APIKey.(*oauth2Token); ok {
		connections = append(connections, token.connection)
	}
	key, err := t.readKey(ctx)
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
		warn(warnOpaque)
	}
	if t.keyIsInTheClear() {
		warn(warnClear)
	}
	return problems, warnings
}
