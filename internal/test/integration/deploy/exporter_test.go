package deploy

import (
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// exporterListens is the last line that the exporter logs before it is asked for
// something.
var exporterListens = regexp.MustCompile(`msg="TLS is disabled." http2=false address=(\S+)`)

// tokens is how many tokens the control plane of a target lists.
const tokens = 3

// startControlPlane returns a control plane that accepts the key.
func startControlPlane(t *testing.T, key string, faults ...controlplanetest.Fault) *controlplanetest.ControlPlane {
	t.Helper()
	return controlplanetest.StartKinds(t, key, controlplanetest.Tokens(tokens), nil, faults...)
}

// target is an exporter that runs, and its only target.
type target struct {
	*process
	url, file string
	// counted is how many listings have failed, by reason.
	counted map[string]float64
}

// startTarget starts an exporter. The lines are those of its target in the file of
// targets, and the variables those of its environment.
func startTarget(t *testing.T, key string, lines []string, env ...string) *target {
	t.Helper()
	x := &target{file: filepath.Join(t.TempDir(), "targets.yml"), counted: map[string]float64{}}
	write(t, filepath.Join(filepath.Dir(x.file), "key"), key)
	x.writeTargets(t, lines)
	cmd := command(t, exporter, "--config.file="+x.file, "--web.enable-lifecycle", "--web.listen-address=127.0.0.1:0")
	cmd.Env = env
	x.process = start(t, exporterListens, cmd)
	x.url = "http://" + x.ready[1]
	for _, reason := range client.Reasons() {
		x.counted[string(reason)] = 0
	}
	return x
}

func (x *target) writeTargets(t *testing.T, lines []string) {
	t.Helper()
	write(t, x.file, "targets:\n- name: acme\n  authorization: {credentials_file: key}\n  "+strings.Join(lines, "\n  ")+"\n")
}

// reload gives the exporter other lines of its target.
func (x *target) reload(t *testing.T, lines ...string) {
	t.Helper()
	x.writeTargets(t, lines)
	x.ask(t, http.MethodPost, "/-/reload")
	for !strings.Contains(x.nextLine(t), "configuration reloaded") { // it tells of the targets first
	}
}

// ask asks the exporter for something, and returns the answer.
func (x *target) ask(t *testing.T, method, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, x.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", path, response.Status, body)
	}
	return string(body)
}

// failure is what is told of a listing that fails.
type failure struct {
	reason client.Reason
	// logged are parts of the line of the log.
	logged []string
	// page is what the landing page says.
	page string
}

// expectFailure scrapes twice. The listing fails each time, and the log says so once.
// The landing page tells nothing that a server sent.
func (x *target) expectFailure(t *testing.T, want failure) {
	t.Helper()
	for range 2 {
		x.counted[string(want.reason)]++
		x.expectScrape(t, 0)
		page := metricstest.PageText(x.ask(t, http.MethodGet, "/"))
		metricstest.Present(t, page, "✗ fails acme")
		metricstest.Present(t, page, want.page)
		for _, sent := range []string{"nginx", "squid", "Squid", "HTML>", ".example"} {
			metricstest.Absent(t, page, sent)
		}
	}
	// The line after this one is to be that of expectRecovery.
	line := x.nextLine(t)
	for _, part := range append(want.logged, "target=acme", `msg="listing failed"`, "reason="+string(want.reason)) {
		metricstest.Present(t, line, part)
	}
}

// expectRecovery scrapes twice. The listing works, and the log says so once.
func (x *target) expectRecovery(t *testing.T) {
	t.Helper()
	x.expectHealthy(t)
	line := x.nextLine(t)
	metricstest.Present(t, line, "target=acme")
	metricstest.Present(t, line, `msg="listing works again"`)
}

// expectHealthy scrapes twice. The listing works.
func (x *target) expectHealthy(t *testing.T) {
	t.Helper()
	for range 2 {
		x.expectScrape(t, 1)
		metricstest.Present(t, metricstest.PageText(x.ask(t, http.MethodGet, "/")), "✓ works acme")
	}
}

// expectScrape scrapes, and checks whether the target is up, and what failures have
// been counted.
func (x *target) expectScrape(t *testing.T, up float64) {
	t.Helper()
	scraped := metricstest.Parse(t, x.ask(t, http.MethodGet, "/metrics"))
	if got := scraped.Values("truefoundry_up", "target")["acme"]; got != up {
		t.Fatalf("truefoundry_up is %v, want %v; the failures so far are %v", got, up, scraped.Values("truefoundry_listing_errors_total", "reason"))
	}
	if got := scraped.Values("truefoundry_listing_errors_total", "reason"); !maps.Equal(got, x.counted) {
		t.Errorf("the failures are %v, want %v", got, x.counted)
	}
	if got := len(scraped.Values("truefoundry_token_info", "token_id")); float64(got) != up*tokens {
		t.Errorf("%d tokens are listed, want %v", got, up*tokens)
	}
}
