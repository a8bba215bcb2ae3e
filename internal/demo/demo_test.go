package demo_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/common/config"
	"go.uber.org/goleak"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/controlplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/demo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The demonstration has a token for everything that may become of one.
func TestTokens(t *testing.T) {
	d, err := demo.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	c := client.New(client.Config{
		URL: d.URL, APIPrefix: controlplane.Prefix, APIKey: config.NewInlineSecret(d.Key), PageSize: 1000,
		Limiter: client.NewLimiter(4), Transport: transport, UserAgent: "test", Now: time.Now,
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	key, err := c.Key(ctx)
	if err != nil {
		t.Fatal(err)
	}
	listing, err := c.List(ctx, key, client.PersonalAccessToken)
	if err != nil {
		t.Fatal(err)
	}

	const day = 24 * time.Hour
	tenants, teams, creators := map[string]bool{}, map[string]bool{}, map[string]bool{}
	has := map[string]int{}
	for _, token := range listing.Tokens {
		tenants[token.Tenant], teams[token.Team], creators[token.Creator.Slug] = true, true, true
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
			t.Errorf("%s: expired is %v, and %v are left", token.Name, token.Expired, left)
		}
		if !token.NextRotation.IsZero() {
			has["rotates"]++
		}
		if token.PreviousJWTExpiry.After(time.Now()) {
			has["is in its grace period"]++
		}
	}
	for what, want := range map[string]int{
		"never expires": 1, "expired": 1, "expires within hours": 1, "expires within days": 2, "rotates": 2, "is in its grace period": 1,
	} {
		if has[what] != want {
			t.Errorf("%d tokens %s, want %d", has[what], what, want)
		}
	}
	if len(listing.Tokens) != 40 || len(tenants) != 2 || len(teams) < 3 || len(creators) < 3 || listing.InvalidItems+len(listing.InvalidFields) > 0 {
		t.Errorf("%d tokens of the tenants %v, the teams %v and the creators %v", len(listing.Tokens), tenants, teams, creators)
	}
}
