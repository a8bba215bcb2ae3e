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

// scraper scrapes, one scrape after the other.
type scraper struct {
	*soak
	random    *rand.Rand
	transport *http.Transport
	// last is what the scrape before got, and begun the oldest configuration that
	// it may have used.
	last  *exposition
	begun int
}

func newScraper(s *soak, random *rand.Rand) *scraper {
	return &scraper{soak: s, random: random, transport: &http.Transport{DisableCompression: true}}
}

// scrape is how to scrape.
type scrape struct {
	timeout                    time.Duration
	openMetrics, zipped, close bool
}

// work scrapes in one way or another, and compares what comes with what the
// control planes held.
func (sc *scraper) work(since int64) {
	how := scrape{timeout: 2 * time.Second, openMetrics: sc.random.IntN(2) == 0, zipped: sc.random.IntN(2) == 0, close: sc.random.IntN(10) == 0}
	if sc.random.IntN(10) == 0 {
		how.timeout = 500 * time.Millisecond
	}
	e := sc.scrape(how)
	if e == nil {
		return
	}
	v, err := sc.check(e, since)
	if err != nil {
		sc.mistake("a scrape is wrong: %v", err)
	}
	sc.failed.Add(int64(v.failed))
	sc.disturbed.Add(int64(v.disturbed))
	sc.gaps.Add(int64(v.gaps))
}

// scrape scrapes, and compares what comes with the configuration and with the
// scrape before. It returns nil where it has failed the test.
func (sc *scraper) scrape(how scrape) *exposition {
	sc.mu.Lock()
	from := sc.done
	sc.mu.Unlock()
	sc.sent.Add(1)
	begun, tick := time.Now(), sc.tick()
	body, err := sc.get(how)
	if err != nil && time.Since(begun) > how.timeout {
		// Who has not read the metrics by then is cut off.
		sc.late.Add(1)
		return nil
	}
	if err != nil {
		sc.mistake("a scrape is lost: %v", err)
		return nil
	}
	sc.answered.Add(1)
	if time.Since(begun) > how.timeout {
		sc.late.Add(1)
	}
	if strings.Contains(string(body), canary) {
		sc.mistake("a key is shown")
	}
	e, err := parse(body, how.openMetrics)
	if err != nil {
		sc.mistake("a scrape cannot be read: %v\n%s", err, body)
		return nil
	}
	e.begun = tick
	if err := sc.follows(e, from); err != nil {
		sc.mistake("a scrape is wrong: %v", err)
	}
	sc.last, sc.begun = e, from
	return e
}

// get asks for the metrics.
func (sc *scraper) get(how scrape) ([]byte, error) {
	ctx, cancel := context.WithTimeout(sc.Context(), how.timeout+patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, sc.url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	contentType, encoding := "text/plain", ""
	req.Header.Set("Accept", "text/plain;version=0.0.4")
	if how.openMetrics {
		contentType = "application/openmetrics-text"
		req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	}
	if how.zipped {
		encoding = "gzip"
		req.Header.Set("Accept-Encoding", encoding)
	}
	req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", strconv.FormatFloat(how.timeout.Seconds(), 'g', -1, 64))
	req.Close = how.close
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
	if !how.zipped {
		return body, nil
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(unzipped)
}

// follows refuses what no configuration since from has, and counters that are
// less than they were, or gone.
func (sc *scraper) follows(e *exposition, from int) error {
	sc.mu.Lock()
	defer sc.mu.Unlock()
	if !sc.configured(e.success, from) {
		return fmt.Errorf("no configuration has these listings: %v", e.success)
	}
	if sc.last == nil {
		return nil
	}
	for of, before := range sc.last.counters {
		if !sc.kept(of, sc.begun) {
			continue
		}
		for series, n := range before {
			if now, ok := e.counters[of][series]; !ok || now < n {
				return fmt.Errorf("%s was %g, and is %g, there: %t", series, n, now, ok)
			}
		}
	}
	return nil
}

// abandon sends a scrape, and hangs up some time later.
func (s *soak) abandon(ctx context.Context, random *rand.Rand) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) {
			s.mistake("%v", err)
		}
		return
	}
	defer conn.Close()
	s.sent.Add(1)
	s.abandoned.Add(1)
	if _, err := io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: exporter\r\nX-Prometheus-Scrape-Timeout-Seconds: 2\r\n\r\n"); err != nil {
		s.mistake("%v", err)
	}
	pause(ctx, random, 100*time.Millisecond)
}
