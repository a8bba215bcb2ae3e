package collector_test

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// bubble is a collector and its control plane in a synctest bubble. Connections are in
// memory.
type bubble struct {
	*collector.Collector
	cp  *controlplanetest.ControlPlane
	log *metricstest.Log
	t   *testing.T
}

// inBubble runs a test in which each response of the control plane takes some time.
func inBubble(t *testing.T, latency time.Duration, test func(t *testing.T, b *bubble), fs ...controlplanetest.Fault) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		slow := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-time.After(latency):
					next.ServeHTTP(w, r)
				case <-r.Context().Done():
				}
			})
		}
		b := &bubble{t: t, log: new(metricstest.Log)}
		b.cp = controlplanetest.New(t, controlplanetest.Always(controlplanetest.Tokens(3)...))
		// Without a total, a listing takes two requests.
		noTotal := faults.Total(func(int) any { return nil })
		transport, stop := controlplanetest.InMemory(slow(b.cp.With(append(fs, noTotal)...)))
		defer stop()
		b.Collector = newCollector(t, "", func(s *testConfig) {
			s.Transport = transport
			s.Logger = log.NewLogfmtLogger(b.log)
			s.Options.Now, s.Config.Now = time.Now, time.Now
		})
		test(t, b)
	})
}

// advance advances the clock of the bubble.
func advance(d time.Duration) { <-time.After(d) }

// scrape scrapes with a timeout. It returns truefoundry_up and the duration.
func (b *bubble) scrape(ctx context.Context, timeout time.Duration) (up bool, took time.Duration) {
	b.t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return strings.Contains(metricstest.Exposition(b.t, b.Scrape(ctx)), `truefoundry_up{control_plane="acme.truefoundry.example",target="acme"} 1`), time.Since(start)
}

// goScrape scrapes in the background and compares the outcome.
func (b *bubble) goScrape(wg *sync.WaitGroup, name string, timeout time.Duration, wantUp bool, wantTook time.Duration) {
	wg.Go(func() {
		if up, took := b.scrape(b.t.Context(), timeout); up != wantUp || took != wantTook {
			b.t.Errorf("%s: up is %v after %v, want %v after %v", name, up, took, wantUp, wantTook)
		}
	})
}

// wantLog scrapes n times, every two minutes, and compares the log: each of its lines
// must contain all words of the same line of want.
func (b *bubble) wantLog(n int, want string) {
	b.t.Helper()
	b.log.Take()
	for range n {
		b.scrape(b.t.Context(), 10*time.Second)
		advance(2 * time.Minute)
	}
	if got := b.log.Take(); strings.Count(got, "\n") != strings.Count(want, "\n") || !matchLines(got, want) {
		b.t.Errorf("logged %q, want %q", got, want)
	}
}

// listingCounters returns truefoundry_listings_total, and truefoundry_listing_errors_total
// by reason. The scrape that it makes to get them must succeed, and is not counted.
func (b *bubble) listingCounters() (listings float64, errors map[string]float64) {
	b.t.Helper()
	errors = map[string]float64{}
	for _, family := range metricstest.Parse(b.t, scrape(b.t, b.Collector, time.Minute)) {
		for _, m := range family.Metric {
			switch n := m.GetCounter().GetValue(); {
			case family.GetName() == "truefoundry_listings_total":
				listings = n - 1
			case family.GetName() == "truefoundry_listing_errors_total" && n > 0:
				errors[labelValue(m, "reason")] = n
			}
		}
	}
	return listings, errors
}

// requestsPerListing is the number of requests of a listing: one for its only page and
// one for the empty page after it.
const requestsPerListing = 2

func TestOverlappingScrapesShareOneListing(t *testing.T) {
	inBubble(t, time.Second, func(t *testing.T, b *bubble) {
		var wg sync.WaitGroup
		for range 5 {
			b.goScrape(&wg, "a scrape", 10*time.Second, true, requestsPerListing*time.Second)
		}
		wg.Wait()
		if n := len(b.cp.Requests()); n != requestsPerListing {
			t.Errorf("%d requests for five scrapes", n)
		}
		if b.HasRuns() {
			t.Error("a listing is still in progress")
		}
		b.scrape(t.Context(), 10*time.Second)
		if n := len(b.cp.Requests()); n != 2*requestsPerListing {
			t.Errorf("%d requests after one more scrape: tokens were cached", n)
		}
	})
}

func TestScrapeThatTimesOutDoesNotCancelOthers(t *testing.T) {
	inBubble(t, time.Second, func(t *testing.T, b *bubble) {
		var wg sync.WaitGroup
		b.goScrape(&wg, "the short scrape", 1500*time.Millisecond, false, 1500*time.Millisecond)
		synctest.Wait() // it has started the listing
		b.goScrape(&wg, "the long scrape", 10*time.Second, true, 2*time.Second)
		wg.Wait()
		if listings, errors := b.listingCounters(); listings != 1 || len(errors) > 0 {
			t.Errorf("%v listings with errors %v, want one without errors", listings, errors)
		}
	})
}

// Scrapes end early by cancellation or by their deadline while another one waits for the
// same listing.
func TestScrapesThatLeaveEarlyAreNotFailures(t *testing.T) {
	inBubble(t, time.Second, func(t *testing.T, b *bubble) {
		var wg sync.WaitGroup
		for i := range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Duration(300*i+200)*time.Millisecond, cancel)
			wg.Go(func() { b.scrape(ctx, 10*time.Second) })
			wg.Go(func() { b.scrape(t.Context(), time.Duration(300*i+1)*time.Millisecond) })
		}
		synctest.Wait()
		b.goScrape(&wg, "the remaining scrape", 2*time.Second+1, true, 2*time.Second)
		wg.Wait()
		if logged := b.log.Take(); logged != "" {
			t.Errorf("logged %s", logged)
		}
		if status := b.Status()[0].Listings[0]; status.Failure != nil {
			t.Errorf("the status is %+v", status)
		}
		if listings, errors := b.listingCounters(); listings != 1 || len(errors) > 0 {
			t.Errorf("%v listings with errors %v, want one without errors", listings, errors)
		}
	})
}

func TestLateScrapeJoinsTheListingInProgress(t *testing.T) {
	inBubble(t, time.Second, func(_ *testing.T, b *bubble) {
		var wg sync.WaitGroup
		b.goScrape(&wg, "the first", 10*time.Second, true, 2*time.Second)
		advance(1500 * time.Millisecond)
		b.goScrape(&wg, "the late one", 10*time.Second, true, 500*time.Millisecond)
		wg.Wait()
	})
}

// A scrape may start at the moment at which the listing in progress reaches its deadline.
func TestScrapeAtTheDeadlineOfAnotherKeepsItsOwnDeadline(t *testing.T) {
	for range 50 {
		inBubble(t, 3*time.Second, func(_ *testing.T, b *bubble) {
			var wg sync.WaitGroup
			b.goScrape(&wg, "the short scrape", 2*time.Second, false, 2*time.Second)
			advance(2 * time.Second)
			up, _ := b.scrape(b.t.Context(), time.Minute)
			wg.Wait()
			if !up {
				b.t.Error("the long scrape failed")
			}
		})
	}
}

func TestListingEndsWithItsLastScrape(t *testing.T) {
	gone := make(chan time.Duration, 1)
	hang := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			start := time.Now()
			<-r.Context().Done()
			gone <- time.Since(start)
		})
	}
	for name, tt := range map[string]struct {
		end      func(cancel context.CancelFunc)
		after    time.Duration
		listings float64
		errors   map[string]float64
		failing  bool
		log      string
	}{
		"by its deadline": {
			func(context.CancelFunc) {}, 5 * time.Second,
			1,
			map[string]float64{"timeout": 1},
			true, "level=error listing failed reason=timeout\n",
		},
		"by cancellation": {
			func(cancel context.CancelFunc) { cancel() }, 3 * time.Second,
			0,
			map[string]float64{},
			false, "level=debug listing cancelled\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, 0, func(t *testing.T, b *bubble) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(3*time.Second, func() { tt.end(cancel) })
				var wg sync.WaitGroup
				b.goScrape(&wg, "the short scrape", time.Second, false, time.Second)
				wg.Go(func() { b.scrape(ctx, 5*time.Second) })
				wg.Wait()
				if after := <-gone; after != tt.after {
					t.Errorf("the request ended after %v, want %v", after, tt.after)
				}
				if logged := b.log.Take(); strings.Count(logged, "\n") != 1 || !matchLines(logged, tt.log) {
					t.Errorf("logged %q, want %q", logged, tt.log)
				}
				if status := b.Status()[0].Listings[0]; status.Failing != tt.failing || (status.Failure != nil) != tt.failing {
					t.Errorf("the status is %+v", status)
				}
				if listings, errors := b.listingCounters(); listings != tt.listings || !maps.Equal(errors, tt.errors) {
					t.Errorf("%v listings with errors %v, want %v with %v", listings, errors, tt.listings, tt.errors)
				}
			}, faults.First(1, hang))
		})
	}
}

func TestSharedErrorIsCountedOnce(t *testing.T) {
	inBubble(t, time.Second, func(t *testing.T, b *bubble) {
		var wg sync.WaitGroup
		for range 5 {
			b.goScrape(&wg, "a scrape", 10*time.Second, false, time.Second)
		}
		wg.Wait()
		if listings, errors := b.listingCounters(); listings != 1 || errors["unauthorized"] != 1 {
			t.Errorf("%v listings with errors %v, want one", listings, errors)
		}
	}, faults.First(1, faults.Status(http.StatusUnauthorized)))
}

func TestFailureIsLoggedOnChangesAndHourly(t *testing.T) {
	fault := faults.Switch()
	inBubble(t, 0, func(_ *testing.T, b *bubble) {
		b.wantLog(3, "")
		fault.Set(faults.Status(http.StatusForbidden))
		b.wantLog(29, "level=error listing failed reason=forbidden\n")
		b.wantLog(3, "level=error listing failed reason=forbidden\n")
		fault.Set(faults.Status(http.StatusNotFound))
		b.wantLog(3, "level=error listing failed reason=client_error help=https:// docs/troubleshooting.md#client_error\n")
		fault.Set(nil)
		b.wantLog(3, "level=info works again tokens=3\n")
	}, fault.Wrap)
}

func TestUnreadableValuesAreLoggedOnChanges(t *testing.T) {
	fault := faults.Switch()
	inBubble(t, 0, func(_ *testing.T, b *bubble) {
		b.wantLog(3, "")
		fault.Set(func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body := `{"data":[]}`
				if r.URL.Query().Get("offset") == "0" {
					body = `{"data":[{"id":"bad-one","createdAt":"yesterday","jwts":[{"expiry":5}]},7]}`
				}
				w.Write([]byte(body))
			})
		})
		b.wantLog(3, "level=warn parts of the listing cannot be read items=1 values=2 createdAt jwts.expiry bad-one offset 1\n")
		fault.Set(nil)
		b.wantLog(3, "level=info can be read again\n")
	}, fault.Wrap)
}

// matchLines reports whether each line of got contains all words of the same line of
// want.
func matchLines(got, want string) bool {
	lines := strings.Split(got, "\n")
	for i, line := range strings.Split(want, "\n") {
		for word := range strings.FieldsSeq(line) {
			if !strings.Contains(lines[i], word) {
				return false
			}
		}
	}
	return true
}
