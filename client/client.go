// Package client lists the API tokens of a TrueFoundry control plane.
//
// It calls the list endpoints and nothing else: other endpoints of the same
// paths create tokens or return live secrets.
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
	// DefaultAPIPrefix is the path below which a control plane serves its API to
	// the outside. Inside its cluster, the service is reached with NoAPIPrefix.
	DefaultAPIPrefix = "/api/svc"
	// DefaultMaxTokens is how many items a list may have.
	DefaultMaxTokens = 100_000
	// DefaultConcurrency is how many requests run at the same time.
	DefaultConcurrency = 4
)

// NoAPIPrefix is the API prefix of a control plane that serves its API at the
// root of its URL.
const NoAPIPrefix = "/"

// MaxPageSize is the largest page that the API grants.
const MaxPageSize = 1000

// Kind is a kind of token that the API can list.
type Kind string

// The kinds of token, as they are written in configuration and in labels.
const (
	PersonalAccessToken Kind = "personal-access-token"
	VirtualAccount      Kind = "virtual-account"
)

// Kinds returns every Kind.
func Kinds() []Kind { return []Kind{PersonalAccessToken, VirtualAccount} }

// endpoint is the last element of the path of the kind's list endpoint.
func (k Kind) endpoint() string { return string(k) + "s" }

// Trace holds callbacks that observe the requests of a Client. They may be called
// concurrently. A nil callback is not called.
type Trace struct {
	// Request is called once for each request, with the status of the response (0
	// if there was none) and the time until its body was read.
	Request func(status int, duration time.Duration)
	// Retry is called before a request is repeated.
	Retry func()
}

// Config describes a Client. URL and Credentials are required; the other fields
// have defaults.
type Config struct {
	// URL is the base URL of the control plane, as ParseURL returns it.
	URL *url.URL
	// Credentials provide the API key.
	Credentials Credentials
	// APIPrefix is the path of the API below URL, as ParseAPIPrefix returns it. If
	// it is empty, it is DefaultAPIPrefix.
	APIPrefix string
	// PageSize is the number of items to ask for in each request, from 1 to
	// MaxPageSize. If it is 0, it is MaxPageSize.
	PageSize int
	// MaxTokens is the number of items up to which a list is read, including
	// duplicates and items that cannot be read. If it is 0, it is DefaultMaxTokens.
	MaxTokens int
	// Limiter bounds the concurrent requests of all clients that share it, which
	// should be those of one control plane. If it is nil, the Client has one of its
	// own, for DefaultConcurrency requests.
	Limiter *Limiter
	// State is what earlier clients of the same target have learned about the
	// control plane. If it is nil, the Client starts with an empty one.
	State *State
	// Transport sends the requests. If it is nil, it is http.DefaultTransport.
	// Redirects are not followed.
	Transport http.RoundTripper
	// UserAgent is sent with each request. If it is empty, it is
	// "truefoundry_exporter".
	UserAgent string
	// Now is the clock. If it is nil, it is time.Now.
	Now func() time.Time
	// Trace observes the requests.
	Trace Trace
}

// Client lists the tokens of one control plane that one API key can see. It is
// safe for concurrent use.
type Client struct {
	cfg Config
	// buffers are reused for the beginnings of responses.
	buffers sync.Pool
}

// New returns a Client. The error says which field of cfg is missing or wrong.
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
