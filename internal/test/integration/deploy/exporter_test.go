package deploy

import (
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

// exporterListens matches the last line that the exporter logs before the first request.
var exporterListens = regexp.MustCompile(`msg="TLS is disabled." http2=false address=(\S+)`)

// tokens is the number of tokens of a control plane.
const tokens = 3

// startControlPlane starts a control plane that accepts the key.
func startControlPlane(t *testing.T, key string, faults ...controlplanetest.Fault) *controlplanetest.ControlPlane {
	t.Helper()
	return controlplanetest.StartKinds(t, key, controlplanetest.Tokens(tokens), nil, faults...)
}

// exporterProcess is a running exporter with one target.
type exporterProcess struct {
	*process
	url, file string
	// failures are the numbers of failed listings by reason.
	failures map[string]float64
}

// startExporter starts an exporter. The lines are the fields of its target in the
// configuration file, and env is its environment.
func startExporter(t *testing.T, key string, lines []string, env ...string) *exporterProcess {
	t.Helper()
	x := &exporterProcess{file: filepath.Join(t.TempDir(), "targets.yml"), failures: map[string]float64{}}
	write(t, filepath.Join(filepath.Dir(x.file), "key"), key)
	x.writeTargets(t, lines)
	cmd := command(t, exporter, "--config.file="+x.file, "--web.enable-lifecycle", "--web.listen-address=127.0.0.1:0")
	cmd.Env = env
	x.process = start(t, exporterListens, cmd)
	x.url = "http://" + x.ready[1]
	for _, reason := range client.Reasons() {
		x.failures[string(reason)] = 0
	}
	return x
}

func (x *exporterProcess) writeTargets(t *testing.T, lines []string) {
	t.Helper()
	write(t, x.file, "targets:\n- name: acme\n  authorization: {credentials_file: key}\n  "+strings.Join(lines, "\n  ")+"\n")
}

// reload reloads the configuration with other fields of the target.
func (x *exporterProcess) reload(t *testing.T, lines ...string) {
	t.Helper()
	x.writeTargets(t, lines)
	x.request(t, http.MethodPost, "/-/reload")
	for !strings.Contains(x.nextLine(t), "configuration reloaded") { // new targets are logged before
	}
}

// request sends a request to the exporter and returns the body of the response.
func (x *exporterProcess) request(t *testing.T, method, path string) string {
	t.Helper()
	r := send(t, http.DefaultClient, method, x.url+path, nil)
	if r.status != http.StatusOK {
		t.Fatalf("%s: %d %s", path, r.status, r.body)
	}
	return r.body
}

// failure describes a failed listing.
type failure struct {
	reason client.Reason
	// logged are parts of the log message.
	logged []string
	// page is a part of the landing page.
	page string
}

// expectFailure scrapes twice and expects that the listing fails, which is logged once. The
// landing page must not contain anything that a server sent.
func (x *exporterProcess) expectFailure(t *testing.T, want failure) {
	t.Helper()
	for range 2 {
		x.failures[string(want.reason)]++
		x.expectScrape(t, 0)
		page := metricstest.PageText(x.request(t, http.MethodGet, "/"))
		metricstest.Present(t, page, "✗ fails acme")
		metricstest.Present(t, page, want.page)
		for _, sent := range []string{"nginx", "squid", "Squid", "HTML>", ".example"} {
			metricstest.Absent(t, page, sent)
		}
	}
	// expectRecovery checks that the next line is not about this failure.
	line := x.nextLine(t)
	for _, part := range append(want.logged, "target=acme", `msg="listing failed"`, "reason="+string(want.reason)) {
		metricstest.Present(t, line, part)
	}
}

// expectRecovery scrapes twice and expects that the listing succeeds, which is logged once.
func (x *exporterProcess) expectRecovery(t *testing.T) {
	t.Helper()
	x.expectHealthy(t)
	line := x.nextLine(t)
	metricstest.Present(t, line, "target=acme")
	metricstest.Present(t, line, `msg="listing works again"`)
}

// expectHealthy scrapes twice and expects that the listing succeeds.
func (x *exporterProcess) expectHealthy(t *testing.T) {
	t.Helper()
	for range 2 {
		x.expectScrape(t, 1)
		metricstest.Present(t, metricstest.PageText(x.request(t, http.MethodGet, "/")), "✓ works acme")
	}
}

// expectScrape scrapes, and checks whether the target is up and the number of failures.
func (x *exporterProcess) expectScrape(t *testing.T, up float64) {
	t.Helper()
	scraped := metricstest.Parse(t, x.request(t, http.MethodGet, "/metrics"))
	if got := scraped.Values("truefoundry_up", "target")["acme"]; got != up {
		t.Fatalf("truefoundry_up is %v, want %v; the failures so far are %v", got, up, scraped.Values("truefoundry_listing_errors_total", "reason"))
	}
	if got := scraped.Values("truefoundry_listing_errors_total", "reason"); !maps.Equal(got, x.failures) {
		t.Errorf("the failures are %v, want %v", got, x.failures)
	}
	if got := len(scraped.Values("truefoundry_token_info", "token_id")); float64(got) != up*tokens {
		t.Errorf("got %d tokens, want %v", got, up*tokens)
	}
}
