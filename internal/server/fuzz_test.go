package server

import (
	"net/http"
	"strconv"
	"testing"
	"time"
)

func FuzzScrapeTimeout(f *testing.F) {
	for _, seed := range []string{
		"", "0", "-0", "-1", "10", "0.6", "0.1", "0.09999", "1e-7", "1e9", "1e300", "1e-300", "1e400", "NaN", "Inf", "-Inf", "+5", " 5", "5s", "soon", "0x1p4", "1_0", ".5", "5.", "3600", "3601",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		got, ok := scrapeTimeout(http.Header{"X-Prometheus-Scrape-Timeout-Seconds": {header}})
		seconds, err := strconv.ParseFloat(header, 64)
		if want := err == nil && seconds >= 0.1; want != ok {
			t.Fatalf("%q: %v, %t", header, got, ok)
		}
		if want := time.Duration(min(seconds, 3600) * 1e9); ok && got != want {
			t.Errorf("%q is %v, want %v", header, got, want)
		}
	})
}
