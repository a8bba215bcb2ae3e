package connect

import (
	"context"
	"fmt"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
)

// Check reads the files that a target names, and sends nothing. Problems keep the
// target from being listed; warnings do not.
func Check(ctx context.Context, target *config.Target) (problems, warnings []string) {
	report := func(err error) { problems = append(problems, fmt.Sprintf("target %q: %v", target.Name, err)) }
	expires, err := checkCredentials(ctx, &target.Credentials)
	if err != nil {
		report(err)
	}
	transports := []*transport{newTransport(target.HTTP)}
	if _, endpoint := newCredentials(&target.Credentials); endpoint != nil {
		transports = append(transports, endpoint)
	}
	for _, t := range transports {
		for _, err := range t.check() {
			report(err)
		}
	}
	for _, text := range warningsOf(target, expires || err != nil) {
		warnings = append(warnings, fmt.Sprintf("target %q: %s", target.Name, text))
	}
	return problems, warnings
}

// checkCredentials reads the key, or the secret with which access tokens are
// requested, and reports whether its end is known or of no interest.
func checkCredentials(ctx context.Context, cfg *config.Credentials) (expires bool, err error) {
	if cfg.OAuth2 != nil {
		o := newOAuth2(cfg.OAuth2)
		if _, err := o.readSecret(); err != nil {
			return false, client.CredentialError(o.String(), err)
		}
		return true, nil
	}
	credentials, _ := newCredentials(cfg)
	credential, err := credentials.Credential(ctx)
	if err != nil {
		return false, client.CredentialError(credentials.String(), err)
	}
	return !credential.Expiry.IsZero(), nil
}
