package targets

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

func TestWhoWaitsForTheTurnToAskForATokenStopsWithItsContext(t *testing.T) {
	o := newOAuth2Token(&config.OAuth2{})
	o.turn <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := o.Fetch(ctx)
	if failure, ok := errors.AsType[*client.Error](err); !ok || failure.Reason != client.ReasonCanceled {
		t.Errorf("got %v", err)
	}
}
