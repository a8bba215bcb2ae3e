package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/e2e/internal/stack"
)

// startStack starts the demo with Prometheus and Alertmanager.
func startStack(t *testing.T) *stack.Stack {
	t.Helper()
	s, err := stack.Start(t.Context(), programs, "../../../../deploy", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, server := range s.Servers() {
			waitForExit(t, server)
		}
	})
	return s
}

// expectedAlerts are the alerts of the demo, and their receivers.
//
// There is no TrueFoundryTargetBlind for demo-broken because that alert looks back 35
// minutes. The gpu-scheduler that expires in days has no alert because it is replaced.
var expectedAlerts = []struct{ alert, subject, receiver string }{
	{"TrueFoundryTokenExpired", "nightly-backup", "truefoundry-expired"},
	{"TrueFoundryTokenExpiryImminent", "release-pipeline", "truefoundry-critical"},
	{"TrueFoundryTokenExpiryImminent", "model-registry-sync", "truefoundry-critical"},
	{"TrueFoundryTokenExpiringSoon", "feature-store", "truefoundry-warning"},
	{"TrueFoundryTokenRotationOverdue", "vector-index", "truefoundry-warning"},
	{"TrueFoundryTokenSecretStoreSyncFailed", "batch-scoring", "truefoundry-warning"},
	// These are legacy-dashboard, which has no team, and archive-reader.
	{"TrueFoundryTokensNeverExpire", "demo-globex/", "truefoundry-info"},
	{"TrueFoundryTokensNeverExpire", "demo-acme/data", "truefoundry-info"},
	{"TrueFoundryTokensUnused", "demo-globex/", "truefoundry-info"},
	{"TrueFoundryTokensUnused", "demo-acme/data", "truefoundry-info"},
	{"TrueFoundryTargetUnauthorized", "demo-broken", "truefoundry-critical"},
}

func TestDemoHasItsAlerts(t *testing.T) {
	s := startStack(t)
	wantUp := map[string]float64{"demo-personal": 1, "demo-services": 1, "demo-broken": 0}
	eventually(t, func(ctx context.Context) error {
		samples, err := stack.Query(ctx, s.Prometheus, "truefoundry_up")
		up := map[string]float64{}
		for _, sample := range samples {
			up[sample.Labels["target"]] = sample.Value
		}
		if err == nil && !maps.Equal(up, wantUp) {
			err = fmt.Errorf("truefoundry_up is %v, want %v", up, wantUp)
		}
		return err
	})

	var want, wantReceived []string
	for _, a := range expectedAlerts {
		want = append(want, a.alert+" "+a.subject)
		wantReceived = append(wantReceived, a.alert+" "+a.subject+" to "+a.receiver)
	}
	active := func(ctx context.Context) error {
		alerts, err := stack.PrometheusAlerts(ctx, s.Prometheus)
		var got []string
		for _, alert := range alerts {
			got = append(got, describe(alert))
		}
		if err != nil {
			return err
		}
		return same("alerts in Prometheus", got, want)
	}
	eventually(t, active)
	eventually(t, func(ctx context.Context) error {
		alerts, err := stack.AlertmanagerAlerts(ctx, s.Alertmanager)
		var got []string
		for _, alert := range alerts {
			for _, receiver := range alert.Receivers {
				got = append(got, describe(alert)+" to "+receiver.Name)
			}
		}
		if err != nil {
			return err
		}
		return same("alerts in Alertmanager", got, wantReceived)
	})
	// There are still no other alerts.
	if err := active(t.Context()); err != nil {
		t.Error(err)
	}
}

// describe returns the name of an alert and its subject: a token, a target, or a tenant and
// a team.
func describe(alert stack.Alert) string {
	subject := alert.Labels["tenant"] + "/" + alert.Labels["owner_team"]
	for _, label := range []string{"target", "token_name"} {
		if value, ok := alert.Labels[label]; ok {
			subject = value
		}
	}
	return alert.Labels["alertname"] + " " + subject
}

// same returns an error unless got and want have the same elements.
func same(what string, got, want []string) error {
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if slices.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("%s:\n\t%s\nwant:\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
}
