package server_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/server"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// clock starts 10 days after the tokens were issued. Tests advance it.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time {
	return controlplanetest.Issued.AddDate(0, 0, 10).Add(time.Duration(c.offset.Load()))
}

func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// withTargets configures a collector of the targets.
func withTargets(t *testing.T, now func() time.Time, targets ...collector.Target) func(*server.Config) {
	t.Helper()
	return func(cfg *server.Config) { cfg.Now, cfg.Collector = now, newCollector(t, now, targets...) }
}

// newTransport returns a transport whose connections are closed after the test.
func newTransport(t *testing.T) *http.Transport {
	t.Helper()
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// landingPageText returns the visible text of the landing page.
func landingPageText(t *testing.T, url string) string {
	t.Helper()
	status, body, _ := get(t, url)
	if status != http.StatusOK {
		t.Errorf("the status of the landing page is %d", status)
	}
	return metricstest.PageText(body)
}

func TestLandingPageShowsTheStateOfATarget(t *testing.T) {
	const day = 24 * time.Hour
	forbidden, unauthorized := faults.Status(http.StatusForbidden), faults.Status(http.StatusUnauthorized)
	// A step scrapes with the fault, if any, and then advances the clock.
	type step struct {
		fault   controlplanetest.Fault
		advance time.Duration
	}
	for _, tt := range []struct {
		name           string
		items          []any
		steps          []step
		want, unwanted []string
	}{
		{
			"before any scrape", controlplanetest.Tokens(3), nil,
			[]string{
				"Nothing has been scraped yet.", "A target is listed whenever /metrics is scraped",
				"… not scraped yet acme", "personal access tokens not yet –",
			},
			[]string{"works", "fails", "What to do", "No tokens are listed"},
		},
		{
			"after a success", controlplanetest.Tokens(3),
			[]step{{nil, 3 * time.Minute}},
			[]string{"The target works.", "✓ works acme", "3 personal access tokens 3 minutes ago in 79 days"},
			[]string{"fails", "ailed", "scraped yet", "is listed whenever", "What to do", "No tokens are listed"},
		},
		{
			"a single token", controlplanetest.Tokens(1),
			[]step{{nil, 0}},
			[]string{"1 personal access token now in 80 days"},
			nil,
		},
		{
			"after failures without a success", controlplanetest.Tokens(3),
			[]step{{forbidden, time.Hour}, {unauthorized, 90 * time.Second}},
			[]string{
				"The target fails.", "✗ fails acme", "personal access tokens never –",
				"Failed 90 seconds ago : 401 Unauthorized", "What to do: the API key",
			},
			[]string{"works", "403 ", " 3 personal", "not yet", "Works again"},
		},
		{
			"after a failure following a success", controlplanetest.Tokens(3),
			[]step{{nil, 2 * time.Hour}, {unauthorized, time.Second}},
			[]string{
				"The target fails.", "✗ fails acme", "3 personal access tokens when last listed 2 hours ago in 79 days",
				"Failed 1 second ago : 401 Unauthorized", "What to do: the API key",
			},
			[]string{"works"},
		},
		{
			"after a recovery", controlplanetest.Tokens(3),
			[]step{{unauthorized, 3 * time.Hour}, {nil, time.Minute}},
			[]string{
				"The target works.", "✓ works acme", "3 personal access tokens 60 seconds ago",
				"Works again. It failed 3 hours ago : 401 Unauthorized. If it fails again: the API key",
			},
			[]string{"The target fails", "What to do", "when last listed"},
		},
		{
			"a day after a recovery", controlplanetest.Tokens(3),
			[]step{{unauthorized, 25 * time.Hour}, {nil, 0}},
			[]string{"The target works."},
			[]string{"Works again"},
		},
		{
			"some tokens have expired",
			[]any{tokenUntil(controlplanetest.Issued.Add(day)), controlplanetest.Token(2)},
			[]step{{nil, 0}},
			[]string{"2 personal access tokens, 1 expired now in 80 days"},
			nil,
		},
		{
			"the next expiry has passed since the scrape", controlplanetest.Tokens(3),
			[]step{{nil, 80*day + 2*time.Hour}},
			[]string{"3 personal access tokens 80 days ago 2 hours ago"},
			nil,
		},
		{
			"no token expires",
			[]any{fakecontrolplane.Token{ID: "t0001"}},
			[]step{{nil, 0}},
			[]string{"1 personal access token now none ahead"},
			[]string{"No tokens are listed"},
		},
		{
			"an expiry that exceeds a time.Duration",
			[]any{tokenUntil(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC))},
			[]step{{nil, 0}},
			[]string{"1 personal access token now in 7973 years"},
			nil,
		},
		{
			"an empty list", nil,
			[]step{{nil, 0}},
			[]string{
				"✓ works acme", "0 personal access tokens now –",
				"No tokens are listed, most likely because the API lists only the tokens that the owner of the key has created.",
				"use the key of the person who owns the tokens, or list the kind virtual-account",
			},
			[]string{"none ahead", "tenant’s"},
		},
		{
			"an empty list after a failure", nil,
			[]step{{unauthorized, time.Hour}, {nil, 0}},
			[]string{"0 personal access tokens now", "No tokens are listed", "Works again. It failed 60 minutes ago"},
			nil,
		},
		{
			"a failure after an empty list", nil,
			[]step{{nil, time.Hour}, {unauthorized, 0}},
			[]string{"0 personal access tokens when last listed", "Failed now : 401"},
			[]string{"No tokens are listed"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fault, c := faults.Switch(), new(clock)
			cp := controlplanetest.Start(t, controlplanetest.Always(tt.items...), fault.Wrap)
			url := start(t, cp.URL, withTargets(t, c.now, newTarget(t, newTransport(t), "acme", cp.URL, client.PersonalAccessToken)))
			for _, s := range tt.steps {
				fault.Set(s.fault)
				get(t, url+"/metrics")
				c.advance(s.advance)
			}
			before := len(cp.Requests())
			page := landingPageText(t, url)
			for _, want := range append(tt.want, strings.TrimPrefix(cp.URL, "http://")) {
				if !strings.Contains(page, want) {
					t.Errorf("%q is missing in %s", want, page)
				}
			}
			for _, unwanted := range tt.unwanted {
				if strings.Contains(page, unwanted) {
					t.Errorf("unexpected %q in %s", unwanted, page)
				}
			}
			if requests := cp.Requests()[before:]; len(requests) != 0 {
				t.Errorf("the page sent the requests %q", requests)
			}
		})
	}
}

// tokenUntil returns a token with an expiry.
func tokenUntil(expiry time.Time) fakecontrolplane.Token {
	token := controlplanetest.Token(1)
	token.JWTs[0].Expiry = &expiry
	return token
}

func TestLandingPageShowsExactTimes(t *testing.T) {
	cp, c := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(1)...)), new(clock)
	// The local time zone does not matter.
	local := func() time.Time { return c.now().In(time.FixedZone("", 3600)) }
	url := start(t, cp.URL, withTargets(t, local, newTarget(t, newTransport(t), "acme", cp.URL, client.PersonalAccessToken)))
	get(t, url+"/metrics")
	c.advance(time.Hour)
	_, body, header := get(t, url)
	for _, want := range []string{
		`<time datetime="2026-01-11T00:00:00Z" title="2026-01-11 00:00:00 UTC">60 minutes ago</time>`,
		`<time datetime="2026-04-01T00:00:00Z" title="2026-04-01 00:00:00 UTC">in 79 days</time>`,
		"until 2026-01-11 01:00:00 UTC",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%q is missing in %s", want, body)
		}
	}
	if got := header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control: %q", got)
	}
	if got := header.Values("Content-Type"); !slices.Equal(got, []string{"text/html; charset=UTF-8"}) {
		t.Errorf("Content-Type: %q", got)
	}
}

func TestLandingPageShowsEachKind(t *testing.T) {
	fault, c := faults.Switch(), new(clock)
	cp := controlplanetest.StartKinds(t, controlplanetest.Key, controlplanetest.Tokens(3), nil, fault.Wrap)
	url := start(t, cp.URL, withTargets(t, c.now, newTarget(t, newTransport(t), "acme", cp.URL, client.Kinds()...)))
	get(t, url+"/metrics")
	page := landingPageText(t, url)
	for _, want := range []string{
		"The target works.", "3 personal access tokens now in 80 days 0 virtual accounts now –",
		"No tokens are listed, most likely because the owner of the key may not see any. The key of an admin sees all of the tenant’s.",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in %s", want, page)
		}
	}
	if strings.Count(page, "No tokens are listed") != 1 {
		t.Errorf("both kinds are shown as empty: %s", page)
	}

	fault.Set(faultOf(client.VirtualAccount, faults.Status(http.StatusForbidden)))
	get(t, url+"/metrics")
	page = landingPageText(t, url)
	for _, want := range []string{
		"The target fails.", "✗ fails acme", "3 personal access tokens now in 80 days 0 virtual accounts when last listed now – Failed now : 403",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in %s", want, page)
		}
	}
}

// faultOf applies a fault to the requests for a kind.
func faultOf(kind client.Kind, fault controlplanetest.Fault) controlplanetest.Fault {
	return func(next http.Handler) http.Handler {
		faulty := fault(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, string(kind)) {
				faulty.ServeHTTP(w, r)
			} else {
				next.ServeHTTP(w, r)
			}
		})
	}
}

func TestLandingPageSummarizesTargetsAndShowsUrgentOnesFirst(t *testing.T) {
	good := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(1)...))
	bad := controlplanetest.Start(t, controlplanetest.Always(), faults.Status(http.StatusForbidden))
	for _, tt := range []struct {
		name string
		// One letter for each target, g for good and b for bad. Targets after + are
		// added after the scrape.
		targets     string
		want, order string
	}{
		{"no target", "", "There are no targets.", ""},
		{"none is scraped", "+gg", "Nothing has been scraped yet.", "0 1"},
		{"all work", "gg", "All 2 targets work.", "0 1"},
		{"one fails", "ggb", "2 of 3 targets work. 1 fails.", "2 0 1"},
		{"all fail", "bb", "0 of 2 targets work. 2 fail.", "0 1"},
		{"one works", "bgb", "1 of 3 targets works. 2 fail.", "0 2 1"},
		{"one is added", "gg+g", "2 of 3 targets work. 1 is not scraped yet.", "2 0 1"},
		{"some are added", "gb+gg", "1 of 4 targets works. 1 fails. 2 are not scraped yet.", "1 2 3 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scraped, added, _ := strings.Cut(tt.targets, "+")
			var targets []collector.Target
			for i, letter := range scraped + added {
				url := map[rune]string{'g': good.URL, 'b': bad.URL}[letter]
				targets = append(targets, newTarget(t, newTransport(t), fmt.Sprintf("number-%d", i), url, client.PersonalAccessToken))
			}
			c := newCollector(t, time.Now, targets[:len(scraped)]...)
			url := start(t, good.URL, func(cfg *server.Config) { cfg.Collector = c })
			if scraped != "" {
				get(t, url+"/metrics")
			}
			c.Set(targets...)
			page := landingPageText(t, url)
			if !strings.Contains(page, " "+tt.want+" ") {
				t.Errorf("%q is missing in %s", tt.want, page)
			}
			var order []string
			for _, name := range regexp.MustCompile(`number-(\d)`).FindAllStringSubmatch(page, -1) {
				order = append(order, name[1])
			}
			if got := strings.Join(order, " "); got != tt.order {
				t.Errorf("the order is %q, want %q", got, tt.order)
			}
		})
	}
}

func TestLandingPageShowsAddedKindsAsNotScraped(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(2)...))
	sender := newTransport(t)
	c := newCollector(t, time.Now, newTarget(t, sender, "acme", cp.URL, client.PersonalAccessToken))
	url := start(t, cp.URL, func(cfg *server.Config) { cfg.Collector = c })
	get(t, url+"/metrics")
	c.Set(newTarget(t, sender, "acme", cp.URL, client.Kinds()...))
	page := landingPageText(t, url)
	for _, want := range []string{"… not scraped yet acme", "2 personal access tokens", "virtual accounts not yet –"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is missing in %s", want, page)
		}
	}
}

func TestLandingPageEscapesValues(t *testing.T) {
	const hostile = `<script>alert("1")</script><img src=x onerror='alert(2)'>{{.Name}}{{template "x"}}${3}-->`
	message, err := json.Marshal(map[string]any{"statusCode": 403, "message": hostile})
	if err != nil {
		t.Fatal(err)
	}
	cp := controlplanetest.Start(t, controlplanetest.Always(), func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			w.Write(message)
		})
	})
	url := start(t, cp.URL, withTargets(t, time.Now, newTarget(t, newTransport(t), hostile, cp.URL, client.PersonalAccessToken)),
		func(cfg *server.Config) { cfg.Notice, cfg.Description = hostile, hostile })
	get(t, url+"/metrics")
	_, body, _ := get(t, url)
	for _, raw := range []string{"<script", "<img", `"1"`, "'alert"} {
		if strings.Contains(body, raw) {
			t.Errorf("%q is not escaped in %s", raw, body)
		}
	}
	if page := landingPageText(t, url); strings.Count(page, hostile) != 3 {
		t.Errorf("want the notice, the description and the name, but not the message of the server: %s", page)
	}
}

func TestLandingPageShowsNoTokensAndNoSecrets(t *testing.T) {
	fault := faults.Switch()
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(3)...), fault.Wrap)
	url := start(t, cp.URL, withTargets(t, time.Now, newTarget(t, newTransport(t), "acme", cp.URL, client.PersonalAccessToken)))
	check := func(want string) {
		t.Helper()
		get(t, url+"/metrics")
		_, body, _ := get(t, url)
		for _, secret := range []string{controlplanetest.Key, "t0001", "ci@acme.example", "platform", "what is"} {
			if strings.Contains(body, secret) {
				t.Errorf("%q is on the page: %s", secret, body)
			}
		}
		if !strings.Contains(body, want) {
			t.Errorf("%q is missing in %s", want, body)
		}
	}
	check("3 personal access tokens")
	// The server sends the key back.
	fault.Set(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"message":"what is %s?"}`, r.Header.Get("Authorization"))
		})
	})
	check("401 Unauthorized")
}

func TestLandingPageShowsWhyTheKeyIsUnusable(t *testing.T) {
	target := newTarget(t, newTransport(t), "acme", "http://unused", client.PersonalAccessToken)
	target.Client.Credentials = controlplanetest.KeyFile("/nowhere/key")
	url := start(t, "http://unused", withTargets(t, time.Now, target))
	get(t, url+"/metrics")
	want := "no usable API key in file /nowhere/key: no such file or directory What to do: put only the key there"
	if page := landingPageText(t, url); !strings.Contains(page, want) {
		t.Errorf("%q is missing in %s", want, page)
	}
}

func TestLandingPageLinksToTheDocumentationOfFailures(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(), faults.Status(http.StatusForbidden))
	url := start(t, cp.URL, withTargets(t, time.Now, newTarget(t, newTransport(t), "acme", cp.URL, client.PersonalAccessToken)))
	get(t, url+"/metrics")
	_, body, _ := get(t, url)
	if want := `href="` + collector.HelpURL(client.ReasonForbidden) + `"`; !strings.Contains(body, want) {
		t.Errorf("%q is missing in %s", want, body)
	}
}

func TestLandingPageShowsHowToReloadAndFailures(t *testing.T) {
	reload := func() error { return nil }
	succeeded := func() (time.Time, error) { return time.Now(), nil }
	failedReload := func() (time.Time, error) { return time.Now().Add(-2 * time.Minute), errors.New("<line 3> is wrong") }
	const how, failed = "To reload the configuration file, send SIGHUP", "The configuration was not reloaded 2 minutes ago : <line 3> is wrong."
	for _, tt := range []struct {
		name     string
		failure  func() (time.Time, error)
		post     bool
		want     []string
		unwanted []string
	}{
		{"no configuration file", nil, true, nil, []string{how, failed}},
		{"by signal", succeeded, false, []string{how + "."}, []string{failed}},
		{"by signal and POST", succeeded, true, []string{how + ", or a POST request to /-/reload."}, []string{failed}},
		{"a failure", failedReload, false, []string{how, failed, "These are the previous targets."}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := start(t, "http://unused", func(cfg *server.Config) {
				cfg.EnableLifecycle = tt.post
				if tt.failure != nil {
					cfg.Reload, cfg.ReloadFailure = reload, tt.failure
				}
			})
			page := landingPageText(t, url)
			for _, want := range tt.want {
				if !strings.Contains(page, want) {
					t.Errorf("no %q in %s", want, page)
				}
			}
			for _, unwanted := range tt.unwanted {
				if strings.Contains(page, unwanted) {
					t.Errorf("unexpected %q in %s", unwanted, page)
				}
			}
			if _, body, _ := get(t, url); strings.Contains(body, `/-/reload"`) || strings.Contains(body, "<line") {
				t.Errorf("/-/reload is a link, or the error is not escaped: %s", body)
			}
		})
	}
}

var href = regexp.MustCompile(`href="([^"]*)"`)

func TestLinksOfTheLandingPageWorkBelowAnyPath(t *testing.T) {
	for _, prefix := range []string{"/", "/truefoundry/", "/monitoring/truefoundry/"} {
		for _, metrics := range []string{"/metrics", "/m&m", "/truefoundry/metrics", "/metrics/"} {
			t.Run(strings.TrimSuffix(prefix, "/")+metrics, func(t *testing.T) {
				cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(1)...))
				handler, err := newHandler(t, cp.URL, func(cfg *server.Config) { cfg.TelemetryPath = metrics })
				if err != nil {
					t.Fatal(err)
				}
				proxy := httptest.NewServer(http.StripPrefix(strings.TrimSuffix(prefix, "/"), handler))
				t.Cleanup(proxy.Close)
				base, err := neturl.Parse(proxy.URL + prefix)
				if err != nil {
					t.Fatal(err)
				}
				_, page, _ := get(t, base.String())
				var got []string
				for _, link := range href.FindAllStringSubmatch(page, -1) {
					to, err := base.Parse(html.UnescapeString(link[1]))
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, to.Path)
					if status, body, _ := get(t, to.String()); status != http.StatusOK {
						t.Errorf("%s links to %s: %d %s", link[1], to.Path, status, body)
					}
				}
				at := strings.TrimSuffix(prefix, "/")
				if want := []string{at + metrics, at + "/-/healthy", at + "/-/ready", at + metrics}; !slices.Equal(got, want) {
					t.Errorf("the links are %q, want %q", got, want)
				}
			})
		}
	}
}

var (
	darkStyle = regexp.MustCompile(`@media \(prefers-color-scheme: dark\) \{\s*:root \{([^}]*)\}\s*\}`)
	color     = regexp.MustCompile(`--([\w-]+): (#[0-9a-f]+);`)
)

func TestLandingPageIsReadableInLightAndDarkMode(t *testing.T) {
	_, page, _ := get(t, start(t, "http://unused"))
	dark := darkStyle.FindStringSubmatch(page)
	if dark == nil || !strings.Contains(page, "color-scheme: light dark;") {
		t.Fatalf("the page has no dark style:\n%s", page)
	}
	colors := func(css string) map[string]string {
		named := map[string]string{}
		for _, found := range color.FindAllStringSubmatch(css, -1) {
			named[found[1]] = found[2]
		}
		return named
	}
	inLight, inDark := colors(strings.Replace(page, dark[0], "", 1)), colors(dark[1])
	if names := slices.Sorted(maps.Keys(inLight)); !slices.Equal(names, slices.Sorted(maps.Keys(inDark))) || len(names) == 0 {
		t.Errorf("the colors are %v in light, and %v in dark", inLight, inDark)
	}
	for _, name := range []string{"muted", "works", "fails"} {
		// These are the background colors of browsers.
		for canvas, text := range map[string]string{"#ffffff": inLight[name], "#121212": inDark[name]} {
			if got := contrast(t, text, canvas); got < 4.5 { // WCAG 2, level AA
				t.Errorf("%s is %s on %s, a contrast of %.1f", name, text, canvas, got)
			}
		}
	}
}

// contrast returns the contrast ratio of WCAG 2, from 1 to 21.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	light, dark := luminance(t, a), luminance(t, b)
	if light < dark {
		light, dark = dark, light
	}
	return (light + 0.05) / (dark + 0.05)
}

// luminance returns the relative luminance of WCAG 2.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	var r, g, b int
	format, highest := "#%02x%02x%02x", 255.0
	if len(hex) == len("#rgb") {
		format, highest = "#%1x%1x%1x", 15
	}
	if _, err := fmt.Sscanf(hex, format, &r, &g, &b); err != nil {
		t.Fatalf("%s is not a color: %v", hex, err)
	}
	linear := func(channel int) float64 {
		c := float64(channel) / highest
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(r) + 0.7152*linear(g) + 0.0722*linear(b)
}

// The race detector checks what pages and scrapes share.
func TestLandingPageMayBeServedDuringScrapes(t *testing.T) {
	var turn atomic.Int64
	flaky := func(next http.Handler) http.Handler {
		faulty := faults.Status(http.StatusForbidden)(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if turn.Add(1)%2 == 0 {
				faulty.ServeHTTP(w, r)
			} else {
				next.ServeHTTP(w, r)
			}
		})
	}
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(3)...), flaky)
	handler, err := newHandler(t, cp.URL)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	defer all.Wait()
	for range 4 {
		for _, path := range []string{"/", "/metrics"} {
			all.Go(func() {
				for range 25 {
					response := httptest.NewRecorder()
					handler.ServeHTTP(response, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
					if body := response.Body.String(); response.Code != http.StatusOK || path == "/" && !strings.Contains(body, "</html>") {
						t.Errorf("%s: %d %s", path, response.Code, body)
					}
				}
			})
		}
	}
}

func TestLandingPageExplainsEmptyLists(t *testing.T) {
	for _, kind := range client.Kinds() {
		cp := controlplanetest.StartKinds(t, controlplanetest.Key, nil, nil)
		url := start(t, cp.URL, withTargets(t, time.Now, newTarget(t, newTransport(t), "acme", cp.URL, kind)))
		get(t, url+"/metrics")
		page := landingPageText(t, url)
		_, why, found := strings.Cut(page, "most likely because ")
		if !found || !regexp.MustCompile(`^\S+ \S+ \S+ \S+ .*This page`).MatchString(why) || strings.HasPrefix(why, "This page") {
			t.Errorf("the page does not explain why there may be no %s: %s", kind, page)
		}
		if want := "0 " + strings.ReplaceAll(string(kind), "-", " ") + "s"; !strings.Contains(page, want) {
			t.Errorf("%q is missing in %s", want, page)
		}
	}
}
