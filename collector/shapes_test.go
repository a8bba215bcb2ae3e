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

// shapesTime is when the lists of testdata/shapes are read: tokens of them have
// expired, are in their grace period, and have life left.
func shapesTime() time.Time { return time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC) }

// listing returns what is exposed of a control plane that answers with the body,
// and with an empty page beyond the first.
func listing(t *testing.T, kind client.Kind, status int, body string) string {
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
	return scrape(t, newCollector(t, server.URL, func(s *set) {
		s.kinds, s.Options.Now, s.Config.Now = []client.Kind{kind}, shapesTime, shapesTime
	}))
}

// told is what a scrape tells of tokens, and of what could not be read of them.
var told = regexp.MustCompile(`^truefoundry_(token_\w+|listing_(reported_)?tokens|listing_invalid_items)\{|^truefoundry_listing_invalid_fields\{.* [1-9]`)

// Each list in testdata/shapes has a form that the API, or an older version of
// it, is known or believed to have.
func TestShapesOfLists(t *testing.T) {
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
			for line := range strings.Lines(listing(t, kind, http.StatusOK, string(body))) {
				if told.MatchString(line) {
					text.WriteString(line)
				}
			}
			golden(t, "shapes/"+name+".prom", text.String())
		})
	}
}

func TestShapesOfErrors(t *testing.T) {
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
				t.Fatal("nobody says what becomes of it")
			}
			text := listing(t, client.VirtualAccount, want.status, string(body))
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
