// Package targets makes the targets that a collector lists from what users
// configure, and replaces them when that changes.
package targets

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
)

// Target is a control plane to be asked with one API key, as it was configured.
type Target struct {
	// Name is the value of the label target.
	Name string
	// URL and APIPrefix are where the control plane has its API.
	URL       *url.URL
	APIPrefix string
	// Kinds are the kinds of token to list.
	Kinds []client.Kind
	// APIKeyToken is the name of the listed token that the API key belongs to.
	// It may be empty.
	APIKeyToken string
	// APIKey, Scheme and Renewed are those of the client.Config.
	APIKey  config.SecretReader
	Scheme  string
	Renewed bool
	// HTTP is how to connect. What it says of credentials is not heeded.
	HTTP config.HTTPClientConfig
}

// DefaultHTTP is how to connect where nothing is configured.
func DefaultHTTP() config.HTTPClientConfig {
	cfg := config.DefaultHTTPClientConfig
	cfg.FollowRedirects = false
	cfg.ProxyFromEnvironment = true
	return cfg
}

// CheckName refuses names of targets that nobody could read in a label or a log.
func CheckName(name string) error {
	const longest = 100
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(name) > longest || strings.ContainsFunc(name, hidden) || strings.TrimSpace(name) != name || !utf8.ValidString(name) {
		return fmt.Errorf("must be at most %d bytes of UTF-8, without control characters and without blanks around it", longest)
	}
	return nil
}

// CheckURL refuses a URL that has the API's prefix in it already.
func CheckURL(u *url.URL, apiPrefix string) error {
	if apiPrefix != "" && (strings.HasSuffix(u.Path, apiPrefix) || strings.Contains(u.Path, apiPrefix+"/v1")) {
		return errors.New("leave out " + apiPrefix + ", which the API prefix adds")
	}
	return nil
}

// CheckKinds refuses kinds that do not exist, kinds that repeat, and none.
func CheckKinds(kinds []client.Kind) error {
	all := client.Kinds()
	for i, kind := range kinds {
		if !slices.Contains(all, kind) || slices.Contains(kinds[:i], kind) {
			return fmt.Errorf("each must be %s or %s, and not repeat", all[0], all[1])
		}
	}
	if len(kinds) == 0 {
		return fmt.Errorf("must have %s or %s", all[0], all[1])
	}
	return nil
}

// Opaque tells whether nothing will tell when the target's key ends.
func (t *Target) Opaque(key client.Key) bool {
	return key.Expiry.IsZero() && t.APIKeyToken == "" && !t.Renewed && t.Scheme != client.SchemeBasic
}

// identity tells the target's control plane and API key from others, without
// the key.
func (t *Target) identity() string {
	return fmt.Sprintf("%s%s %s %q", t.URL, t.APIPrefix, t.APIKey.Description(), t.APIKeyToken)
}

// host names the server of the control plane, however its URL is written.
func (t *Target) host() string {
	port := t.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[t.URL.Scheme]
	}
	return net.JoinHostPort(strings.TrimSuffix(strings.ToLower(t.URL.Hostname()), "."), port)
}

// make makes the collector's target.
func (s *Settings) make(t *Target, limiter *client.Limiter) collector.Target {
	connection := newConnection(t.HTTP)
	var transport http.RoundTripper = connection
	if s.WrapTransport != nil {
		transport = s.WrapTransport(connection)
	}
	made := collector.Target{
		Name: t.Name, Kinds: t.Kinds, APIKeyToken: t.APIKeyToken, Identity: t.identity(),
		Client: client.Config{
			URL: t.URL, APIPrefix: t.APIPrefix, APIKey: t.APIKey, Scheme: t.Scheme, Renewed: t.Renewed,
			Discreet: t.HTTP.HTTPHeaders != nil, PageSize: s.PageSize, Limiter: limiter,
			Transport: transport, Secrets: connection.secrets, UserAgent: s.UserAgent, Now: s.Now,
		},
	}
	if token, ok := t.APIKey.(*oauth2Token); ok {
		made.Client.Refused = token.forget
	}
	return made
}

// Settings are the same for all targets.
type Settings struct {
	// PageSize and UserAgent are those of the client.Config.
	PageSize  int
	UserAgent string
	// MaxConcurrency bounds the requests at a time to one control plane, which is
	// known by its host and port.
	MaxConcurrency int
	// Now is the clock.
	Now    func() time.Time
	Logger log.Logger
	// WrapTransport is called for each target, in their order, to see what its
	// transport does. It may be nil. What it returns has CloseIdleConnections, too.
	WrapTransport func(http.RoundTripper) http.RoundTripper
}

// Set is the set of a collector's targets.
type Set struct {
	collector *collector.Collector
	settings  Settings

	mu       sync.Mutex
	limiters map[string]*client.Limiter
	targets  []collector.Target
}

// NewSet returns the empty set of the targets of c.
func NewSet(c *collector.Collector, settings Settings) *Set {
	return &Set{collector: c, settings: settings}
}

// Replace makes targets those of the collector. Scrapes that are under way
// finish with the ones before, whose connections are closed after that.
func (s *Set) Replace(targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, limiters := s.targets, map[string]*client.Limiter{}
	known := map[string]string{}
	for i := range before {
		known[before[i].Name] = before[i].Identity
	}
	s.targets = nil
	for i := range targets {
		t := &targets[i]
		host := t.host()
		limiter := cmp.Or(limiters[host], s.limiters[host])
		if limiter == nil {
			limiter = client.NewLimiter(s.settings.MaxConcurrency)
		}
		limiters[host] = limiter
		made := s.settings.make(t, limiter)
		s.targets = append(s.targets, made)
		if known[t.Name] != made.Identity {
			level.Info(s.settings.Logger).Log("msg", "listing at each scrape", "target", t.Name, "url", t.URL, "api_prefix", t.APIPrefix,
				"kinds", fmt.Sprint(t.Kinds), "api_key", t.APIKey.Description())
		}
	}
	s.limiters = limiters
	s.collector.Set(s.targets...)
	closeIdle(before)
}

// Close closes the connections of the targets.
func (s *Set) Close() { s.Replace(nil) }

// closeIdle closes the connections of the targets that are idle, and each of the
// others as soon as it is.
func closeIdle(targets []collector.Target) {
	type idler interface{ CloseIdleConnections() }
	for _, t := range targets {
		for _, part := range []any{t.Client.Transport, t.Client.APIKey} {
			if i, ok := part.(idler); ok {
				i.CloseIdleConnections()
			}
		}
	}
}
