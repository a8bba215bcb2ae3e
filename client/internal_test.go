package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestABodyAboveTheLimitIsAnError(t *testing.T) {
	const page = `{ "meta": {"a": 1}, "data": [{"id":"a","x":"y"}, {"id":"b","name":5} ], "pagination": {"total": 2} } `
	for left := range len(page) + 2 {
		p, err := decodePage(&limitedReader{ctx: t.Context(), r: strings.NewReader(page), left: left}, 0, DefaultMaxTokens)
		switch {
		case left <= len(page):
			if !errors.Is(err, errBodyTooLarge) {
				t.Errorf("limited to %d of %d bytes: %v", left, len(page), err)
			}
		case err != nil:
			t.Error(err)
		case p.length != 2 || p.total != 2:
			t.Errorf("page is %+v", p)
		}
	}
}

// roundTripFunc is a function that is an http.RoundTripper.
type roundTripFunc func(*http.Request) (*http.Response, error)

func (f roundTripFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestDecodingStopsWhenTheContextEnds(t *testing.T) {
	response := roundTripFunc(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"data":[{"id":"a"}]}`))}, nil
	})
	c, err := New(Config{URL: &url.URL{Scheme: "http", Host: "acme.example"}, PageSize: 1, Transport: response, Credentials: StaticKey("key", "test")})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	// This is called after the page was received and before it is decoded.
	c.cfg.Trace.Request = func(int, time.Duration) { cancel() }
	slot := c.cfg.Limiter.acquire(ctx)
	defer slot.release()
	_, failure := c.get(ctx, pageRequest{kind: VirtualAccount, maxItems: 1}, slot)
	if failure == nil || !failure.Canceled() {
		t.Errorf("the error is %v", failure)
	}
}

// The time per token hardly grows with the number of tokens, even if all have the same
// name.
func BenchmarkMarkReplaced(b *testing.B) {
	issued := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, n := range []int{1000, 10_000, 100_000} {
		for name, nameOf := range map[string]func(i int) string{
			"with different names": func(i int) string { return fmt.Sprintf("pipeline-%06d", i) },
			"with the same name":   func(int) string { return "ci" },
		} {
			b.Run(fmt.Sprintf("%d tokens %s", n, name), func(b *testing.B) {
				tokens := make([]Token, n)
				for i := range tokens {
					at := issued.Add(time.Duration(i*7919%n) * time.Minute)
					tokens[i] = Token{
						ID: strconv.Itoa(i), Name: nameOf(i), Tenant: "acme", Creator: Subject{ID: fmt.Sprintf("user-%02d", i%50)},
						Issued: at, Expiry: Expiry{Readable: true, At: at.AddDate(0, 3, 0)},
					}
				}
				b.ReportAllocs()
				for b.Loop() {
					markReplaced(tokens)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/token")
			})
		}
	}
}
