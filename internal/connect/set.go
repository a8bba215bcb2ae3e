// Package connect provides the targets of a collector with credentials and connections,
// as configured.
package connect

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
)

// Settings are the settings that all targets share. Logger is required; the defaults of
// the other fields are the ones of client.Config.
type Settings struct {
	// PageSize, MaxTokens, UserAgent and Now are passed to client.Config.
	PageSize, MaxTokens int
	UserAgent           string
	Now                 func() time.Time
	// MaxConcurrency limits concurrent requests to one host and port. The default is
	// client.DefaultConcurrency.
	MaxConcurrency int
	Logger         log.Logger
	// WrapTransport wraps the transport of each target, in the order of the targets. It
	// may be nil.
	WrapTransport func(http.RoundTripper) http.RoundTripper
}

// Set manages the targets of a collector.
type Set struct {
	collector *collector.Collector
	settings  Settings

	mu       sync.Mutex
	limiters map[string]*client.Limiter // by host and port
	targets  []connectedTarget
}

// connectedTarget is a target with its connections.
type connectedTarget struct {
	collector.Target
	connections
}

// connections are the transports of a target and its credentials, which may use one.
type connections struct {
	credentials client.Credentials
	transports  []*transport // the first one is used for the API
}

func newConnections(target *config.Target) connections {
	credentials, endpoint := newCredentials(&target.Credentials)
	c := connections{credentials, []*transport{newTransport(target.HTTP)}}
	if endpoint != nil {
		c.transports = append(c.transports, endpoint)
	}
	return c
}

// NewSet returns an empty set of targets of c.
func NewSet(c *collector.Collector, settings Settings) *Set {
	settings.MaxConcurrency = cmp.Or(settings.MaxConcurrency, client.DefaultConcurrency)
	return &Set{collector: c, settings: settings}
}

// Replace replaces the targets of the collector. Scrapes in flight finish with the
// previous targets, whose connections are closed when they become idle.
func (s *Set) Replace(targets []config.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	previous := s.targets
	identities := map[string]string{}
	for _, target := range previous {
		identities[target.Name] = target.Identity
	}
	limiters := map[string]*client.Limiter{}
	s.targets = nil
	var next []collector.Target
	for i := range targets {
		cfg := &targets[i]
		host := hostPort(cfg.URL)
		limiters[host] = cmp.Or(limiters[host], s.limiters[host])
		if limiters[host] == nil {
			limiters[host] = client.NewLimiter(s.settings.MaxConcurrency)
		}
		target := s.connect(cfg, limiters[host])
		s.targets, next = append(s.targets, target), append(next, target.Target)
		if identities[target.Name] != target.Identity {
			level.Info(s.settings.Logger).Log("msg", "listing at each scrape", "target", cfg.Name, "url", cfg.URL, "api_prefix", cfg.APIPrefix,
				"kinds", fmt.Sprint(cfg.Kinds), "api_key", target.credentials)
		}
	}
	s.limiters = limiters
	if err := s.collector.Set(next...); err != nil {
		level.Error(s.settings.Logger).Log("msg", "targets cannot be listed", "err", err)
	}
	for _, target := range previous {
		for _, t := range target.transports {
			t.retire()
		}
	}
}

// Close removes all targets and closes their connections.
func (s *Set) Close() { s.Replace(nil) }

// connect returns a target with its connections.
func (s *Set) connect(cfg *config.Target, limiter *client.Limiter) connectedTarget {
	c := newConnections(cfg)
	var transport http.RoundTripper = c.transports[0]
	if s.settings.WrapTransport != nil {
		transport = s.settings.WrapTransport(transport)
	}
	return connectedTarget{connections: c, Target: collector.Target{
		Name:        cfg.Name,
		Kinds:       cfg.Kinds,
		APIKeyToken: cfg.APIKeyToken,
		Identity:    fmt.Sprintf("%s%s %s %q", cfg.URL, cfg.APIPrefix, c.credentials, cfg.APIKeyToken),
		Client: client.Config{
			URL:         cfg.URL,
			APIPrefix:   cfg.APIPrefix,
			Credentials: c.credentials,
			PageSize:    s.settings.PageSize,
			MaxTokens:   s.settings.MaxTokens,
			Limiter:     limiter,
			Transport:   transport,
			UserAgent:   s.settings.UserAgent,
			Now:         s.settings.Now,
		},
	}}
}

// hostPort returns the normalized host and port of a URL.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), port)
}
