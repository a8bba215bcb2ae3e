package server

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

func FuzzScrapeTimeout(f *testing.F) {
	for _, seed := range []string{
		"", "0", "-0", "-1", "10", "0.6", "1e9", "1e300", "1e-300", "1e400", "NaN", "Inf", "-Inf", "+5", " 5", "5s", "soon", "0x1p4", "1_0", ".5", "5.", "3600", "3601",
	} {
		f.Add(seed, int64(500*time.Millisecond))
		f.Add(seed, int64(24*time.Hour))
	}
	f.Fuzz(func(t *testing.T, header string, offset int64) {
		offset = max(0, offset)
		got, ok := scrapeTimeout(http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {header}}, time.Duration(offset))
		seconds, err := strconv.ParseFloat(header, 64)
		if said := err == nil && seconds > 0; said != ok {
			t.Fatalf("%q: %v, %t", header, got, ok)
		}
		if !ok {
			return
		}
		told := min(seconds, 3600) * 1e9
		if float64(got) > told || float64(got) < told/2-2 || got < time.Duration(told)-time.Duration(offset)-1 {
			t.Errorf("%q less %v is %v", header, time.Duration(offset), got)
		}
	})
}
