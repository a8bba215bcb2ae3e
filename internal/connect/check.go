package connect

import (
	"context"
	"fmt"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
)

// Check reads the files that a target names. It sends no requests. Problems prevent the
// target from being listed; warnings do not.
func Check(ctx context.Context, target *config.Target) (problems, warnings []string) {
	report := func(err error) { problems = append(problems, fmt.Sprintf("target %q: %v", target.Name, err)) }
	expiryKnown, err := checkCredentials(ctx, &target.Credentials)
	if err != nil {
		report(err)
	}
	for _, t := range newConnections(target).transports {
		for _, err := range t.check() {
			report(err)
		}
	}
	for _, warning := range findWarnings(target, expiryKnown || err != nil) {
		warnings = append(warnings, fmt.Sprintf("target %q: %s", target.Name, warning))
	}
	return problems, warnings
}

// checkCredentials reads the API key, or the client secret for OAuth2. expiryKnown is
// true if the key contains its expiry, and for OAuth2, whose access tokens are renewed.
func checkCredentials(ctx context.Context, cfg *config.Credentials) (expiryKnown bool, err error) {
	if cfg.OAuth2 != nil {
		_, err := newOAuth2(cfg.OAuth2).readSecret()
		return true, err
	}
	credentials, _ := newCredentials(cfg)
	credential, err := credentials.Credential(ctx)
	if err != nil {
		return false, client.CredentialError(credentials.String(), err)
	}
	return !credential.Expiry.IsZero(), nil
}
