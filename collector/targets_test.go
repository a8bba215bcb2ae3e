package collector_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

var bothKinds = []client.Kind{client.PersonalAccessToken, client.VirtualAccount}

// newTarget returns a target that lists both kinds.
func newTarget(t *testing.T, name, url string) collector.Target {
	t.Helper()
	s := newTestConfig(t, url, func(s *testConfig) { s.name, s.kinds = name, bothKinds })
	return s.target()
}

func TestTargetsAndKindsAreListedIndependently(t *testing.T) {
	url := controlplanetest.StartKinds(t, controlplanetest.Key, controlplanetest.Tokens(3), controlplanetest.Tokens(2)).URL
	forbidden := controlplanetest.StartKinds(t, controlplanetest.Key, nil, nil, faults.Status(http.StatusForbidden)).URL
	halfForbidden := controlplanetest.StartKinds(t, controlplanetest.Key, controlplanetest.Tokens(1), nil, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, fakecontrolplane.VirtualAccounts) {
				faults.Status(http.StatusForbidden)(nil).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	s := newTestConfig(t, url)
	got := scrape(t, s.collector(t, newTarget(t, "b", url), newTarget(t, "a", url), newTarget(t, "c", forbidden), newTarget(t, "d", halfForbidden.URL)))
	for _, want := range []string{
		`truefoundry_up{control_plane="acme.truefoundry.example",target="a"} 1`,
		`truefoundry_up{control_plane="acme.truefoundry.example",target="b"} 1`,
		`truefoundry_up{control_plane="acme.truefoundry.example",target="c"} 0`,
		`truefoundry_up{control_plane="acme.truefoundry.example",target="d"} 0`,
		`truefoundry_listing_tokens{control_plane="acme.truefoundry.example",kind="personal-access-token",target="a"} 3`,
		`truefoundry_listing_tokens{control_plane="acme.truefoundry.example",kind="virtual-account",target="b"} 2`,
		`truefoundry_listing_success{control_plane="acme.truefoundry.example",kind="virtual-account",target="c"} 0`,
		`truefoundry_listing_success{control_plane="acme.truefoundry.example",kind="virtual-account",target="d"} 0`,
		`truefoundry_listing_tokens{control_plane="acme.truefoundry.example",kind="personal-access-token",target="d"} 1`,
		`truefoundry_listing_errors_total{control_plane="acme.truefoundry.example",kind="virtual-account",reason="forbidden",target="c"} 1`,
	} {
		metricstest.Present(t, got, want)
	}
	if n := strings.Count(got, "\ntruefoundry_token_info{"); n != 2*(3+2)+1 {
		t.Errorf("%d tokens", n)
	}
}

// Counters belong to the name and the control plane of a target.
func TestSetKeepsCountersOfRemainingTargets(t *testing.T) {
	working := controlplanetest.StartKinds(t, controlplanetest.Key, controlplanetest.Tokens(1), nil).URL
	forbidden := controlplanetest.StartKinds(t, controlplanetest.Key, nil, nil, faults.Status(http.StatusForbidden)).URL
	a, b := newTarget(t, "a", forbidden), newTarget(t, "b", working)
	s := newTestConfig(t, working)
	c := s.collector(t, a, b)
	const errorsOf = `truefoundry_listing_errors_total{control_plane="acme.truefoundry.example",kind="personal-access-token",reason="forbidden",target="a"} `
	metricstest.Present(t, scrape(t, c), errorsOf+"1")

	moved := newTarget(t, "a", working)
	moved.Kinds = moved.Kinds[:1]
	setTargets(t, c, moved)
	got := scrape(t, c)
	metricstest.Present(t, got, `truefoundry_up{control_plane="acme.truefoundry.example",target="a"} 1`)
	metricstest.Present(t, got, errorsOf+"1")
	metricstest.Present(t, got, `truefoundry_exporter_api_requests_total{code="403",control_plane="acme.truefoundry.example",target="a"} 2`)
	metricstest.Absent(t, got, `target="b"`)
	metricstest.Absent(t, got, `kind="virtual-account"`)

	setTargets(t, c, a, b)
	got = scrape(t, c)
	metricstest.Present(t, got, errorsOf+"2")
	metricstest.Present(t, got, `truefoundry_listing_errors_total{control_plane="acme.truefoundry.example",kind="virtual-account",reason="forbidden",target="a"} 1`)
	metricstest.Present(t, got, `truefoundry_exporter_api_requests_total{code="200",control_plane="acme.truefoundry.example",target="b"} 2`)
	if last := `truefoundry_listing_last_success_timestamp_seconds{control_plane="acme.truefoundry.example",kind="personal-access-token",target="a"} `; !strings.Contains(got, last) {
		t.Error("the time of the last success is lost")
	}

	elsewhere := newTarget(t, "a", working)
	var err error
	if elsewhere.Client.URL, err = client.ParseURL("http://globex.truefoundry.example"); err != nil {
		t.Fatal(err)
	}
	setTargets(t, c, elsewhere)
	got = scrape(t, c)
	metricstest.Present(t, got, `truefoundry_listings_total{control_plane="globex.truefoundry.example",kind="personal-access-token",target="a"} 1`)
	metricstest.Absent(t, got, `reason="forbidden",target="a"} 2`)
	metricstest.Absent(t, got, `control_plane="acme.truefoundry.example",`)
}

func TestScrapeInFlightKeepsItsTargets(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	hold := faults.First(1, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-finish
			faults.Status(http.StatusForbidden)(nil).ServeHTTP(w, r)
		})
	})
	slow := controlplanetest.Start(t, controlplanetest.Always(), hold)
	s := newTestConfig(t, slow.URL, func(s *testConfig) { s.name = "old" })
	c := s.collector(t, s.target())
	scraped := make(chan string)
	go func() { scraped <- scrape(t, c) }()
	<-begun
	setTargets(t, c, newTarget(t, "new", controlplanetest.StartKinds(t, controlplanetest.Key, nil, nil).URL))
	now := scrape(t, c)
	metricstest.Present(t, now, `truefoundry_up{control_plane="acme.truefoundry.example",target="new"} 1`)
	metricstest.Absent(t, now, `"old"`)
	close(finish)
	before := <-scraped
	metricstest.Present(t, before, `truefoundry_listing_errors_total{control_plane="acme.truefoundry.example",kind="personal-access-token",reason="forbidden",target="old"} 1`)
	metricstest.Absent(t, before, `"new"`)
	metricstest.Absent(t, scrape(t, c), `"old"`)
}

// A run of a replaced configuration must not change the status of the current one.
func TestFailureOfReplacedConfigurationIsOnlyCounted(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	slow := controlplanetest.Start(t, controlplanetest.Always(), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-finish
			faults.Status(http.StatusForbidden)(nil).ServeHTTP(w, r)
		})
	})
	logged := new(metricstest.Log)
	s := newTestConfig(t, slow.URL, func(s *testConfig) { s.Logger = log.NewLogfmtLogger(logged) })
	c := s.collector(t, s.target())
	scraped := make(chan string)
	go func() { scraped <- scrape(t, c) }()
	<-begun
	good := newTestConfig(t, controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(2)...)).URL)
	setTargets(t, c, good.target())
	metricstest.Present(t, scrape(t, c), `truefoundry_up{control_plane="acme.truefoundry.example",target="acme"} 1`)
	close(finish)
	metricstest.Present(t, <-scraped, `truefoundry_up{control_plane="acme.truefoundry.example",target="acme"} 0`)
	status := c.Status()[0].Listings[0]
	if status.Failing || status.Failure != nil || status.Tokens != 2 || logged.Take() != "" {
		t.Errorf("%+v", status)
	}
	metricstest.Present(t, scrape(t, c), `truefoundry_listing_errors_total{control_plane="acme.truefoundry.example",kind="personal-access-token",reason="forbidden",target="acme"} 1`)
}

// A rate limit and the expiry of a key belong to Target.Identity, unlike counters.
func TestSetForgetsTheStateOfOtherKeys(t *testing.T) {
	limiting := controlplanetest.Start(t, controlplanetest.Always(), faults.Status(http.StatusTooManyRequests, "Retry-After", "3600"))
	working := controlplanetest.Start(t, controlplanetest.Always())
	limited := newTestConfig(t, limiting.URL)
	c := limited.collector(t, limited.target())
	metricstest.Present(t, scrape(t, c), `reason="rate_limited",target="acme"} 1`)

	setTargets(t, c, limited.target())
	got := scrape(t, c)
	metricstest.Present(t, got, `reason="rate_limited",target="acme"} 2`)
	metricstest.Present(t, got, `truefoundry_api_key_expiry_timestamp_seconds{control_plane="acme.truefoundry.example",target="acme"} 1.79e+09`)
	if n := len(limiting.Requests()); n != 1 {
		t.Errorf("%d requests, want one before the rate limit", n)
	}

	other := newTestConfig(t, working.URL, func(s *testConfig) { s.Credentials = client.StaticKey("", "inline") })
	moved := other.target()
	moved.Identity = "another"
	setTargets(t, c, moved)
	got = scrape(t, c)
	metricstest.Present(t, got, `reason="credentials",target="acme"} 1`)
	metricstest.Absent(t, got, "truefoundry_api_key_expiry_timestamp_seconds{")
}

func TestStatusFollowsTheListings(t *testing.T) {
	fault, now := faults.Switch(), noon
	tokens := []any{namedToken("a", "a", noon, noon.Add(-time.Hour)), namedToken("b", "b", noon, noon.Add(2*time.Hour)), namedToken("c", "c", noon, noon.Add(time.Hour)), namedToken("d", "d", noon, time.Time{})}
	cp := controlplanetest.Start(t, controlplanetest.Always(tokens...), fault.Wrap)
	c := newCollector(t, cp.URL, func(s *testConfig) { s.Options.Now = func() time.Time { return now } })
	status := func() collector.ListingStatus {
		all := c.Status()
		if len(all) != 1 || all[0].Name != "acme" || all[0].ControlPlane != "acme.truefoundry.example" || len(all[0].Listings) != 1 {
			t.Fatalf("%+v", all)
		}
		return all[0].Listings[0]
	}
	want := collector.ListingStatus{Kind: client.PersonalAccessToken}
	if got := status(); got != want {
		t.Errorf("before a scrape: %+v", got)
	}
	scrape(t, c)
	want.LastSuccess, want.Tokens, want.Expired, want.NextExpiry = noon, 4, 1, noon.Add(time.Hour)
	if got := status(); got != want {
		t.Errorf("after a scrape: %+v", got)
	}
	fault.Set(faults.Status(http.StatusForbidden))
	now = noon.Add(time.Minute)
	scrape(t, c)
	got := status()
	if got.Failure == nil || got.Failure.Reason != client.ReasonForbidden {
		t.Errorf("%v", got.Failure)
	}
	want.Failing, want.LastFailure, want.Failure = true, now, got.Failure
	if got != want {
		t.Errorf("after a failure: %+v", got)
	}
	fault.Set(nil)
	now = noon.Add(2 * time.Minute)
	scrape(t, c)
	want.Failing, want.LastSuccess = false, now
	if got := status(); got != want {
		t.Errorf("after the recovery: %+v", got)
	}
}

func TestCollectorWithoutTargetsHasNoMetrics(t *testing.T) {
	s := newTestConfig(t, "http://unused")
	if got := scrape(t, s.collector(t)); got != "" {
		t.Errorf("got %s", got)
	}
}

// namedToken returns a token with a name.
func namedToken(id, name string, issued, expiry time.Time) fakecontrolplane.Token {
	token := controlplanetest.Token(0)
	token.ID, token.Name, token.JWTs[0].CreatedAt = id, name, issued
	if !expiry.IsZero() {
		token.JWTs[0].Expiry = &expiry
	} else {
		token.JWTs[0].Expiry = nil
	}
	return token
}

func TestAPIKeyExpiry(t *testing.T) {
	const opaque = "tfy_va_ci_opaque"
	in := func(days int) time.Time { return noon.AddDate(0, 0, days) }
	for _, tt := range []struct {
		name, key, token  string
		personal, virtual []any
		want              time.Time // zero if there is no metric
		logged            bool
	}{
		{name: "a JWT contains its expiry", key: controlplanetest.Key, want: time.Unix(1790000000, 0)},
		{
			name: "the expiry in a JWT takes precedence over the named token", key: controlplanetest.Key, token: "mine",
			personal: []any{namedToken("a", "mine", noon, in(1))}, want: time.Unix(1790000000, 0),
		},
		{name: "a JWT does not need the named token", key: controlplanetest.Key, token: "mine", want: time.Unix(1790000000, 0)},
		{
			name: "an opaque key has the expiry of the named token", key: opaque, token: "mine",
			personal: []any{namedToken("a", "other", noon, in(1)), namedToken("b", "mine", noon, in(2))}, want: in(2),
		},
		{
			name: "the named token is a virtual account", key: opaque, token: "mine",
			personal: []any{namedToken("a", "other", noon, in(1))}, virtual: []any{namedToken("b", "mine", noon, in(3))}, want: in(3),
		},
		{
			name: "the last issued of several named tokens counts", key: opaque, token: "mine",
			personal: []any{namedToken("a", "mine", in(-9), in(1)), namedToken("b", "mine", in(-5), in(2)), namedToken("c", "mine", in(-7), in(3))},
			want:     in(2),
		},
		{name: "the named token never expires", key: opaque, token: "mine", personal: []any{namedToken("a", "mine", noon, time.Time{})}},
		{name: "the named token is not listed", key: opaque, token: "mine", personal: []any{namedToken("a", "other", noon, in(1))}, logged: true},
		{name: "the expiry of an opaque key without a name is unknown", key: opaque, personal: []any{namedToken("a", "mine", noon, in(1))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			logged := new(metricstest.Log)
			url := controlplanetest.StartKinds(t, tt.key, tt.personal, tt.virtual).URL
			c := newCollector(t, url, func(s *testConfig) {
				s.Credentials, s.apiKeyToken, s.kinds = client.StaticKey(tt.key, "inline"), tt.token, bothKinds
				s.Logger = log.NewLogfmtLogger(logged)
			})
			got := scrape(t, c) + scrape(t, c)
			const metric = "\ntruefoundry_api_key_expiry_timestamp_seconds{"
			if tt.want.IsZero() {
				metricstest.Absent(t, got, metric)
			} else {
				metricstest.Present(t, got, metric+`control_plane="acme.truefoundry.example",target="acme"} `+strconv.FormatFloat(float64(tt.want.Unix()), 'g', -1, 64))
			}
			want := 0
			if tt.logged {
				want = 1
			}
			if text := logged.Take(); strings.Count(text, "api_key_token=mine") != want {
				t.Errorf("logged %q", text)
			}
		})
	}
}

func TestAPIKeyExpiryIsKeptWhileListingsFail(t *testing.T) {
	const expiry = `truefoundry_api_key_expiry_timestamp_seconds{control_plane="acme.truefoundry.example",target="acme"} `
	const jwtExpiry, tokenExpiry = expiry + "1.79e+09", expiry + "1.7e+09"
	fault, secret := faults.Switch(), "opaque"
	file := filepath.Join(t.TempDir(), "key")
	use := func(key string) {
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	use(secret)
	cp := controlplanetest.New(t, controlplanetest.Always(namedToken("a", "mine", noon, time.Unix(1700000000, 0))))
	cp.Key = secret
	cp.Serve(t, fault.Wrap)
	c := newCollector(t, cp.URL, func(s *testConfig) { s.Credentials, s.apiKeyToken = controlplanetest.KeyFile(file), "mine" })
	metricstest.Present(t, scrape(t, c), tokenExpiry)
	fault.Set(faults.Status(http.StatusForbidden))
	metricstest.Present(t, scrape(t, c), tokenExpiry)
	use(controlplanetest.Key)
	metricstest.Present(t, scrape(t, c), jwtExpiry)
	use(secret)
	metricstest.Present(t, scrape(t, c), tokenExpiry)
}
