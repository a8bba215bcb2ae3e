// Package client lists the API tokens of a TrueFoundry control plane.
//
// It calls the list endpoints and nothing else: other endpoints of the same
// paths create tokens or return live secrets.
package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/config"
)

// DefaultAPIPrefix is the path below which a control plane serves its API to
// the outside. Inside its cluster the service answers without it.
const DefaultAPIPrefix = "/api/svc"

// MaxPageSize is the largest page that the API grants.
const MaxPageSize = 1000

// Kind is a kind of token that the API can list.
type Kind string

// The kinds of token, as they stand in configuration and in labels.
const (
	PersonalAccessToken Kind = "personal-access-token"
	VirtualAccount      Kind = "virtual-account"
)

// endpoint is the last element of the kind's list endpoint.
func (k Kind) endpoint() string { return string(k) + "s" }

// Limiter bounds the requests under way at one control plane, whoever asks.
type Limiter struct{ slots chan struct{} }

// NewLimiter returns a Limiter that lets n requests run at a time; n must be
// positive.
func NewLimiter(n int) *Limiter { return &Limiter{slots: make(chan struct{}, n)} }

// acquire waits for a slot. It returns false when ctx ends first.
func (l *Limiter) acquire(ctx context.Context) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case l.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// size is how many requests may run at a time.
func (l *Limiter) size() int { return cap(l.slots) }

func (l *Limiter) release() { <-l.slots }

// Trace is told what a Client does. Its functions may be called concurrently; a
// nil function is not called.
type Trace struct {
	// Request is called once for each request with the status of the answer,
	// 0 where there was none, and the time until its body was read.
	Request func(status int, duration time.Duration)
	// Retry is called before each repetition of a request.
	Retry func()
}

// Config is what a Client is made of. Every field but Trace is required.
type Config struct {
	// URL is the control plane's base URL, as ParseURL returns it.
	URL *url.URL
	// APIPrefix is the path of the API below URL, as ParseAPIPrefix returns it.
	APIPrefix string
	// APIKey is asked for the key by each call of Client.Key.
	APIKey config.SecretReader
	// PageSize is the number of tokens to ask for at a time, 1 to MaxPageSize.
	PageSize int
	// Limiter is shared by all clients of one control plane.
	Limiter *Limiter
	// Transport sends the requests. Being no http.Client, it follows no
	// redirects.
	Transport http.RoundTripper
	// UserAgent is sent with each request.
	UserAgent string
	// Now is the clock.
	Now func() time.Time
	// Trace observes the requests.
	Trace Trace
}

// Client lists the tokens of one control plane that one API key can see. It is
// safe for concurrent use.
type Client struct {
	cfg Config

	mu          sync.Mutex
	bannedUntil time.Time
}

// New returns a Client for cfg.
func New(cfg Config) *Client {
	if cfg.Trace.Request == nil {
		cfg.Trace.Request = func(int, time.Duration) {}
	}
	if cfg.Trace.Retry == nil {
		cfg.Trace.Retry = func() {}
	}
	return &Client{cfg: cfg}
}

// ParseURL reads the base URL of a control plane. Its errors do not repeat
// credentials that the URL may hold.
func ParseURL(text string) (*url.URL, error) {
	const example = "https://example.truefoundry.cloud"
	u, err := url.Parse(text)
	if err != nil {
		// url.Error repeats the text, which may hold a password.
		return nil, errors.New("is no URL; it should look like " + example)
	}
	plain := url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/"), RawPath: strings.TrimRight(u.RawPath, "/")}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", !utf8.ValidString(u.Host):
		return nil, errors.New("must be absolute, with https:// or http://; it should look like " + example)
	case u.User != nil:
		return nil, fmt.Errorf("must not hold a user or a password; use %s", &plain)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("must not have a query or a fragment; use %s", &plain)
	}
	return &plain, nil
}

// ParseAPIPrefix reads the path of the API below a control plane's URL. It is
// strict, since a path that leads elsewhere may do more than list.
func ParseAPIPrefix(text string) (string, error) {
	prefix := strings.TrimRight(text, "/")
	if text == "" || strings.HasPrefix(text, "/") && path.Clean("/"+prefix) == "/"+strings.TrimPrefix(prefix, "/") && !strings.ContainsFunc(prefix, notPlain) {
		return prefix, nil
	}
	return "", fmt.Errorf("%q must be empty or a plain path like %s", text, DefaultAPIPrefix)
}

// notPlain tells the characters that mean something in a URL, or are not ASCII.
func notPlain(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`?#%\`, r) }

// ControlPlane names the control plane at u: its URL without the scheme.
func ControlPlane(u *url.URL) string { return u.Host + u.EscapedPath() }

// banned returns until when the control plane has asked to be left alone, and
// whether that is still ahead.
func (c *Client) banned() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bannedUntil, c.cfg.Now().Before(c.bannedUntil)
}

// ban remembers that the control plane wants no requests for a while.
func (c *Client) ban(wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	until := c.cfg.Now().Add(min(wait, maxBan))
	if until.After(c.bannedUntil) {
		c.bannedUntil = until
	}
}
