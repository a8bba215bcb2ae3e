// Package soak is a long run: an exporter as a process of its own, several
// scrapers at once, control planes that fail at random and change what they hold,
// reloads, and keys that are replaced. Each scrape is compared with what the
// control planes held.
package soak

import (
	"context"
	"flag"
	"fmt"
	"maps"
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
	scrapes = flag.Int("soak.scrapes", 250, "how many scrapes the soak makes")
	seed    = flag.Uint64("soak.seed", 0, "what the soak's faults are drawn with; 0 draws that too")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	scrapers = 8
	// perRound is how many scrapes there are between two looks at a calm exporter.
	perRound = 250

	// maxGrowth of the heap is what a map or a pool may keep in the end, in bytes.
	// A leak of 200 bytes for each scrape of the short run is more.
	maxGrowth = 256 << 10
)

// The targets.
const (
	steady  = "steady"  // always there, and without faults
	flaky   = "flaky"   // always there
	second  = "second"  // has another key for the control plane of flaky
	guest   = "guest"   // comes and goes, and moves
	resting = "resting" // alone, and only while the exporter is measured
)

// chances are those of a fault, in a thousand requests.
func chances() map[string]int { return map[string]int{flaky: 20, second: 10, guest: 30} }

// soak is the run.
type soak struct {
	*testing.T
	*exporter
	*truth
	dir     string
	urls    map[string]string
	monitor *scraper

	mu sync.Mutex
	// configurations are those so far: where each of their listings is asked for.
	// Those since done may be in use.
	configurations []map[listing]string
	done           int
	// refused is that the last reload was.
	refused bool

	// sent are all requests for metrics.
	sent, answered, late, abandoned, wrong  atomic.Int64
	reloads, refusals, replacedKeys, rounds int
	failed, disturbed, gaps                 atomic.Int64
	// counted are the failures that the exporter had counted after the last round,
	// and failures those of all rounds.
	counted  map[listing]map[client.Reason]float64
	failures map[client.Reason]float64
}

// No scrape is wrong or lost, and in the end the exporter is as small as it was
// in the beginning.
func TestSoak(t *testing.T) {
	for *seed == 0 {
		*seed = rand.Uint64()
	}
	begun := time.Now()
	told := begun
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
		s.urls[target] = s.serve(t, chances())
	}
	s.urls[second] = s.urls[flaky]
	for _, target := range []string{steady, flaky, second, guest, resting} {
		n := 2 * pageSize
		if target == resting {
			n = pageSize / 2
		}
		s.add(target, n)
		if err := rewrite(s.keyFile(target), s.keys[target]); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", *seed)
	s.configure(asleep())
	s.exporter = start(t, build(t), "--config.file="+s.configFile(), "--web.listen-address=127.0.0.1:0", "--web.enable-lifecycle",
		fmt.Sprintf("--truefoundry.page-size=%d", pageSize))

	// What is made once is made in a first round.
	s.round(random, 100)
	before := s.rest()
	limit, limited := t.Deadline()
	for made := 0; made < *scrapes && s.wrong.Load() == 0; made += perRound {
		if limited && time.Until(limit) < 3*patience {
			t.Logf("no more than %d scrapes: the test's time is nearly up", made)
			break
		}
		if time.Since(told) > patience/2 {
			told = time.Now()
			t.Logf("%d scrapes after %v", s.answered.Load(), told.Sub(begun).Round(time.Second))
		}
		s.round(random, min(*scrapes-made, perRound))
	}
	after := s.rest()
	for deadline := time.Now().Add(patience); after.above(before) && time.Now().Before(deadline); {
		after = after.least(s.measure())
	}
	if after.above(before) {
		t.Errorf("the exporter has grown: before: %v; after: %v", before, after)
		s.dump(t)
		return
	}
	s.end(t)
	t.Logf("seed %d: %d scrapes in %v, %d of them wrong, %d late; %d more abandoned", *seed,
		s.answered.Load(), time.Since(begun).Round(time.Second), s.wrong.Load(), s.late.Load(), s.abandoned.Load())
	t.Logf("listings that scrapes saw failing: %d; changing or shortened while read: %d, %d of them with gaps", s.failed.Load(), s.disturbed.Load(), s.gaps.Load())
	t.Logf("failures by reason: %v", s.failures)
	t.Logf("reloads: %d, and %d refused; keys replaced: %d; lists changed: %d", s.reloads, s.refusals, s.replacedKeys, s.changes)
	t.Logf("before: %v; after: %v", before, after)
}

// round is n scrapes, while everything changes. After that, nothing is under way,
// nothing was lost, and all is well.
func (s *soak) round(random *rand.Rand, n int) {
	s.Helper()
	s.rounds++
	s.forget()
	s.setCalm(false)
	since := s.now()
	var disturbers, working sync.WaitGroup
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	disturb := func(longest time.Duration, do func(*rand.Rand)) {
		own := rand.New(rand.NewPCG(random.Uint64(), 0))
		disturbers.Go(func() {
			for pause(ctx, own, longest) {
				do(own)
			}
		})
	}
	s.reload(random) // the targets of the rounds
	disturb(20*time.Millisecond, func(*rand.Rand) { s.change() })
	disturb(600*time.Millisecond, s.reload)
	disturb(3*time.Second, s.replaceKey)
	disturb(time.Second, func(own *rand.Rand) { s.abandon(ctx, own) })
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
	disturbers.Wait()
	s.setCalm(true)
	s.calm()
}

// pause waits for some time, and returns false as soon as ctx ends.
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

// calm waits until no scrape is under way any more, and looks whether all were
// answered. After that, a scrape shows everything as it is at this moment.
func (s *soak) calm() {
	s.Helper()
	settled := s.settle()
	for deadline := time.Now().Add(patience); ; {
		since := s.now()
		e := s.monitor.scrape(scrape{timeout: patience})
		if e == nil {
			return
		}
		v, err := s.check(e, since)
		if err != nil || v.disturbed > 0 {
			s.mistake("when all is calm: %v, disturbed: %d", err, v.disturbed)
			return
		}
		for of, failures := range e.failures {
			for reason, n := range failures {
				// A Retry-After may still hold.
				if n > settled.failures[of][reason] && reason != client.ReasonRateLimited {
					s.mistake("when all is calm, %v fails: %s", of, reason)
				}
			}
		}
		if v.failed == 0 {
			s.note(e)
			return
		}
		if time.Now().After(deadline) {
			s.mistake("when all is calm, %v fail", e.up)
			return
		}
	}
}

// settle waits until the exporter has answered everything.
func (s *soak) settle() *exposition {
	s.Helper()
	for deadline := time.Now().Add(patience); ; {
		sent := float64(s.sent.Load())
		e := s.monitor.scrape(scrape{timeout: time.Second})
		if e == nil {
			s.FailNow()
		}
		// This scrape is not counted yet, and under way.
		answered := map[string]float64{}
		for series, n := range e.counters[listing{}] {
			if code, ok := strings.CutPrefix(series, "promhttp_metric_handler_requests_total code="); ok && n > 0 {
				answered[code] = n
			}
		}
		if maps.Equal(answered, map[string]float64{`"200"`: sent}) && e.gauges["promhttp_metric_handler_requests_in_flight"] == 1 {
			return e
		}
		if time.Now().After(deadline) {
			s.Fatalf("%g scrapes were sent, and the exporter has answered %v, by status", sent, answered)
		}
	}
}

// note adds up the failures since the last time.
func (s *soak) note(e *exposition) {
	for of, failures := range e.failures {
		for reason, n := range failures {
			if more := n - s.counted[of][reason]; more > 0 {
				s.failures[reason] += more
			}
		}
	}
	s.counted = e.failures
	if want := map[bool]float64{true: 0, false: 1}[s.refused]; e.gauges["truefoundry_exporter_config_last_reload_successful"] != want {
		s.mistake("the last reload was refused: %t, and the metrics say otherwise", s.refused)
	}
}

// mistake fails the test.
func (s *soak) mistake(format string, args ...any) {
	s.Helper()
	s.wrong.Add(1)
	s.Errorf(format, args...)
}

// usage is what the exporter uses while it rests.
type usage struct{ goroutines, descriptors, heap float64 }

// String implements fmt.Stringer.
func (u usage) String() string {
	return fmt.Sprintf("%g goroutines, %g file descriptors, collection at %g KiB", u.goroutines, u.descriptors, u.heap/1024)
}

func (u usage) least(other usage) usage {
	return usage{min(u.goroutines, other.goroutines), min(u.descriptors, other.descriptors), min(u.heap, other.heap)}
}

func (u usage) above(before usage) bool {
	return u.goroutines > before.goroutines || u.descriptors > before.descriptors || u.heap > before.heap+maxGrowth
}

// rest has the exporter forget all targets but one, whose pages come one after
// the other and over one connection, and measures that.
func (s *soak) rest() usage {
	s.Helper()
	s.configure(asleep())
	s.tell(true, false)
	s.calm()
	least := s.measure()
	for range 50 {
		least = least.least(s.measure())
	}
	return least
}

// measure scrapes once. What a scrape takes itself varies, and so does where the
// heap is when it is looked at, but not where the next collection is due: that
// depends on what was alive at the last.
func (s *soak) measure() usage {
	e := s.monitor.scrape(scrape{timeout: patience})
	if e == nil {
		s.FailNow()
	}
	return usage{e.gauges["go_goroutines"], e.gauges["process_open_fds"], e.gauges["go_memstats_next_gc_bytes"]}
}
