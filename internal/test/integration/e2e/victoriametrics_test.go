package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/e2e/internal/stack"
)

// speedup is the factor by which the rules are faster than in production. The four hours for
// which the last values of a token are used take 90 seconds.
const speedup = 160

// vmalert evaluates rules with a delay, and there is another delay until recorded series are
// visible. With the speedup, these delays are several evaluations long.
func TestAlertsKeepFiringOnVictoriaMetrics(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	const apiKey, day = "some-key", 24 * time.Hour
	tokens := testTokens{
		{"expired-yesterday", -day, "TrueFoundryTokenExpired"},
		{"expired-days-ago", -3 * day, "TrueFoundryTokenExpired"},
		{"expires-tomorrow", day, "TrueFoundryTokenExpiryImminent"},
		{"expires-in-two-days", 2 * day, "TrueFoundryTokenExpiryImminent"},
		{"expires-next-week", 7 * day, "TrueFoundryTokenExpiringSoon"},
		{"expires-in-twelve-days", 12 * day, "TrueFoundryTokenExpiringSoon"},
		{"expires-next-year", 365 * day, ""},
	}
	begin := time.Now()
	var listed atomic.Pointer[testTokens]
	listed.Store(&tokens)
	plane := httptest.NewServer(&fakecontrolplane.Server{Key: apiKey, Items: func(string) []any { return listed.Load().items(begin) }})
	t.Cleanup(plane.Close)

	dir := t.TempDir()
	write := func(name, text string) (path string) {
		t.Helper()
		path = filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keyFile := write("key", apiKey)
	exporter := start(t, programs.Exporter, "--truefoundry.url="+plane.URL, "--truefoundry.api-key-file="+keyFile, "--web.listen-address=127.0.0.1:0")
	store := start(t, filepath.Join(programs.VictoriaMetricsDir, "victoria-metrics"),
		"-httpListenAddr=127.0.0.1:0", "-storageDataPath="+filepath.Join(dir, "data"), "-search.latencyOffset=1s",
		"-promscrape.config="+write("scrape.yml", fmt.Sprintf(`
global: {scrape_interval: 500ms, scrape_timeout: 500ms}
scrape_configs: [{job_name: truefoundry, static_configs: [{targets: [%q]}]}]
`, strings.TrimPrefix(exporter.URL, "http://"))))
	rules := filepath.Join(dir, "rules.yml")
	if err := stack.SpeedUp("../../../../deploy/prometheus/rules.yml", rules, speedup); err != nil {
		t.Fatal(err)
	}
	vmalert := start(t, filepath.Join(programs.VictoriaMetricsDir, "vmalert"), "-httpListenAddr=127.0.0.1:0",
		"-datasource.url="+store.URL, "-remoteRead.url="+store.URL, "-remoteWrite.url="+store.URL,
		"-remoteWrite.flushInterval=100ms", "-rule.evalDelay=2s", "-notifier.blackhole", "-rule="+rules)

	firing := func(ctx context.Context) (alerts []string, err error) {
		all, err := stack.PrometheusAlerts(ctx, vmalert)
		for _, alert := range all {
			if alert.State == "firing" && alert.Labels["token_name"] != "" {
				alerts = append(alerts, describe(alert))
			}
		}
		return alerts, err
	}
	exactly := func(want []string) func(context.Context) error {
		return func(ctx context.Context) error {
			got, err := firing(ctx)
			if err == nil {
				err = same("alerts of tokens", got, want)
			}
			return err
		}
	}
	eventuallyWithin(t, 5*time.Minute, exactly(tokens.alerts()))

	// The listing fails until the data of the last successful one is an hour older than the
	// lookback of any rule except those that keep old values. Only these provide data then.
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	through := func(window time.Duration, metric string) string {
		return fmt.Sprintf("last_over_time(%s[%dms])", metric, (window / speedup).Milliseconds())
	}
	eventuallyWithin(t, 4*time.Minute, func(ctx context.Context) error {
		if err := exactly(tokens.alerts())(ctx); err != nil {
			t.Fatalf("without a key: %v", err)
		}
		recent, err := stack.Query(ctx, store, through(5*time.Hour, "truefoundry_token:end_timestamp_seconds:last"))
		if err == nil && len(recent) > 0 {
			err = errors.New("the data of the last successful listing is newer")
		}
		return err
	})
	known, err := stack.Query(t.Context(), store, through(time.Hour, "truefoundry_token:end_timestamp_seconds:known")+" > -Inf")
	if err != nil || len(known) != len(tokens) {
		t.Fatalf("the expiry of %d tokens is known, want %d: %v", len(known), len(tokens), err)
	}

	// One token for each alert is deleted. The alerts of the other tokens keep firing.
	left := slices.DeleteFunc(slices.Clone(tokens), func(token testToken) bool {
		return slices.Contains([]string{"expired-yesterday", "expires-tomorrow", "expires-next-week"}, token.name)
	})
	listed.Store(&left)
	write("key", apiKey)
	eventuallyWithin(t, 2*time.Minute, func(ctx context.Context) error {
		got, err := firing(ctx)
		if err != nil {
			return err
		}
		for _, alert := range left.alerts() {
			if !slices.Contains(got, alert) {
				t.Fatalf("after the key is restored, there is no %s", alert)
			}
		}
		return same("alerts of tokens", got, left.alerts())
	})
}

type testToken struct {
	name    string
	expires time.Duration // after the start of the test
	alert   string        // the expected alert; empty if there is none
}

type testTokens []testToken

// alerts returns the expected alerts, as returned by describe.
func (tokens testTokens) alerts() (alerts []string) {
	for _, token := range tokens {
		if token.alert != "" {
			alerts = append(alerts, token.alert+" "+token.name)
		}
	}
	return alerts
}

// items returns the tokens as listed by the API.
func (tokens testTokens) items(start time.Time) (items []any) {
	for _, token := range tokens {
		issued, expiry := start.AddDate(-1, 0, 0), start.Add(token.expires)
		items = append(items, fakecontrolplane.Token{
			ID: "id-of-" + token.name, Name: token.name, TenantName: "acme", CreatedAt: issued, UpdatedAt: issued,
			CreatedBySubject: fakecontrolplane.Subject{ID: "ada", Type: "user"},
			JWTs:             []fakecontrolplane.JWT{{ID: "jwt", Expiry: &expiry, CreatedAt: issued, UpdatedAt: issued}},
		})
	}
	return items
}
