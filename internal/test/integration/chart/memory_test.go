package chart

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
)

// The default memory limit is enough for the number of tokens in the README, even with two
// concurrent scrapes, like from two replicas of Prometheus.
func TestMemoryLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("lists many tokens")
	}
	match := regexp.MustCompile(`limit of 256 MiB is enough for ([0-9,]+) tokens`).FindStringSubmatch(read(t, chartDir, "README.md"))
	if match == nil {
		t.Fatal("the README has no number of tokens for the limit")
	}
	n, err := strconv.Atoi(strings.ReplaceAll(match[1], ",", ""))
	if err != nil {
		t.Fatal(err)
	}
	limits := exporterContainer(t).Resources.Limits
	limit := limits.Memory().Value()
	if limit != 256<<20 {
		t.Fatalf("the limit is %d bytes", limit)
	}
	const key = "tfy_made-up"
	items := tokens(t, n)
	server := httptest.NewServer(&fakecontrolplane.Server{Key: key, Items: func(string) []any { return items }})
	t.Cleanup(server.Close)
	keyFile := write(t, key, t.TempDir(), "key")
	url, pid := start(t, []string{"GOMEMLIMIT=" + strconv.FormatInt(limit, 10)}, "--truefoundry.url="+server.URL, "--truefoundry.api-key-file="+keyFile)

	var scrapers sync.WaitGroup
	for range 2 {
		scrapers.Go(func() {
			for range 3 {
				if got := scrapeTokens(t, url); got != n {
					t.Errorf("got %d tokens, want %d", got, n)
				}
			}
		})
	}
	scrapers.Wait()
	peak := peakMemory(t, pid)
	t.Logf("%d tokens: at most %d MiB", n, peak>>20)
	if peak > limit {
		t.Errorf("the peak is %d MiB, and the limit is %d MiB", peak>>20, limit>>20)
	}
}

// tokens returns n tokens that have all exported fields.
func tokens(t *testing.T, n int) []any {
	t.Helper()
	created := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	expiry, accessed := created.AddDate(2, 0, 0), created.AddDate(0, 1, 0)
	expired := false
	items := make([]any, n)
	for i := range items {
		name := fmt.Sprintf("pipeline-%06d-of-a-team", i)
		jwt := func(id string, created time.Time) fakecontrolplane.JWT {
			return fakecontrolplane.JWT{ID: fmt.Sprintf("%s-%032d", id, i), Expiry: &expiry, CreatedAt: created, UpdatedAt: created, SubjectType: "virtualaccount", SubjectID: name, TokenType: "jwt"}
		}
		token, err := json.Marshal(fakecontrolplane.Token{
			ID: fmt.Sprintf("%032d", i), Name: name, Type: "virtual-account", TenantName: "acme",
			CreatedBySubject: fakecontrolplane.Subject{ID: fmt.Sprintf("user-%024d", i%100), Type: "user", Slug: fmt.Sprintf("developer-%03d@acme.example", i%100)},
			CreatedAt:        created, UpdatedAt: created, LastAccessedAt: &accessed, IsExpired: &expired, NextScheduledRotation: &expiry,
			JWTID: fmt.Sprintf("new-%032d", i), JWTs: []fakecontrolplane.JWT{jwt("new", accessed), jwt("old", created)},
			Manifest: &fakecontrolplane.Manifest{Name: name, Type: "virtual-account", AutoRotate: &fakecontrolplane.AutoRotate{Interval: 360, GracePeriod: 30}, OwnedBy: &fakecontrolplane.OwnedBy{Team: fmt.Sprintf("team-%02d", i%20)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		items[i] = json.RawMessage(token)
	}
	return items
}

// scrapeTokens scrapes like Prometheus and returns the number of tokens.
func scrapeTokens(t *testing.T, url string) (n int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/metrics", http.NoBody)
	if err != nil {
		t.Error(err)
		return 0
	}
	response, err := http.DefaultClient.Do(request) // accepts gzip
	if err != nil {
		t.Error(err)
		return 0
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return strings.Count(string(text), "\ntruefoundry_token_info{")
}

// peakMemory returns the largest resident set size of a process, in bytes.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindStringSubmatch(read(t, filepath.Join("/proc", strconv.Itoa(pid), "status")))
	if match == nil {
		t.Fatal("the status of the process has no VmHWM")
	}
	kilobytes, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}
