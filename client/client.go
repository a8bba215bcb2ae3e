// Package client lists the API tokens of a TrueFoundry control plane.
//
// It calls the list endpoints and nothing else: other endpoints of the same
// paths create tokens or return live secrets.
package client

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
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

// Kinds returns every Kind.
func Kinds() []Kind { return []Kind{PersonalAccessToken, VirtualAccount} }

// endpoint is the last element of the kind's list endpoint.
func (k Kind) endpoint() string { return string(k) + "s" }

// The schemes of the header Authorization.
const (
	SchemeBearer = "Bearer"
	SchemeBasic  = "Basic"
)

// Limiter bounds the requests under way at one control plane, and the pages that
// are held, whoever asks.
type Limiter struct{ requests, pages chan struct{} }

// NewLimiter returns a Limiter that lets n requests run at a time, and as many
// pages again be decoded meanwhile; n must be positive.
func NewLimiter(n int) *Limiter {
	return &Limiter{requests: make(chan struct{}, n), pages: make(chan struct{}, 2*n)}
}

// acquire waits until a page may be asked for. It returns false when ctx ends
// first; else received and decoded have to be called.
func (l *Limiter) acquire(ctx context.Context) bool {
	if !enter(ctx, l.pages) {
		return false
	}
	if !enter(ctx, l.requests) {
		l.decoded()
		return false
	}
	return true
}

func enter(ctx context.Context, slots chan<- struct{}) bool {
	if ctx.Err() != nil {
		return false
	}
	select {
	case slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// received lets the next request run.
func (l *Limiter) received() { <-l.requests }

// decoded lets the next page be held.
func (l *Limiter) decoded() { <-l.pages }

// ahead is how many pages may be held at a time.
func (l *Limiter) ahead() int { return cap(l.pages) }

// Trace is told what a Client does. Its functions may be called concurrently; a
// nil function is not called.
type Trace struct {
	// Request is called once for each request with the status of the answer,
	// 0 where there was none, and the time until its body was read.
	Request func(status int, duration time.Duration)
	// Retry is called before each repetition of a request.
	Retry func()
}

// Ban remembers that a control plane wants no requests for a while. Its zero
// value is no ban.
type Ban struct {
	mu    sync.Mutex
	until time.Time
}

// lasts returns until when the control plane has asked to be left alone, and
// whether that is still ahead at now.
func (b *Ban) lasts(now time.Time) (time.Time, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until, now.Before(b.until)
}

// extend moves the ban's end, never to an earlier time.
func (b *Ban) extend(until time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if until.After(b.until) {
		b.until = until
	}
}

// Config is what a Client is made of. Every field is required, unless it says
// otherwise.
type Config struct {
	// URL is the control plane's base URL, as ParseURL returns it.
	URL *url.URL
	// APIPrefix is the path of the API below URL, as ParseAPIPrefix returns it.
	APIPrefix string
	// APIKey is asked for the key by each call of Client.Key. Where it fails with
	// an *Error, that is the error of the listing.
	APIKey config.SecretReader
	// Scheme stands before the key in the header Authorization. Empty, it is
	// SchemeBearer.
	Scheme string
	// Renewed tells that the key is replaced by itself before it ends, as an
	// OAuth2 access token is. Its expiry is of no interest then.
	Renewed bool
	// PageSize is the number of tokens to ask for at a time, 1 to MaxPageSize.
	PageSize int
	// Refused is called where the answer is 401, whoever gave it: the key may have
	// ended. It may be left out.
	Refused func()
	// Discreet keeps what the control plane says out of errors, and out of
	// SecretStoreSync: requests have
	// secrets that the Client does not know, and answers may repeat them.
	Discreet bool
	// Secrets returns what else of the requests is secret. It is called where one
	// has failed, since the error may repeat it. It may be left out.
	Secrets func() []string
	// Limiter is shared by all clients of one control plane.
	Limiter *Limiter
	// Ban is shared by the clients that follow each other when a configuration
	// changes. Where it is nil, the Client has one of its own.
	Ban *Ban
	// Transport sends the requests. Being no http.Client, it follows no
	// redirects.
	Transport http.RoundTripper
	// UserAgent is sent with each request.
	UserAgent string
	// Now is the clock.
	Now func() time.Time
	// Trace observes the requests. It may be left out.
	Trace Trace
}

// Client lists the tokens of one control plane that one API key can see. It is
// safe for concurrent use.
type Client struct {
	cfg Config
	// heads are buffers for the first part of an answer, to be used again.
	heads sync.Pool
}

// New returns a Client for cfg.
func New(cfg Config) *Client {
	if cfg.Trace.Request == nil {
		cfg.Trace.Request = func(int, time.Duration) {}
	}
	if cfg.Trace.Retry == nil {
		cfg.Trace.Retry = func() {}
	}
	if cfg.Ban == nil {
		cfg.Ban = new(Ban)
	}
	if cfg.Secrets == nil {
		cfg.Secrets = func() []string { return nil }
	}
	if cfg.Refused == nil {
		cfg.Refused = func() {}
	}
	cfg.Scheme = cmp.Or(cfg.Scheme, SchemeBearer)
	return &Client{cfg: cfg, heads: sync.Pool{New: func() any { return new(bytes.Buffer) }}}
}

// ParseURL reads the base URL of a control plane. Its errors do not repeat the
// text, which may hold credentials.
func ParseURL(text string) (*url.URL, error) {
	const example = "https://example.truefoundry.cloud"
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is no URL; it should look like " + example)
	}
	plain := url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/"), RawPath: strings.TrimRight(u.RawPath, "/")}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", !utf8.ValidString(u.Host), !validPort(u.Port()):
		return nil, errors.New("must be absolute, with https:// or http://; it should look like " + example)
	case u.User != nil:
		return nil, errors.New("must not hold a user or a password; leave them out, as in " + example)
	case strings.ContainsFunc(u.Hostname(), notOfHost):
		return nil, errors.New("has a character in its host that no name or address has; it should look like " + example)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("must not have a query or a fragment; leave them out, as in " + example)
	}
	return &plain, nil
}

// notOfHost tells the ASCII characters that are in no host's name or address.
func notOfHost(r rune) bool {
	return r < utf8.RuneSelf && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._:%", r)
}

// validPort tells whether text is the number of a port, or empty.
func validPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && port > 0
}

// ParseAPIPrefix reads the path of the API below a control plane's URL. It is
// strict, since a path that leads elsewhere may do more than list.
func ParseAPIPrefix(text string) (string, error) {
	prefix := strings.TrimRight(text, "/")
	if text == "" || strings.HasPrefix(text, "/") && path.Clean("/"+prefix) == "/"+strings.TrimPrefix(prefix, "/") && !strings.ContainsFunc(prefix, notPlain) {
		return prefix, nil
	}
	return "", errors.New("must be empty or a plain path like " + DefaultAPIPrefix)
}

// notPlain tells the characters that mean something in a URL, or are not ASCII.
func notPlain(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`?#%\`, r) }

// ControlPlane names the control plane at u: its URL without the scheme.
func ControlPlane(u *url.URL) string { return u.Host + u.EscapedPath() }
