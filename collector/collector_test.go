package collector_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.uber.org/goleak"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/docstest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is the time of the tests that do not set another one.
var noon = time.Date(2026, 1, 20, 12, 0, 0, 0, time.UTC)

// testConfig configures a collector with one target.
type testConfig struct {
	collector.Options
	client.Config
	name, apiKeyToken string
	kinds             []client.Kind
}

func (s *testConfig) target() collector.Target {
	return collector.Target{Name: s.name, Kinds: s.kinds, APIKeyToken: s.apiKeyToken, Client: s.Config}
}

// newCollector returns a collector of the control plane at a URL. Its host name in
// metrics is the same in every run.
func newCollector(t *testing.T, server string, configure ...func(*testConfig)) *collector.Collector {
	t.Helper()
	s := newTestConfig(t, server, configure...)
	return s.collector(t, s.target())
}

// collector returns a collector of the targets with the Options of s.
func (s *testConfig) collector(t *testing.T, targets ...collector.Target) *collector.Collector {
	t.Helper()
	c, err := collector.New(s.Options, targets...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// setTargets replaces the targets of c.
func setTargets(t *testing.T, c *collector.Collector, targets ...collector.Target) {
	t.Helper()
	if err := c.Set(targets...); err != nil {
		t.Fatal(err)
	}
}

// newTestConfig returns the default configuration with changes.
func newTestConfig(t *testing.T, server string, configure ...func(*testConfig)) testConfig {
	t.Helper()
	u, err := client.ParseURL("http://acme.truefoundry.example")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(server, "http://"))
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	s := testConfig{
		collector.Options{CreatorLabel: collector.CreatorSlug, Timeout: time.Minute, Logger: log.NewNopLogger(), Now: clock},
		client.Config{
			URL: u, APIPrefix: fakecontrolplane.Prefix, Credentials: client.StaticKey(controlplanetest.Key, "inline"),
			PageSize: 1000, Limiter: client.NewLimiter(4), Transport: transport, UserAgent: "test", Now: clock,
		},
		"acme",
		"",
		[]client.Kind{client.PersonalAccessToken},
	}
	for _, f := range configure {
		f(&s)
	}
	return s
}

// scrape returns the exposition of c. The default timeout is 10 seconds.
func scrape(t *testing.T, c *collector.Collector, timeout ...time.Duration) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), append(timeout, 10*time.Second)[0])
	defer cancel()
	return metricstest.Exposition(t, c.Scrape(ctx))
}

func labelValue(m *dto.Metric, label string) string {
	for _, pair := range m.Label {
		if pair.GetName() == label {
			return pair.GetValue()
		}
	}
	return ""
}

// compareGolden compares got with a file of testdata.
func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	docstest.Golden(t, filepath.Join("testdata", name), got, *collector.Update)
}

// allMetricsTokens returns tokens that together have every metric.
func allMetricsTokens() []any {
	at := func(text string) *time.Time {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			panic(err)
		}
		return &t
	}
	healthy := controlplanetest.Token(1)

	rotating := controlplanetest.Token(2)
	rotating.CreatedAt = controlplanetest.Issued.AddDate(0, 0, -60)
	rotating.JWTs = append(rotating.JWTs, fakecontrolplane.JWT{ID: "old", Expiry: at("2026-01-31T00:00:00Z"), CreatedAt: rotating.CreatedAt})
	rotating.JWTs[0].Metadata = &fakecontrolplane.Metadata{SecretStoreSync: &fakecontrolplane.SecretStoreSync{UpdatedAt: *at("2026-01-01T00:00:05Z")}}
	rotating.LastAccessedAt = at("2026-01-20T11:40:00Z")
	rotating.Manifest.AutoRotate = &fakecontrolplane.AutoRotate{Interval: 60, GracePeriod: 30}
	rotating.NextScheduledRotation = at("2026-03-02T00:00:00Z")

	eternal := controlplanetest.Token(3)
	eternal.JWTs, eternal.IsExpired, eternal.LastAccessedAt, eternal.Manifest.OwnedBy = nil, nil, nil, nil

	expired := controlplanetest.Token(4)
	expired.JWTs[0].Expiry, expired.IsExpired = at("2026-01-10T10:30:00.5Z"), nil

	awkward := controlplanetest.Token(5)
	awkward.Name = "say \"hi\"\n\\o/ 🚀"

	replaced, successor := controlplanetest.Token(7), controlplanetest.Token(8)
	replaced.Name = successor.Name
	successor.CreatedAt, successor.JWTs[0].CreatedAt = successor.CreatedAt.AddDate(0, 0, 15), successor.CreatedAt.AddDate(0, 0, 15)
	successor.JWTs[0].Expiry = at("2026-07-01T00:00:00Z")
	successor.JWTs[0].Metadata = &fakecontrolplane.Metadata{SecretStoreSync: &fakecontrolplane.SecretStoreSync{
		UpdatedAt: *at("2026-01-16T00:00:05Z"), Error: "access denied",
	}}

	unreadable := map[string]any{
		"id": "t0006", "type": "opaque", "createdBy": "ops@acme.example", "createdAt": "yesterday",
		"manifest": map[string]any{"name": "named-by-its-manifest", "expiration_date": "next week"},
	}
	return []any{healthy, rotating, eternal, expired, awkward, unreadable, replaced, successor, healthy, "no item at all"}
}

func TestExpositionMatchesGoldenFiles(t *testing.T) {
	for _, tt := range expositions() {
		t.Run(tt.name, func(t *testing.T) {
			cp := controlplanetest.Start(t, controlplanetest.Always(tt.items...), tt.faults...)
			compareGolden(t, tt.name+".prom", scrape(t, newCollector(t, cp.URL)))
		})
	}
}

// goldenTest is a golden file and the list that it shows.
type goldenTest struct {
	name   string
	items  []any
	faults []controlplanetest.Fault
}

func expositions() []goldenTest {
	return []goldenTest{
		{name: "example", items: allMetricsTokens()[1:2]},
		{name: "everything", items: allMetricsTokens(), faults: []controlplanetest.Fault{faults.Total(func(total int) any { return total + 2 })}},
		{name: "no_tokens"},
		{name: "unauthorized", items: allMetricsTokens(), faults: []controlplanetest.Fault{faults.Status(http.StatusUnauthorized)}},
	}
}

// Write encodes tokens itself, and must produce the same as a registry and expfmt, for
// golden files and random tokens.
func TestWriteAndCollectExposeTheSameMetrics(t *testing.T) {
	tests := expositions()
	random, rounds := rand.New(rand.NewPCG(5, 6)), 20
	if testing.Short() {
		rounds = 5
	}
	text := func() string {
		parts := []string{"", "a", "b", "A b", `"`, `\`, "\n", "\r", "\x00", "\xff", "é", "🚀", "\u202e", "{", "}", "=", ",", " ", "`", "'", `\n`, `\\"`, `\x41`, `\u0041`}
		return parts[random.IntN(len(parts))] + parts[random.IntN(len(parts))]
	}
	for i := range rounds {
		items := make([]any, random.IntN(40))
		for i := range items {
			token := controlplanetest.Token(i)
			token.ID, token.Name, token.TenantName, token.Type = token.ID+text(), text(), text(), text()
			token.CreatedAt = token.CreatedAt.Add(time.Duration(random.Int64N(1e18)))
			token.CreatedBySubject = fakecontrolplane.Subject{ID: text(), Type: text(), Slug: text()}
			token.Manifest.OwnedBy = &fakecontrolplane.OwnedBy{Team: text()}
			if random.IntN(2) == 0 {
				token.JWTs, token.LastAccessedAt, token.IsExpired = nil, nil, nil
			}
			items[i] = token
		}
		tests = append(tests, goldenTest{name: fmt.Sprintf("random %d", i), items: items})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cp := controlplanetest.Start(t, controlplanetest.Always(tt.items...), tt.faults...)
			// A registry sorts the tokens of both targets together.
			newTwoTargets := func() *collector.Collector {
				a, b := newTestConfig(t, cp.URL), newTestConfig(t, cp.URL, func(s *testConfig) { s.name = "a \"b\"" })
				return a.collector(t, a.target(), b.target())
			}
			collected := metricstest.Gather(t, newTwoTargets())
			snapshot := newTwoTargets().Scrape(t.Context())
			for _, format := range []expfmt.Format{expfmt.NewFormat(expfmt.TypeTextPlain), expfmt.NewFormat(expfmt.TypeOpenMetrics)} {
				var got, want strings.Builder
				if err := snapshot.Write(&got, format); err != nil {
					t.Fatal(err)
				}
				encoder := expfmt.NewEncoder(&want, format)
				for _, family := range collected {
					if err := encoder.Encode(family); err != nil {
						t.Fatal(err)
					}
				}
				if got, want := sortedFamilies(got.String()), sortedFamilies(want.String()); got != want {
					t.Errorf("as %s:\n%s", format, docstest.Diff(want, got))
				}
			}
		})
	}
}

// sortedFamilies sorts the families of an exposition and their samples.
func sortedFamilies(exposition string) string {
	families := strings.Split(exposition, "# HELP ")
	for i, family := range families {
		lines := strings.SplitAfter(family, "\n")
		slices.Sort(lines[min(2, len(lines)):])
		families[i] = strings.Join(lines, "")
	}
	slices.Sort(families)
	return strings.Join(families, "# HELP ")
}

func TestGoldenFilesHaveEveryMetric(t *testing.T) {
	seen, err := os.ReadFile("testdata/everything.prom")
	if err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		newCollector(t, "http://unused").Describe(descs)
	}()
	for desc := range descs {
		name := regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(desc.String())[1]
		if !bytes.Contains(seen, []byte("\n"+name)) {
			t.Errorf("%s is not in everything.prom: give one of allMetricsTokens a value for it, then run the tests with -update", name)
		}
	}
}

func TestListWithoutTotalHasNoReportedTokens(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(1)...), faults.Total(func(int) any { return nil }))
	got := scrape(t, newCollector(t, cp.URL))
	metricstest.Present(t, got, `truefoundry_listing_tokens{control_plane="acme.truefoundry.example",kind="personal-access-token",target="acme"} 1`)
	metricstest.Absent(t, got, "truefoundry_listing_reported_tokens")
}

func TestCreatorLabelMayBeTheID(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(allMetricsTokens()...))
	got := scrape(t, newCollector(t, cp.URL, func(s *testConfig) { s.CreatorLabel = collector.CreatorID }))
	metricstest.Present(t, got, `creator="user-1"`)
	metricstest.Absent(t, got, "@acme.example")
}

func TestCreatorIsTheFirstKnownName(t *testing.T) {
	subject := func(fields map[string]any) any {
		return map[string]any{"id": "t", "createdBy": "created-by", "createdBySubject": fields}
	}
	for want, item := range map[string]any{
		"slug":       subject(map[string]any{"subjectSlug": "slug", "subjectDisplayName": "display", "subjectId": "id"}),
		"display":    subject(map[string]any{"subjectDisplayName": "display", "subjectExternalIdentitySlug": "external", "subjectId": "id"}),
		"external":   subject(map[string]any{"subjectExternalIdentitySlug": "external", "subjectControllerName": "controller", "subjectId": "id"}),
		"controller": subject(map[string]any{"subjectControllerName": "controller", "subjectId": "id"}),
		"id":         subject(map[string]any{"subjectId": "id"}),
		"created-by": subject(nil),
	} {
		cp := controlplanetest.Start(t, controlplanetest.Always(item))
		metricstest.Present(t, scrape(t, newCollector(t, cp.URL)), `creator="`+want+`"`)
	}
}

func TestControlPlaneMayHaveAPath(t *testing.T) {
	cp := controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(1)...))
	server := httptest.NewServer(http.StripPrefix("/tfy", cp))
	t.Cleanup(server.Close)
	got := scrape(t, newCollector(t, server.URL, func(s *testConfig) { s.URL.Path = "/tfy" }))
	metricstest.Present(t, got, `truefoundry_up{control_plane="acme.truefoundry.example/tfy",target="acme"} 1`)
}

// expirySeries matches a series of the expiry of a token.
var expirySeries = regexp.MustCompile(`(?m)^truefoundry_token_expiry_timestamp_seconds\{.*\btoken_id="([^"]*)"`)

func TestEachTokenIsExposedOnceForAnyPageSize(t *testing.T) {
	const n = 1050 // more than fit on one page
	for _, limit := range []int{1000, 100, 7} {
		for name, fault := range map[string]controlplanetest.Fault{
			"granted": func(next http.Handler) http.Handler { return next },
			"clamped": faults.Clamp(limit),
		} {
			t.Run(fmt.Sprintf("%d_%s", limit, name), func(t *testing.T) {
				cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(n)...), fault)
				c := newCollector(t, cp.URL, func(s *testConfig) {
					if name == "granted" {
						s.PageSize = limit
					}
				})
				ids := map[string]int{}
				for _, series := range expirySeries.FindAllStringSubmatch(scrape(t, c, time.Minute), -1) {
					ids[series[1]]++
				}
				for i := range n {
					if id := controlplanetest.Token(i).ID; ids[id] != 1 {
						t.Fatalf("%s is exposed %d times", id, ids[id])
					}
				}
				if len(ids) != n {
					t.Errorf("%d tokens of %d", len(ids), n)
				}
			})
		}
	}
}

// A failed scrape must not expose a part of the tokens: the others would seem deleted.
func TestFailuresAreExposedUntilTheNextSuccess(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fault  controlplanetest.Fault
		key    string
		reason string
	}{
		{"empty key", nil, "", "credentials"},
		{"invalid key", nil, "other-key", "unauthorized"},
		{"forbidden", faults.Status(http.StatusForbidden), controlplanetest.Key, "forbidden"},
		{"proxy authentication required", faults.Status(http.StatusProxyAuthRequired), controlplanetest.Key, "intermediary"},
		{"error on the last page", faults.At(20, faults.Status(http.StatusInternalServerError)), controlplanetest.Key, "server_error"},
		{"no such path", faults.Status(http.StatusNotFound), controlplanetest.Key, "client_error"},
		{"moved", faults.Status(http.StatusFound, "Location", "https://elsewhere.example/"), controlplanetest.Key, "redirect"},
		{"too many requests", faults.Status(http.StatusTooManyRequests), controlplanetest.Key, "rate_limited"},
		{"connection closed", faults.CloseAfter(""), controlplanetest.Key, "connection"},
		{"not JSON", faults.Body("<html>"), controlplanetest.Key, "bad_response"},
		{"endless list", faults.IgnoreOffset(), controlplanetest.Key, "incomplete"},
		{"no response", faults.Hang(), controlplanetest.Key, "timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// In a bubble, retries and deadlines take no time.
			synctest.Test(t, func(t *testing.T) { testFailure(t, tt.fault, tt.key, tt.reason) })
		})
	}
}

// testFailure scrapes a control plane that fails twice between two successes.
func testFailure(t *testing.T, failing controlplanetest.Fault, wrongKey, reason string) {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	fault := faults.Switch()
	transport, stop := controlplanetest.InMemory(controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(30)...)).With(fault.Wrap))
	defer stop()
	c := newCollector(t, "", func(s *testConfig) {
		s.Credentials = controlplanetest.KeyFile(key)
		s.PageSize, s.Transport = 10, transport
	})
	scrapeWith := func(text string, f controlplanetest.Fault) string {
		t.Helper()
		if err := os.WriteFile(key, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		fault.Set(f)
		return scrape(t, c)
	}
	wantSuccess := func(listings int) {
		t.Helper()
		got := scrapeWith(controlplanetest.Key, nil)
		metricstest.Present(t, got, `truefoundry_up{control_plane="acme.truefoundry.example",target="acme"} 1`)
		metricstest.Present(t, got, `truefoundry_listing_tokens{control_plane="acme.truefoundry.example",kind="personal-access-token",target="acme"} 30`)
		metricstest.Present(t, got, fmt.Sprintf(`truefoundry_listings_total{control_plane="acme.truefoundry.example",kind="personal-access-token",target="acme"} %d`, listings))
	}
	wantSuccess(1)
	for failures := range 2 {
		got := scrapeWith(wrongKey, failing)
		metricstest.Present(t, got, `truefoundry_up{control_plane="acme.truefoundry.example",target="acme"} 0`)
		metricstest.Present(t, got, `truefoundry_listing_success{control_plane="acme.truefoundry.example",kind="personal-access-token",target="acme"} 0`)
		metricstest.Present(t, got, fmt.Sprintf(`truefoundry_listing_errors_total{control_plane="acme.truefoundry.example",kind="personal-access-token",reason=%q,target="acme"} %d`, reason, failures+1))
		metricstest.Present(t, got, "truefoundry_listing_last_success_timestamp_seconds{")
		metricstest.Absent(t, got, "truefoundry_token_")
		metricstest.Absent(t, got, "truefoundry_listing_tokens")
		if wrongKey != "other-key" {
			metricstest.Present(t, got, `truefoundry_api_key_expiry_timestamp_seconds{control_plane="acme.truefoundry.example",target="acme"} 1.79e+09`)
		}
	}
	wantSuccess(4)
}

func TestKeyFileMayBeCreatedLater(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(1)...))
	c := newCollector(t, cp.URL, func(s *testConfig) { s.Credentials = controlplanetest.KeyFile(key) })
	got := scrape(t, c)
	metricstest.Present(t, got, `reason="credentials",target="acme"} 1`)
	metricstest.Absent(t, got, "truefoundry_listing_last_success_timestamp_seconds")
	metricstest.Absent(t, got, "truefoundry_exporter_api_requests_total")
	if err := os.WriteFile(key, []byte(controlplanetest.Key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	metricstest.Present(t, scrape(t, c), `truefoundry_up{control_plane="acme.truefoundry.example",target="acme"} 1`)
}
