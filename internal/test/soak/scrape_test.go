package soak

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// scraper makes scrapes, one at a time.
type scraper struct {
	*soak
	random    *rand.Rand
	transport *http.Transport
	// last is the result of the previous scrape, and begun the oldest configuration that it
	// may have used.
	last  *exposition
	begun int
}

func newScraper(s *soak, random *rand.Rand) *scraper {
	return &scraper{soak: s, random: random, transport: &http.Transport{DisableCompression: true}}
}

// scrapeOptions are the options of a scrape.
type scrapeOptions struct {
	timeout                  time.Duration
	openMetrics, gzip, close bool
}

// work scrapes with random options and compares the result with the control planes.
func (sc *scraper) work(since int64) {
	opts := scrapeOptions{timeout: 2 * time.Second, openMetrics: sc.random.IntN(2) == 0, gzip: sc.random.IntN(2) == 0, close: sc.random.IntN(10) == 0}
	if sc.random.IntN(10) == 0 {
		opts.timeout = 500 * time.Millisecond
	}
	e := sc.scrape(opts)
	if e == nil {
		return
	}
	v, err := sc.check(e, since)
	if err != nil {
		sc.fail("a scrape is wrong: %v", err)
	}
	sc.failed.Add(int64(v.failed))
	sc.changed.Add(int64(v.changed))
	sc.gaps.Add(int64(v.gaps))
}

// scrape scrapes and compares the result with the configuration and with the previous
// scrape. It returns nil if the scrape failed.
func (sc *scraper) scrape(opts scrapeOptions) *exposition {
	sc.mu.Lock()
	from := sc.done
	sc.mu.Unlock()
	sc.sent.Add(1)
	begun, tick := time.Now(), sc.tick()
	body, err := sc.get(opts)
	if err != nil && time.Since(begun) > opts.timeout {
		// A scraper that has not read the metrics by then is cut off.
		sc.late.Add(1)
		return nil
	}
	if err != nil {
		sc.fail("a scrape failed: %v", err)
		return nil
	}
	sc.responses.Add(1)
	if time.Since(begun) > opts.timeout {
		sc.late.Add(1)
	}
	if strings.Contains(string(body), canary) {
		sc.fail("a key is exposed")
	}
	e, err := parse(body, opts.openMetrics)
	if err != nil {
		sc.fail("a scrape cannot be read: %v\n%s", err, body)
		return nil
	}
	e.begun = tick
	if err := sc.checkContinuity(e, from); err != nil {
		sc.fail("a scrape is wrong: %v", err)
	}
	sc.last, sc.begun = e, from
	return e
}

// get requests the metrics.
func (sc *scraper) get(opts scrapeOptions) ([]byte, error) {
	ctx, cancel := context.WithTimeout(sc.Context(), opts.timeout+maxWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, sc.url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	contentType, encoding := "text/plain", ""
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	if opts.openMetrics {
		contentType = "application/openmetrics-text"
		req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	}
	if opts.gzip {
		encoding = "gzip"
		req.Header.Set("Accept-Encoding", encoding)
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(opts.timeout.Seconds(), 'g', -1, 64))
	req.Close = opts.close
	resp, err := sc.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), contentType) || resp.Header.Get("Content-Encoding") != encoding {
		return nil, fmt.Errorf("%s, %v", resp.Status, resp.Header)
	}
	if !opts.gzip {
		return body, nil
	}
	gz, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(gz)
}

// checkContinuity returns an error if no configuration since from has the listings, or if
// counters have decreased or disappeared.
func (sc *scraper) checkContinuity(e *exposition, from int) error {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if !sc.configured(e.success, from) {
		return fmt.Errorf("no configuration has these listings: %v", e.success)
	}
	if sc.last == nil {
		return nil
	}
	for l, before := range sc.last.counters {
		if !sc.isKept(l, sc.begun) {
			continue
		}
		for series, n := range before {
			if now, ok := e.counters[l][series]; !ok || now < n {
				return fmt.Errorf("%s was %g, and is %g, present: %t", series, n, now, ok)
			}
		}
	}
	return nil
}

// abandonScrape starts a scrape and disconnects after a while.
func (s *soak) abandonScrape(ctx context.Context, random *rand.Rand) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) {
			s.fail("%v", err)
		}
		return
	}
	defer conn.Close()
	s.sent.Add(1)
	s.abandoned.Add(1)
	if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: exporter\r\nX-Prometheus-Scrape-Timeout-Seconds: 2\r\n\r\n"); err != nil {
		s.fail("%v", err)
	}
	pause(ctx, random, 100*time.Millisecond)
}
