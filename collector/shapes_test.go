package collector_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// shapesTime is the time at which the lists of testdata/shapes are read. Some of their
// tokens have expired by then, and some are in their grace period.
func shapesTime() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }

// scrapeResponse returns the exposition of a control plane that sends body as its first
// page.
func scrapeResponse(t *testing.T, kind client.Kind, status int, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("offset") != "0" {
			fmt.Fprint(w, `{"data":[]}`)
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	return scrape(t, newCollector(t, server.URL, func(s *testConfig) {
		s.kinds, s.Options.Now, s.Config.Now = []client.Kind{kind}, shapesTime, shapesTime
	}))
}

// tokenSample matches the samples of tokens, and of values that could not be read.
var tokenSample = regexp.MustCompile(`^truefoundry_(token_\w+|listing_(reported_)?tokens|listing_invalid_items)\{|^truefoundry_listing_invalid_fields\{.* [1-9]`)

// Each list in testdata/shapes is known or believed to be a response of the API or of an
// older version.
func TestKnownResponses(t *testing.T) {
	files, err := filepath.Glob("testdata/shapes/*.json")
	if err != nil {
		t.Fatal(err)
	}
	isError := func(file string) bool { return strings.HasPrefix(filepath.Base(file), "error-") }
	files = slices.DeleteFunc(files, isError)
	if len(files) == 0 {
		t.Fatal("there are no lists")
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			kind := client.PersonalAccessToken
			if strings.HasPrefix(name, "va-") {
				kind = client.VirtualAccount
			}
			var text strings.Builder
			for line := range strings.Lines(scrapeResponse(t, kind, http.StatusOK, string(body))) {
				if tokenSample.MatchString(line) {
					text.WriteString(line)
				}
			}
			compareGolden(t, "shapes/"+name+".prom", text.String())
		})
	}
}

func TestKnownErrorResponses(t *testing.T) {
	want := map[string]struct {
		status int
		reason client.Reason
	}{
		"error-200-spa.html":          {http.StatusOK, client.ReasonBadResponse},
		"error-401-code-details.json": {http.StatusUnauthorized, client.ReasonUnauthorized},
		"error-401-http-error.json":   {http.StatusUnauthorized, client.ReasonUnauthorized},
		"error-403-http-error.json":   {http.StatusForbidden, client.ReasonForbidden},
		"error-403-numeric-code.json": {http.StatusForbidden, client.ReasonForbidden},
		"error-422-validation.json":   {http.StatusUnprocessableEntity, client.ReasonClientError},
	}
	files, err := filepath.Glob("testdata/shapes/error-*")
	if err != nil || len(files) != len(want) {
		t.Fatalf("%v; there are %q", err, files)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			body, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want, known := want[filepath.Base(file)]
			if !known {
				t.Fatal("there is no expected reason for this file")
			}
			text := scrapeResponse(t, client.VirtualAccount, want.status, string(body))
			for _, reason := range client.Reasons() {
				failures := 0
				if reason == want.reason {
					failures = 1
				}
				metricstest.Present(t, text, fmt.Sprintf(`truefoundry_listing_errors_total{control_plane="acme.truefoundry.example",kind="virtual-account",reason=%q,target="acme"} %d`+"\n", reason, failures))
			}
			if strings.Contains(text, "\ntruefoundry_token_") {
				t.Errorf("there are tokens in\n%s", text)
			}
		})
	}
}
