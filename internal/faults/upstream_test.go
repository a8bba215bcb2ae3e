package faults_test

import (
	"maps"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/faults"
)

// The targets of a stage: a fault is put around the control plane of the first,
// and the other has nothing to do with that.
const (
	faulty    = "faulty"
	neighbour = "neighbour"
)

// The tokens that they list while all is well, on several pages each.
const (
	faultyTokens    = 45
	neighbourTokens = 25
)

// upstreamTest is a fault of a control plane, or on the way to it, and what the
// exporter makes of it.
type upstreamTest struct {
	// name says both.
	name string

	// The fault is how the control plane answers, or what it lists instead of its
	// tokens. Where it is something else, arrange prepares it.
	fault   controlplanetest.Fault
	items   func() []any
	arrange func(*testing.T, *stage)

	// reason is with what the listing fails. It is empty where the listing
	// succeeds: with so many tokens, or else with those of before.
	reason client.Reason
	tokens *int
	// logged is a part of the one line that tells of the fault. Where it is
	// empty, none does.
	logged string

	// hangs: the scrape ends by its deadline. dear: it keeps the machine busy for
	// seconds, and so is alone and not repeated.
	hangs, dear bool
	// ban is how long the control plane is left alone.
	ban time.Duration
	// requests and retries are those of a scrape; 0 is any number.
	requests, retries int
	// sent and allocated are the most that the control plane can send and that
	// the exporter allocates in a scrape, in bytes; 0 is any number.
	sent, allocated int64
	// check checks the rest.
	check func(*testing.T, *scrape)
}

// stage is an exporter with its two targets.
type stage struct {
	*exporter
	faulty, neighbour *upstream
	// dir has the files of the configuration.
	dir string
	// target are the fields of the faulty target.
	target string
	// concurrency is how many requests a control plane gets at a time.
	concurrency int
	// begin and end switch the fault.
	begin, end func()
}

func TestFaultsUpstream(t *testing.T) {
	for _, tt := range slices.Concat(connectionFaults(), tlsFaults(), proxyFaults(), redirects(), statuses(), bodies(), pages(), clocks(), times(), numbers(), texts()) {
		t.Run(tt.name, func(t *testing.T) {
			if !tt.dear {
				t.Parallel()
			}
			tt.run(t)
		})
	}
}

func (tt *upstreamTest) run(t *testing.T) {
	st := newStage(t, tt)
	before := st.scrape(t, patience)
	healthy := outcome{tokens: faultyTokens}
	healthy.expect(t, faulty, before)
	nearby := &outcome{tokens: neighbourTokens}
	nearby.expect(t, neighbour, before)
	expectLog(t, before)
	// complete fails the test unless a scrape shows of the target what the first
	// one did.
	complete := func(target string, s *scrape) {
		t.Helper()
		if got, want := s.tokens(target), before.tokens(target); !slices.Equal(got, want) {
			t.Errorf("of the target %s there are\n%s\nand there were\n%s", target, strings.Join(got, ""), strings.Join(want, ""))
		}
	}

	st.begin()
	ill := outcome{reason: tt.reason, tokens: faultyTokens, listings: healthy.listings}
	if tt.tokens != nil {
		ill.tokens = *tt.tokens
	}
	timeout := patience
	if tt.hangs {
		timeout = 5 * time.Second
	}
	for first := true; ; first = false {
		requests, sent, allocated := len(st.faulty.Requests()), st.faulty.sent.Load(), allocations()
		s := st.scrape(t, timeout)
		switch {
		case first && tt.reason != "":
			expectLog(t, s, "level=error", `msg="listing failed"`, "reason="+string(tt.reason), tt.logged)
		case first && tt.logged != "":
			expectLog(t, s, "level=warn", `msg="parts of the listing cannot be read"`, tt.logged)
		default:
			expectLog(t, s)
		}
		ill.expect(t, faulty, s)
		if tt.reason == "" && tt.tokens == nil {
			complete(faulty, s)
		}
		nearby.expect(t, neighbour, s)
		complete(neighbour, s)
		if tt.check != nil {
			tt.check(t, s)
		}
		atMost(t, "bytes sent", st.faulty.sent.Load()-sent, tt.sent)
		atMost(t, "bytes allocated", allocations()-allocated, tt.allocated)
		if n := len(st.faulty.Requests()) - requests; first && tt.requests > 0 && n != tt.requests {
			t.Errorf("%d requests, want %d", n, tt.requests)
		}
		if n := s.Values("truefoundry_exporter_api_retries_total", "target")[faulty]; first && tt.retries > 0 && n != float64(tt.retries) {
			t.Errorf("%v retries, want %d", n, tt.retries)
		}
		if !first || tt.dear {
			break
		}
	}

	st.end()
	if tt.ban >= time.Minute { // else it may be over
		requests := len(st.faulty.Requests())
		s := st.scrape(t, patience)
		ill.expect(t, faulty, s)
		nearby.expect(t, neighbour, s)
		expectLog(t, s)
		if n := len(st.faulty.Requests()) - requests; n > 0 {
			t.Errorf("%d requests within what the control plane asked to wait", n)
		}
	}
	if tt.ban > 0 {
		st.set(tt.ban)
	}
	healthy.listings, healthy.errors = ill.listings, ill.errors
	for first := true; ; first = false {
		s := st.scrape(t, patience)
		switch {
		case first && tt.reason != "":
			expectLog(t, s, "level=info", `msg="listing works again"`, "tokens=45")
		case first && tt.logged != "":
			expectLog(t, s, "level=info", `msg="everything in the listing can be read again"`)
		default:
			expectLog(t, s)
		}
		healthy.expect(t, faulty, s)
		complete(faulty, s)
		nearby.expect(t, neighbour, s)
		complete(neighbour, s)
		if !first {
			break
		}
	}
}

// newStage sets the stage for a test. The fault has not begun.
func newStage(t *testing.T, tt *upstreamTest) *stage {
	t.Helper()
	st := &stage{faulty: newUpstream(t, faultyTokens), neighbour: newUpstream(t, neighbourTokens), dir: t.TempDir(), concurrency: 4}
	st.neighbour.start(t)
	if tt.arrange != nil {
		tt.arrange(t, st)
	}
	if st.faulty.URL == "" {
		st.faulty.start(t)
	}
	if st.target == "" {
		st.target = "url: " + st.faulty.URL
	}
	if st.begin == nil {
		tokens := st.faulty.list(tt.items)
		st.faulty.list(tokens)
		st.begin = func() {
			st.faulty.fault.Set(tt.fault)
			if tt.items != nil {
				st.faulty.list(tt.items)
			}
		}
		st.end = func() {
			st.faulty.fault.Set(nil)
			st.faulty.list(tokens)
		}
	}
	const target = `
- authorization: {credentials_file: key}
  name: `
	st.exporter = newExporter(t, st.dir, st.concurrency, "targets:"+
		target+faulty+"\n  "+strings.ReplaceAll(st.target, "\n", "\n  ")+
		target+neighbour+"\n  url: "+st.neighbour.URL+"\n")
	return st
}

// path is that of a file of the configuration.
func (st *stage) path(name string) string { return filepath.Join(st.dir, name) }

// reconnect closes the connections to the faulty control plane. A concurrency of
// 1 makes sure that no other is about to be made.
func (st *stage) reconnect() { st.faulty.server.CloseClientConnections() }

// outcome is how the listing of a target ends, scrape after scrape.
type outcome struct {
	reason client.Reason // empty where it succeeds
	tokens int           // where it succeeds
	// listings and errors are those so far.
	listings float64
	errors   map[string]float64
}

// expect checks what a scrape shows of a target.
func (o *outcome) expect(t *testing.T, target string, s *scrape) {
	t.Helper()
	is := func(name, by string, want map[string]float64) {
		t.Helper()
		if got := s.Values(name, by, "target", target); !maps.Equal(got, want) {
			t.Errorf("%s of the target %s by %s: %v, want %v", name, target, by, got, want)
		}
	}
	kind := string(client.PersonalAccessToken)
	failed := o.reason != ""
	if o.errors == nil {
		o.errors = map[string]float64{}
		for _, reason := range client.Reasons() {
			o.errors[string(reason)] = 0
		}
	}
	if failed {
		o.errors[string(o.reason)]++
		is("truefoundry_up", "target", map[string]float64{target: 0})
		is("truefoundry_listing_success", "kind", map[string]float64{kind: 0})
		if half := s.tokens(target); len(half) > 0 {
			t.Errorf("of the target %s, whose listing failed, there are\n%s", target, strings.Join(half, ""))
		}
	} else {
		is("truefoundry_up", "target", map[string]float64{target: 1})
		is("truefoundry_listing_success", "kind", map[string]float64{kind: 1})
		is("truefoundry_listing_tokens", "kind", map[string]float64{kind: float64(o.tokens)})
		if n := len(s.Values("truefoundry_token_info", "token_id", "target", target)); n != o.tokens {
			t.Errorf("%d tokens of the target %s, want %d", n, target, o.tokens)
		}
	}
	o.listings++
	is("truefoundry_listings_total", "kind", map[string]float64{kind: o.listings})
	is("truefoundry_listing_errors_total", "reason", o.errors)
	is("truefoundry_api_key_expiry_timestamp_seconds", "target", map[string]float64{target: 1790000000})
}

// expectLog fails the test unless what was logged during the scrape is one line
// with these parts, or nothing where there are none. The neighbour is in no line.
func expectLog(t *testing.T, s *scrape, parts ...string) {
	t.Helper()
	lines := 0
	if len(parts) > 0 {
		lines = 1
		parts = append(parts, "target="+faulty)
	}
	if len(s.log) != lines {
		t.Fatalf("%d lines are logged, want %d with %q:\n%s", len(s.log), lines, parts, strings.Join(s.log, "\n"))
	}
	for _, part := range parts {
		if !strings.Contains(s.log[0], part) {
			t.Errorf("there is no %s in %s", part, s.log[0])
		}
	}
	if lines > 0 && (len(s.log[0]) > 4<<10 || strings.Contains(s.log[0], controlplanetest.Key)) {
		t.Errorf("logged %s", s.log[0])
	}
}

// atMost fails the test where there is a limit, and n is above it.
func atMost(t *testing.T, what string, n, limit int64) {
	t.Helper()
	if limit > 0 && n > limit {
		t.Errorf("%d %s, want at most %d", n, what, limit)
	}
}

// allocations is what was allocated since the process started, in bytes.
func allocations() int64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// The log tells when a failure turns into another one, and of no repetition.
func TestTheLogTellsOfEachChangeOnce(t *testing.T) {
	t.Parallel()
	st := newStage(t, new(upstreamTest))
	for _, step := range []struct {
		fault  controlplanetest.Fault
		logged []string
	}{
		{nil, nil},
		{faults.Status(401), []string{"level=error", "reason=unauthorized", "401"}},
		{faults.Status(401), nil},
		{faults.Status(500), []string{"level=error", "reason=server_error", "500"}},
		{faults.Status(503), nil}, // the same to whoever reads the log
		{faults.Body("<html>"), []string{"level=error", "reason=bad_response"}},
		{faults.Body("<html>"), nil},
		{faults.At(pageSize, faults.Status(401)), []string{"level=error", "reason=unauthorized"}},
		{nil, []string{"level=info", `msg="listing works again"`}},
		{nil, nil},
		{faults.Status(401), []string{"level=error", "reason=unauthorized"}},
		{faults.Status(503, "Retry-After", "3600"), []string{"level=error", "reason=server_error"}},
		{nil, []string{"level=error", "reason=rate_limited", "nothing is sent until"}},
		{nil, nil},
	} {
		st.faulty.fault.Set(step.fault)
		expectLog(t, st.scrape(t, patience), step.logged...)
	}
}
