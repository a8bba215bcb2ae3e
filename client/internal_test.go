package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestTheLimitIsNoEndOfTheBody(t *testing.T) {
	const page = `{ "meta": {"a": 1}, "data": [{"id":"a","x":"y"}, {"id":"b","name":5} ], "pagination": {"total": 2} } `
	for left := range len(page) + 2 {
		p, err := decodePage(&limitedReader{ctx: t.Context(), from: strings.NewReader(page), left: left}, 0)
		switch {
		case left <= len(page):
			if !errors.Is(err, errTooLarge) {
				t.Errorf("limited to %d of %d bytes: %v", left, len(page), err)
			}
		case err != nil:
			t.Error(err)
		case p.length != 2 || p.total != 2:
			t.Errorf("page is %+v", p)
		}
	}
}

// roundTrip is an http.RoundTripper.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestDecodingEndsWithTheScrape(t *testing.T) {
	answer := roundTrip(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(`{"data":[{"id":"a"}]}`))}, nil
	})
	c := New(Config{URL: &url.URL{Scheme: "http", Host: "acme.example"}, PageSize: 1, Transport: answer, Now: time.Now})
	ctx, cancel := context.WithCancel(t.Context())
	// The page is here as a whole then, and nothing of it is decoded.
	_, err := c.get(ctx, Key{secret: "s"}, VirtualAccount, 0, cancel)
	if err == nil || !err.Canceled() {
		t.Errorf("the error is %v", err)
	}
}
