// Package soak tests an exporter process for a long time: with several scrapers, control
// planes that fail at random, and tokens, configurations and keys that change. Each scrape
// is compared with the state of the control planes.
package soak

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

var (
	scrapes = flag.Int("soak.scrapes", 250, "number of scrapes")
	race    = flag.Bool("soak.race", true, "build the exporter with the race detector, which makes it several times slower")
	seed    = flag.Uint64("soak.seed", 0, "seed of the random faults; 0 chooses a random seed")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	scrapers = 24
	// scrapesPerRound is the number of scrapes between two checks without faults.
	scrapesPerRound = 500

	// maxGrowth is how much the heap may grow because of maps and pools, in bytes. A
	// leak of 200 bytes per scrape would be more in the short run.
	maxGrowth = 256 << 10
)

// The targets.
const (
	steady  = "steady"  // always configured, without faults
	flaky   = "flaky"   // always configured
	second  = "second"  // has another key for the control plane of flaky
	guest   = "guest"   // added, removed and moved to another control plane
	resting = "resting" // the only target while resources are measured
)

// faultRates returns the number of faults in a thousand requests.
func faultRates() map[string]int { return map[string]int{flaky: 20, second: 10, guest: 30} }

// soak is a run of the test.
type soak struct {
	*testing.T
	*exporter
	*truth
	dir     string
	urls    map[string]string
	monitor *scraper

	mu sync.Mutex
	// configurations are the configurations so far. They map each listing to the target
	// whose control plane it uses. Those from the index done on may be in use.
	configurations []map[listing]string
	done           int
	rejected       bool // whether the last reload was rejected

	// sent counts all requests for metrics.
	sent, responses, late, abandoned, wrong   atomic.Int64
	reloads, rejections, replacedKeys, rounds int
	failed, changed, gaps                     atomic.Int64
	// counted are the counters of failures after the last round, and failures the sums
	// of all rounds.
	counted  map[listing]map[client.Reason]float64
	failures map[client.Reason]float64
}

// No scrape may be wrong or lost, and the exporter must not grow.
func TestSoak(t *testing.T) {
	for *seed == 0 {
		*seed = rand.Uint64()
	}
	if testing.Short() {
		t.Skip("a soak is long")
	}
	begun := time.Now()
	lastLog := begun
	s := &soak{
		T: t, truth: newTruth(*seed), dir: t.TempDir(), urls: map[string]string{},
		counted: map[listing]map[client.Reason]float64{}, failures: map[client.Reason]float64{},
	}
	random := rand.New(rand.NewPCG(*seed, 1))
	s.monitor = newScraper(s, random)
	defer s.monitor.transport.CloseIdleConnections()
	if err := os.Mkdir(filepath.Join(s.dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{steady, flaky, guest, resting} {
		s.urls[target] = s.serve(t, faultRates())
	}
	s.urls[second] = s.urls[flaky]
	for _, target := range []string{steady, flaky, second, guest, resting} {
		n := 2 * pageSize
		if target == resting {
			n = pageSize / 2
		}
		s.add(target, n)
		if err := replaceFile(s.keyFile(target), s.keys[target]); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", *seed)
	s.configure(restConfig())
	s.exporter = start(t, build(t), "--config.file="+s.configFile(), "--web.listen-address=127.0.0.1:0", "--web.enable-lifecycle",
		fmt.Sprintf("--truefoundry.page-size=%d", pageSize))

	// The first round allocates what is allocated once.
	s.round(random, 100)
	before := s.rest()
	limit, limited := t.Deadline()
	for made := 0; made < *scrapes && s.wrong.Load() == 0; made += scrapesPerRound {
		if limited && time.Until(limit) < 3*maxWait {
			t.Logf("stopping after %d scrapes: the timeout of the test is near", made)
			break
		}
		if time.Since(lastLog) > maxWait/2 {
			lastLog = time.Now()
			t.Logf("%d scrapes after %v", s.responses.Load(), lastLog.Sub(begun).Round(time.Second))
		}
		s.round(random, min(*scrapes-made, scrapesPerRound))
	}
	after := s.rest()
	for deadline := time.Now().Add(maxWait); after.above(before) && time.Now().Before(deadline); {
		after = after.least(s.measure())
	}
	if after.above(before) {
		t.Errorf("the exporter has grown: before: %v; after: %v", before, after)
		s.dumpGoroutines(t)
		return
	}
	s.stop(t)
	t.Logf("seed %d: %d scrapes in %v, %d of them wrong, %d late; %d more abandoned", *seed,
		s.responses.Load(), time.Since(begun).Round(time.Second), s.wrong.Load(), s.late.Load(), s.abandoned.Load())
	t.Logf("listings that scrapes saw failing: %d; changing or shortened while read: %d, %d of them with gaps", s.failed.Load(), s.changed.Load(), s.gaps.Load())
	t.Logf("failures by reason: %v", s.failures)
	t.Logf("reloads: %d, and %d rejected; keys replaced: %d; lists changed: %d", s.reloads, s.rejections, s.replacedKeys, s.changes)
	t.Logf("before: %v; after: %v", before, after)
}

// round makes n scrapes while everything changes. After that, it waits until the exporter
// is healthy, and checks that no scrape was lost.
func (s *soak) round(random *rand.Rand, n int) {
	s.Helper()
	s.rounds++
	s.forget()
	s.setHealthy(false)
	since := s.now()
	var disturbances, working sync.WaitGroup
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	startDisturbance := func(longest time.Duration, do func(*rand.Rand)) {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		disturbances.Go(func() {
			for pause(ctx, own, longest) {
				do(own)
			}
		})
	}
	s.reload(random)
	startDisturbance(20*time.Millisecond, func(*rand.Rand) { s.change() })
	startDisturbance(600*time.Millisecond, s.reload)
	startDisturbance(3*time.Second, s.replaceKey)
	startDisturbance(time.Second, func(own *rand.Rand) { s.abandonScrape(ctx, own) })
	var left atomic.Int64
	left.Store(int64(n))
	for range scrapers {
		own := newScraper(s, rand.New(rand.NewPCG(random.Uint64(), 0)))
		working.Go(func() {
			defer own.transport.CloseIdleConnections()
			for left.Add(-1) >= 0 && s.wrong.Load() < 10 {
				own.work(since)
			}
		})
	}
	working.Wait()
	cancel()
	disturbances.Wait()
	s.setHealthy(true)
	s.waitUntilHealthy()
}

// pause waits for a random time. It returns false if ctx ends.
func pause(ctx context.Context, random *rand.Rand, longest time.Duration) bool {
	timer := time.NewTimer(time.Duration(random.Int64N(int64(longest))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// waitUntilHealthy waits for all responses, and then until a scrape without faults
// succeeds.
func (s *soak) waitUntilHealthy() {
	s.Helper()
	settled := s.waitForResponses()
	for deadline := time.Now().Add(maxWait); ; {
		since := s.now()
		e := s.monitor.scrape(scrapeOptions{timeout: maxWait})
		if e == nil {
			return
		}
		v, err := s.check(e, since)
		if err != nil || v.changed > 0 {
			s.fail("without faults: %v, %d lists changed", err, v.changed)
			return
		}
		for l, failures := range e.failures {
			for reason, n := range failures {
				// A Retry-After may still apply.
				if n > settled.failures[l][reason] && reason != client.ReasonRateLimited {
					s.fail("without faults, %v failed: %s", l, reason)
				}
			}
		}
		if v.failed == 0 {
			s.countFailures(e)
			return
		}
		if time.Now().After(deadline) {
			s.fail("without faults, targets failed: %v", e.up)
			return
		}
	}
}

// waitForResponses waits until the exporter has responded to all requests.
func (s *soak) waitForResponses() *exposition {
	s.Helper()
	for deadline := time.Now().Add(maxWait); ; {
		sent := float64(s.sent.Load())
		e := s.monitor.scrape(scrapeOptions{timeout: time.Second})
		if e == nil {
			s.FailNow()
		}
		// This scrape itself is not counted yet, but in flight.
		responses := map[string]float64{}
		for series, n := range e.counters[listing{}] {
			if code, ok := strings.CutPrefix(series, "promhttp_metric_handler_requests_total code="); ok && n > 0 {
				responses[code] = n
			}
		}
		// net/http repeats a scrape that is cut off on a connection in use before.
		successful := responses[`"200"`]
		asSent := sent <= successful && successful <= sent+float64(s.late.Load())
		if asSent && len(responses) == 1 && e.gauges["promhttp_metric_handler_requests_in_flight"] == 1 {
			return e
		}
		if time.Now().After(deadline) {
			s.Fatalf("%g scrapes were sent, and the responses by status are %v", sent, responses)
		}
	}
}

// countFailures adds the failures since the last call.
func (s *soak) countFailures(e *exposition) {
	for l, failures := range e.failures {
		for reason, n := range failures {
			if more := n - s.counted[l][reason]; more > 0 {
				s.failures[reason] += more
			}
		}
	}
	s.counted = e.failures
	if want := map[bool]float64{true: 0, false: 1}[s.rejected]; e.gauges["truefoundry_exporter_config_last_reload_successful"] != want {
		s.fail("the last reload was rejected: %t, but the metrics differ", s.rejected)
	}
}

// fail fails the test.
func (s *soak) fail(format string, args ...any) {
	s.Helper()
	s.wrong.Add(1)
	s.Errorf(format, args...)
}

// usage is the resource usage of an idle exporter.
type usage struct{ goroutines, descriptors, heap float64 }

// String implements fmt.Stringer.
func (u usage) String() string {
	return fmt.Sprintf("%g goroutines, %g file descriptors, next GC at %g KiB", u.goroutines, u.descriptors, u.heap/1024)
}

// least returns the minimum of both.
func (u usage) least(other usage) usage {
	return usage{min(u.goroutines, other.goroutines), min(u.descriptors, other.descriptors), min(u.heap, other.heap)}
}

// above reports whether u exceeds an earlier usage.
func (u usage) above(before usage) bool {
	return u.goroutines > before.goroutines || u.descriptors > before.descriptors || u.heap > before.heap+maxGrowth
}

// rest configures a single target, whose pages are requested sequentially on one
// connection, and measures the resource usage.
func (s *soak) rest() usage {
	s.Helper()
	s.configure(restConfig())
	s.triggerReload(true, false)
	s.waitUntilHealthy()
	least := s.measure()
	for range 50 {
		least = least.least(s.measure())
	}
	return least
}

// measure scrapes once and returns the resource usage. Instead of the size of the heap,
// which varies, it uses the size at which the next garbage collection starts: that depends
// on the live objects after the last one.
func (s *soak) measure() usage {
	e := s.monitor.scrape(scrapeOptions{timeout: maxWait})
	if e == nil {
		s.FailNow()
	}
	return usage{e.gauges["go_goroutines"], e.gauges["process_open_fds"], e.gauges["go_memstats_next_gc_bytes"]}
}
