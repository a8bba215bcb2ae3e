// Package connect makes the targets of a collector from their configuration: it
// provides their credentials and connections.
package connect

import (
	"cmp"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
)

// Settings are common to all targets. Logger is required; the other fields have the
// defaults of client.Config.
type Settings struct {
	// PageSize, MaxTokens, UserAgent and Now are those of client.Config.
	PageSize, MaxTokens int
	UserAgent           string
	Now                 func() time.Time
	// MaxConcurrency bounds the concurrent requests to one control plane, which is
	// identified by its host and port. If it is 0, it is client.DefaultConcurrency.
	MaxConcurrency int
	Logger         log.Logger
}

// Set is the set of a collector's targets.
type Set struct {
	collector *collector.Collector
	settings  Settings

	mu       sync.Mutex
	limiters map[string]*client.Limiter
	targets  []connected
}

// connected is a target with its connections.
type connected struct {
	collector.Target
	transports []*transport
}

// NewSet returns the empty set of the targets of c.
func NewSet(c *collector.Collector, settings Settings) *Set {
	settings.MaxConcurrency = cmp.Or(settings.MaxConcurrency, client.DefaultConcurrency)
	return &Set{collector: c, settings: settings}
}

// Replace replaces the collector's targets. Scrapes that have begun finish with those
// of before, whose connections are closed after that.
func (s *Set) Replace(targets []config.Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, limiters := s.targets, map[string]*client.Limiter{}
	known := map[string]string{}
	for i := range before {
		known[before[i].Name] = before[i].Identity
	}
	s.targets = nil
	var all []collector.Target
	for i := range targets {
		target := &targets[i]
		host := hostOf(target)
		limiters[host] = cmp.Or(limiters[host], s.limiters[host])
		if limiters[host] == nil {
			limiters[host] = client.NewLimiter(s.settings.MaxConcurrency)
		}
		made := s.connect(target, limiters[host])
		s.targets, all = append(s.targets, made), append(all, made.Target)
		if known[target.Name] != made.Identity {
			level.Info(s.settings.Logger).Log("msg", "listing at each scrape", "target", target.Name, "url", target.URL, "api_prefix", target.APIPrefix,
				"kinds", fmt.Sprint(target.Kinds), "api_key", made.Client.Credentials)
		}
	}
	s.limiters = limiters
	if err := s.collector.Set(all...); err != nil {
		level.Error(s.settings.Logger).Log("msg", "targets cannot be listed", "err", err)
	}
	for _, target := range before {
		for _, t := range target.transports {
			t.retire()
		}
	}
}

// Close closes the connections of the targets.
func (s *Set) Close() { s.Replace(nil) }

// connect makes a target.
func (s *Set) connect(target *config.Target, limiter *client.Limiter) connected {
	credentials, endpoint := newCredentials(&target.Credentials)
	made := connected{transports: []*transport{newTransport(target.HTTP)}}
	if endpoint != nil {
		made.transports = append(made.transports, endpoint)
	}
	made.Target = collector.Target{
		Name:        target.Name,
		Kinds:       target.Kinds,
		APIKeyToken: target.APIKeyToken,
		// It tells the target's control plane and API key from others, without the key.
		Identity: fmt.Sprintf("%s%s %s %q", target.URL, target.APIPrefix, credentials, target.APIKeyToken),
		Client: client.Config{
			URL:         target.URL,
			APIPrefix:   target.APIPrefix,
			Credentials: credentials,
			PageSize:    s.settings.PageSize,
			MaxTokens:   s.settings.MaxTokens,
			Limiter:     limiter,
			Transport:   made.transports[0],
			UserAgent:   s.settings.UserAgent,
			Now:         s.settings.Now,
		},
	}
	return made
}

// hostOf identifies the server of the control plane, however its URL is written.
func hostOf(target *config.Target) string {
	port := target.URL.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[target.URL.Scheme]
	}
	return net.JoinHostPort(strings.TrimSuffix(strings.ToLower(target.URL.Hostname()), "."), port)
}
