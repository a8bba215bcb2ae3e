// Package client lists the API tokens of a TrueFoundry control plane.
//
// It calls the list endpoints only: other endpoints below the same paths create tokens
// or return their secrets.
package client

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Defaults of a Config.
const (
	// DefaultAPIPrefix is the path of a control plane's public API. The service inside
	// its cluster has NoAPIPrefix.
	DefaultAPIPrefix = "/api/svc"
	// DefaultMaxTokens is the maximum number of items in a list.
	DefaultMaxTokens = 100_000
	// DefaultConcurrency is the maximum number of concurrent requests.
	DefaultConcurrency = 4
)

// NoAPIPrefix is the prefix of an API at the root of the URL.
const NoAPIPrefix = "/"

// MaxPageSize is the largest page size that the API allows.
const MaxPageSize = 1000

// Kind is a kind of token that the API lists.
type Kind string

// The kinds of token, as in the configuration and in labels.
const (
	PersonalAccessToken Kind = "personal-access-token"
	VirtualAccount      Kind = "virtual-account"
)

// Kinds returns every Kind.
func Kinds() []Kind { return []Kind{PersonalAccessToken, VirtualAccount} }

// endpoint returns the last path element of the kind's list endpoint.
func (k Kind) endpoint() string { return string(k) + "s" }

// Trace holds callbacks that observe the requests of a Client. They may be called
// concurrently. A nil callback is not called.
type Trace struct {
	// Request is called once per request, with the status of the response (0 if there
	// was none) and the time until its body was received.
	Request func(status int, duration time.Duration)
	// Retry is called before a request is retried.
	Retry func()
}

// Config configures a Client. URL and Credentials are required.
type Config struct {
	// URL is the base URL of the control plane, as returned by ParseURL.
	URL *url.URL
	// Credentials provide the API key.
	Credentials Credentials
	// APIPrefix is the path of the API below URL, as returned by ParseAPIPrefix. The
	// default is DefaultAPIPrefix.
	APIPrefix string
	// PageSize is the number of items to request per page, from 1 to MaxPageSize. The
	// default is MaxPageSize.
	PageSize int
	// MaxTokens is the maximum number of items in a list, including duplicates and
	// invalid items. Longer lists fail with ReasonTooLarge. The default is
	// DefaultMaxTokens.
	MaxTokens int
	// Limiter limits the concurrent requests of all clients that share it. Clients of
	// the same control plane should share one. The default is a new Limiter for
	// DefaultConcurrency requests.
	Limiter *Limiter
	// State is the state of an earlier client of the same target. The default is an
	// empty State.
	State *State
	// Transport sends the requests. Redirects are not followed. The default is
	// http.DefaultTransport.
	Transport http.RoundTripper
	// UserAgent is sent with each request. The default is "truefoundry_exporter".
	UserAgent string
	// Now returns the current time. The default is time.Now.
	Now func() time.Time
	// Trace observes the requests.
	Trace Trace
}

// Client lists the tokens of one control plane that are visible to one API key. It is
// safe for concurrent use.
type Client struct {
	cfg Config
	// buffers are reused to receive responses.
	buffers sync.Pool
}

// New returns a Client. It returns an error that names the field if one is missing or
// invalid.
func New(cfg Config) (*Client, error) {
	switch {
	case cfg.URL == nil:
		return nil, errors.New("the client needs the URL of a control plane")
	case cfg.Credentials == nil:
		return nil, errors.New("the client needs credentials")
	case cfg.PageSize < 0 || cfg.PageSize > MaxPageSize:
		return nil, fmt.Errorf("the page size is %d and must be 1 to %d", cfg.PageSize, MaxPageSize)
	case cfg.MaxTokens < 0:
		return nil, fmt.Errorf("the maximum number of tokens is %d and must be positive", cfg.MaxTokens)
	}
	cfg.APIPrefix = cmp.Or(cfg.APIPrefix, DefaultAPIPrefix)
	cfg.PageSize = cmp.Or(cfg.PageSize, MaxPageSize)
	cfg.MaxTokens = cmp.Or(cfg.MaxTokens, DefaultMaxTokens)
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "truefoundry_exporter")
	if cfg.Limiter == nil {
		cfg.Limiter = NewLimiter(DefaultConcurrency)
	}
	if cfg.State == nil {
		cfg.State = new(State)
	}
	if cfg.Transport == nil {
		cfg.Transport = http.DefaultTransport
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Trace.Request == nil {
		cfg.Trace.Request = func(int, time.Duration) {}
	}
	if cfg.Trace.Retry == nil {
		cfg.Trace.Retry = func() {}
	}
	return &Client{cfg: cfg, buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }}}, nil
}
