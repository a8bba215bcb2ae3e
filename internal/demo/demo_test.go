package demo_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// list lists the tokens of a target.
func list(t *testing.T, target *config.Target) (*client.Listing, error) {
	t.Helper()
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	c, err := client.New(client.Config{
		URL: target.URL, APIPrefix: target.APIPrefix, Credentials: client.StaticKey(string(target.Credentials.Key), "inline"), Transport: transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	key, err := c.Credential(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return c.List(ctx, key, target.Kinds[0])
}

// The demo has tokens in every state, and a target that fails.
func TestDemoHasTokensInEveryState(t *testing.T) {
	all, stop, err := demo.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if len(all) != 3 {
		t.Fatalf("%d targets", len(all))
	}
	var failure *client.Error
	if _, err := list(t, &all[2]); !errors.As(err, &failure) || failure.Reason != client.ReasonUnauthorized {
		t.Errorf("the broken target: %v", err)
	}
	var tokens []client.Token
	for i, want := range []struct {
		kind   client.Kind
		tokens int
	}{{client.PersonalAccessToken, 40}, {client.VirtualAccount, 5}} {
		listing, err := list(t, &all[i])
		if err != nil {
			t.Fatal(err)
		}
		if all[i].Kinds[0] != want.kind || len(listing.Tokens) != want.tokens || listing.InvalidItems+len(listing.InvalidFields) > 0 {
			t.Errorf("%s: %d tokens of kind %s, not read %v", all[i].Name, len(listing.Tokens), all[i].Kinds[0], listing.DecodeErrors)
		}
		tokens = append(tokens, listing.Tokens...)
	}

	const day = 24 * time.Hour
	tenants, teams, creators := map[string]bool{}, map[string]bool{}, map[string]bool{}
	has := map[string]int{}
	for _, token := range tokens {
		tenants[token.Tenant], teams[token.Team], creators[token.Creator.Name] = true, true, true
		left := time.Until(token.Expiry.At)
		switch {
		case token.Expiry.At.IsZero():
			has["never expires"]++
		case left < 0:
			has["expired"]++
		case left < day:
			has["expires within hours"]++
		case left < 14*day:
			has["expires within days"]++
		}
		if expired := !token.Expiry.At.IsZero() && left < 0; token.Expired == nil || *token.Expired != expired {
			t.Errorf("%s: expired is %v, but expires in %v", token.Name, token.Expired, left)
		}
		if !token.NextRotation.IsZero() {
			has["rotates"]++
			if token.NextRotation.Before(time.Now()) {
				has["is overdue for rotation"]++
			}
		}
		if token.PreviousJWTExpiry.After(time.Now()) {
			has["is in its grace period"]++
		}
		if sync := token.SecretStoreSync; sync != nil && sync.Failed {
			has["did not reach its secret store"]++
		}
		if token.Replaced {
			has["is replaced"]++
		}
	}
	for state, want := range map[string]int{
		"never expires": 2, "expired": 1, "expires within hours": 1, "expires within days": 3, "rotates": 3, "is overdue for rotation": 1,
		"is in its grace period": 1, "did not reach its secret store": 1, "is replaced": 1,
	} {
		if has[state] != want {
			t.Errorf("%d tokens %s, want %d", has[state], state, want)
		}
	}
	if len(tenants) != 2 || len(teams) < 3 || len(creators) < 3 {
		t.Errorf("tokens of the tenants %v, the teams %v and the creators %v", tenants, teams, creators)
	}
}
