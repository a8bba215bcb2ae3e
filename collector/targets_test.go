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

// targetOf is a target of this name that lists both kinds.
func targetOf(t *testing.T, name, url string) collector.Target {
	t.Helper()
	s := newSet(t, url, func(s *set) { s.name, s.kinds = name, bothKinds })
	return s.target()
}

// Two targets, one of which sees a token that the other sees too, and a third
// that fails.
func TestSeveralTargetsAndKinds(t *testing.T) {
	url := controlplanetest.StartKinds(t, controlplanetest.Key, controlplanetest.Tokens(3), controlplanetest.Tokens(2)).URL
	refusing := controlplanetest.StartKinds(t, controlplanetest.Key, nil, nil, faults.Status(http.StatusForbidden)).URL
	halfRefusing := controlplanetest.StartKinds(t, controlplanetest.Key, controlplanetest.Tokens(1), nil, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, fakecontrolplane.VirtualAccounts) {
				faults.Status(http.StatusForbidden)(nil).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	s := newSet(t, url)
	served := scrape(t, s.collector(t, targetOf(t, "b", url), targetOf(t, "a", url), targetOf(t, "c", refusing), targetOf(t, "d", halfRefusing.URL)))
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
		metricstest.Present(t, served, want)
	}
	if n := strings.Count(served, "\ntruefoundry_token_info{"); n != 2*(3+2)+1 {
		t.Errorf("%d tokens", n)
	}
}

// What is counted belongs to a target's name and control plane, and ends with
// them.
func TestTargetsAreReplaced(t *testing.T) {
	working := controlplanetest.StartKinds(t, controlplanetest.Key, controlplanetest.Tokens(1), nil).URL
	refusing := controlplanetest.StartKinds(t, controlplanetest.Key, nil, nil, faults.Status(http.StatusForbidden)).URL
	a, b := targetOf(t, "a", refusing), targetOf(t, "b", working)
	s := newSet(t, working)
	c := s.collector(t, a, b)
	const errorsOf = `truefoundry_listing_errors_total{control_plane="acme.truefoundry.example",kind="personal-access-token",reason="forbidden",target="a"} `
	metricstest.Present(t, scrape(t, c), errorsOf+"1")

	moved := targetOf(t, "a", working)
	moved.Kinds = moved.Kinds[:1]
	replace(t, c, moved)
	got := scrape(t, c)
	metricstest.Present(t, got, `truefoundry_up{control_plane="acme.truefoundry.example",target="a"} 1`)
	metricstest.Present(t, got, errorsOf+"1")
	metricstest.Present(t, got, `truefoundry_exporter_api_requests_total{code="403",control_plane="acme.truefoundry.example",target="a"} 2`)
	metricstest.Absent(t, got, `target="b"`)
	metricstest.Absent(t, got, `kind="virtual-account"`)

	replace(t, c, a, b)
	got = scrape(t, c)
	metricstest.Present(t, got, errorsOf+"2")
	metricstest.Present(t, got, `truefoundry_listing_errors_total{control_plane="acme.truefoundry.example",kind="virtual-account",reason="forbidden",target="a"} 1`)
	metricstest.Present(t, got, `truefoundry_exporter_api_requests_total{code="200",control_plane="acme.truefoundry.example",target="b"} 2`)
	if last := `truefoundry_listing_last_success_timestamp_seconds{control_plane="acme.truefoundry.example",kind="personal-access-token",target="a"} `; !strings.Contains(got, last) {
		t.Error("a target has forgotten when it last succeeded")
	}

	elsewhere := targetOf(t, "a", working)
	var err error
	if elsewhere.Client.URL, err = client.ParseURL("http://globex.truefoundry.example"); err != nil {
		t.Fatal(err)
	}
	replace(t, c, elsewhere)
	got = scrape(t, c)
	metricstest.Present(t, got, `truefoundry_listings_total{control_plane="globex.truefoundry.example",kind="personal-access-token",target="a"} 1`)
	metricstest.Absent(t, got, `reason="forbidden",target="a"} 2`)
	metricstest.Absent(t, got, `control_plane="acme.truefoundry.example",`)
}

// A scrape goes on with the targets that it began with, and harms nobody who
// came after them.
func TestScrapeUnderWayKeepsItsTargets(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	hold := faults.First(1, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-finish
			faults.Status(http.StatusForbidden)(nil).ServeHTTP(w, r)
		})
	})
	slow := controlplanetest.Start(t, controlplanetest.Always(), hold)
	s := newSet(t, slow.URL, func(s *set) { s.name = "old" })
	c := s.collector(t, s.target())
	scraped := make(chan string)
	go func() { scraped <- scrape(t, c) }()
	<-begun
	replace(t, c, targetOf(t, "new", controlplanetest.StartKinds(t, controlplanetest.Key, nil, nil).URL))
	now := scrape(t, c)
	metricstest.Present(t, now, `truefoundry_up{control_plane="acme.truefoundry.example",target="new"} 1`)
	metricstest.Absent(t, now, `"old"`)
	close(finish)
	before := <-scraped
	metricstest.Present(t, before, `truefoundry_listing_errors_total{control_plane="acme.truefoundry.example",kind="personal-access-token",reason="forbidden",target="old"} 1`)
	metricstest.Absent(t, before, `"new"`)
	metricstest.Absent(t, scrape(t, c), `"old"`)
}

// What comes of a configuration that was replaced does not show as the state of
// the one that is there.
func TestLateFailureOfAReplacedConfigurationIsOnlyCounted(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	slow := controlplanetest.Start(t, controlplanetest.Always(), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-finish
			faults.Status(http.StatusForbidden)(nil).ServeHTTP(w, r)
		})
	})
	logged := new(metricstest.Log)
	s := newSet(t, slow.URL, func(s *set) { s.Logger = log.NewLogfmtLogger(logged) })
	c := s.collector(t, s.target())
	scraped := make(chan string)
	go func() { scraped <- scrape(t, c) }()
	<-begun
	good := newSet(t, controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(2)...)).URL)
	replace(t, c, good.target())
	metricstest.Present(t, scrape(t, c), `truefoundry_up{control_plane="acme.truefoundry.example",target="acme"} 1`)
	close(finish)
	metricstest.Present(t, <-scraped, `truefoundry_up{control_plane="acme.truefoundry.example",target="acme"} 0`)
	status := c.Status()[0].Listings[0]
	if status.Failing || status.Failure != nil || status.Tokens != 2 || logged.Take() != "" {
		t.Errorf("%+v", status)
	}
	metricstest.Present(t, scrape(t, c), `truefoundry_listing_errors_total{control_plane="acme.truefoundry.example",kind="personal-access-token",reason="forbidden",target="acme"} 1`)
}

// A ban and the end of a key belong to a control plane and a key; counters to
// the name.
func TestWhatIsKnownOfAnotherControlPlaneOrKeyIsForgotten(t *testing.T) {
	banning := controlplanetest.Start(t, controlplanetest.Always(), faults.Status(http.StatusTooManyRequests, "Retry-After", "3600"))
	working := controlplanetest.Start(t, controlplanetest.Always())
	banned := newSet(t, banning.URL)
	c := banned.collector(t, banned.target())
	metricstest.Present(t, scrape(t, c), `reason="rate_limited",target="acme"} 1`)

	replace(t, c, banned.target())
	got := scrape(t, c)
	metricstest.Present(t, got, `reason="rate_limited",target="acme"} 2`)
	metricstest.Present(t, got, `truefoundry_api_key_expiry_timestamp_seconds{control_plane="acme.truefoundry.example",target="acme"} 1.79e+09`)
	if n := len(banning.Requests()); n != 1 {
		t.Errorf("%d requests, want one before the ban", n)
	}

	other := newSet(t, working.URL, func(s *set) { s.Credentials = client.StaticKey("", "inline") })
	moved := other.target()
	moved.Identity = "another"
	replace(t, c, moved)
	got = scrape(t, c)
	metricstest.Present(t, got, `reason="credentials",target="acme"} 1`)
	metricstest.Absent(t, got, "truefoundry_api_key_expiry_timestamp_seconds{")
}

func TestStatus(t *testing.T) {
	fault, now := faults.Switch(), noon
	tokens := []any{named("a", "a", noon, noon.Add(-time.Hour)), named("b", "b", noon, noon.Add(2*time.Hour)), named("c", "c", noon, noon.Add(time.Hour)), named("d", "d", noon, time.Time{})}
	cp := controlplanetest.Start(t, controlplanetest.Always(tokens...), fault.Wrap)
	c := newCollector(t, cp.URL, func(s *set) { s.Options.Now = func() time.Time { return now } })
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
		t.Errorf("after that: %+v", got)
	}
}

func TestWithoutTargetsThereAreNoMetrics(t *testing.T) {
	s := newSet(t, "http://nobody")
	if got := scrape(t, s.collector(t)); got != "" {
		t.Errorf("got %s", got)
	}
}

// named is a token of this name.
func named(id, name string, issued, expiry time.Time) fakecontrolplane.Token {
	token := controlplanetest.Token(0)
	token.ID, token.Name, token.JWTs[0].CreatedAt = id, name, issued
	if !expiry.IsZero() {
		token.JWTs[0].Expiry = &expiry
	} else {
		token.JWTs[0].Expiry = nil
	}
	return token
}

func TestWhenTheAPIKeyEnds(t *testing.T) {
	const opaque = "tfy_va_ci_opaque"
	in := func(days int) time.Time { return noon.AddDate(0, 0, days) }
	for _, tt := range []struct {
		name, key, token  string
		personal, virtual []any
		want              time.Time // zero is no metric
		logged            bool
	}{
		{name: "a JWT says so itself", key: controlplanetest.Key, want: time.Unix(1790000000, 0)},
		{
			name: "a JWT is believed before the token of the name", key: controlplanetest.Key, token: "mine",
			personal: []any{named("a", "mine", noon, in(1))}, want: time.Unix(1790000000, 0),
		},
		{name: "a JWT needs no token of the name", key: controlplanetest.Key, token: "mine", want: time.Unix(1790000000, 0)},
		{
			name: "an opaque key ends with the token of the name", key: opaque, token: "mine",
			personal: []any{named("a", "other", noon, in(1)), named("b", "mine", noon, in(2))}, want: in(2),
		},
		{
			name: "which may be a virtual account", key: opaque, token: "mine",
			personal: []any{named("a", "other", noon, in(1))}, virtual: []any{named("b", "mine", noon, in(3))}, want: in(3),
		},
		{
			name: "or have namesakes that were issued before", key: opaque, token: "mine",
			personal: []any{named("a", "mine", in(-9), in(1)), named("b", "mine", in(-5), in(2)), named("c", "mine", in(-7), in(3))},
			want:     in(2),
		},
		{name: "or never end", key: opaque, token: "mine", personal: []any{named("a", "mine", noon, time.Time{})}},
		{name: "or not be listed, which is logged", key: opaque, token: "mine", personal: []any{named("a", "other", noon, in(1))}, logged: true},
		{name: "an opaque key whose token is not named tells nothing", key: opaque, personal: []any{named("a", "mine", noon, in(1))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			logged := new(metricstest.Log)
			url := controlplanetest.StartKinds(t, tt.key, tt.personal, tt.virtual).URL
			c := newCollector(t, url, func(s *set) {
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

// What is known of the key's end outlives failed listings.
func TestWhenTheAPIKeyEndsIsKeptWhileTheListingFails(t *testing.T) {
	const ends = `truefoundry_api_key_expiry_timestamp_seconds{control_plane="acme.truefoundry.example",target="acme"} `
	const jwtEnds, tokenEnds = ends + "1.79e+09", ends + "1.7e+09"
	fault, secret := faults.Switch(), "opaque"
	file := filepath.Join(t.TempDir(), "key")
	use := func(key string) {
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	use(secret)
	cp := controlplanetest.New(t, controlplanetest.Always(named("a", "mine", noon, time.Unix(1700000000, 0))))
	cp.Key = secret
	cp.Serve(t, fault.Wrap)
	c := newCollector(t, cp.URL, func(s *set) { s.Credentials, s.apiKeyToken = controlplanetest.KeyFile(file), "mine" })
	metricstest.Present(t, scrape(t, c), tokenEnds)
	fault.Set(faults.Status(http.StatusForbidden))
	metricstest.Present(t, scrape(t, c), tokenEnds)
	use(controlplanetest.Key)
	metricstest.Present(t, scrape(t, c), jwtEnds)
	use(secret)
	metricstest.Present(t, scrape(t, c), tokenEnds)
}
