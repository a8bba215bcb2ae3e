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

// How many times faster than in production the rules are: the four hours for which
// a token's last values count take 90 seconds.
const hurry = 160

// vmalert evaluates rules as of some seconds ago, and what they record is seen some
// seconds later still. To rules that are that much faster, this is rounds later.
func TestAlertsHoldOnVictoriaMetrics(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes minutes")
	}
	const apiKey, day = "some-key", 24 * time.Hour
	tokens := watched{
		{"ended-yesterday", -day, "TrueFoundryTokenExpired"},
		{"ended-days-ago", -3 * day, "TrueFoundryTokenExpired"},
		{"ends-tomorrow", day, "TrueFoundryTokenExpiryImminent"},
		{"ends-in-two-days", 2 * day, "TrueFoundryTokenExpiryImminent"},
		{"ends-next-week", 7 * day, "TrueFoundryTokenExpiringSoon"},
		{"ends-in-twelve-days", 12 * day, "TrueFoundryTokenExpiringSoon"},
		{"ends-next-year", 365 * day, ""},
	}
	began := time.Now()
	var listed atomic.Pointer[watched]
	listed.Store(&tokens)
	plane := httptest.NewServer(&fakecontrolplane.Server{Key: apiKey, Items: func(string) []any { return listed.Load().items(began) }})
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
	if err := stack.Hurry("../../../../deploy/prometheus/rules.yml", rules, hurry); err != nil {
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

	// Until what the last good listing has left is an hour older than any rule but the
	// held ones looks back; and what is known since then is from those.
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	through := func(window time.Duration, metric string) string {
		return fmt.Sprintf("last_over_time(%s[%dms])", metric, (window / hurry).Milliseconds())
	}
	eventuallyWithin(t, 4*time.Minute, func(ctx context.Context) error {
		if err := exactly(tokens.alerts())(ctx); err != nil {
			t.Fatalf("without a key: %v", err)
		}
		recent, err := stack.Query(ctx, store, through(5*time.Hour, "truefoundry_token:end_timestamp_seconds:last"))
		if err == nil && len(recent) > 0 {
			err = errors.New("what the last good listing has left is younger than that")
		}
		return err
	})
	known, err := stack.Query(t.Context(), store, through(time.Hour, "truefoundry_token:end_timestamp_seconds:known")+" > -Inf")
	if err != nil || len(known) != len(tokens) {
		t.Fatalf("of %d tokens, the end of %d is known: %v", len(tokens), len(known), err)
	}

	// One of each alert is deleted; the other alerts go on.
	left := slices.DeleteFunc(slices.Clone(tokens), func(one watchedToken) bool {
		return slices.Contains([]string{"ended-yesterday", "ends-tomorrow", "ends-next-week"}, one.name)
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
				t.Fatalf("with the key again, there is no %s", alert)
			}
		}
		return same("alerts of tokens", got, left.alerts())
	})
}

// watchedToken is a token that ends so long after the start of the test, and the
// alert that it deserves, if any.
type watchedToken struct {
	name  string
	ends  time.Duration
	alert string
}

type watched []watchedToken

func (w watched) alerts() (alerts []string) {
	for _, one := range w {
		if one.alert != "" {
			alerts = append(alerts, one.alert+" "+one.name)
		}
	}
	return alerts
}

func (w watched) items(start time.Time) (items []any) {
	for _, one := range w {
		issued, expiry := start.AddDate(-1, 0, 0), start.Add(one.ends)
		items = append(items, fakecontrolplane.Token{
			ID: "id-of-" + one.name, Name: one.name, TenantName: "acme", CreatedAt: issued, UpdatedAt: issued,
			CreatedBySubject: fakecontrolplane.Subject{ID: "ada", Type: "user"},
			JWTs:             []fakecontrolplane.JWT{{ID: "jwt", Expiry: &expiry, CreatedAt: issued, UpdatedAt: issued}},
		})
	}
	return items
}
