// Package collector turns the tokens of TrueFoundry control planes, listed anew
// for each scrape, into Prometheus metrics.
package collector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// CreatorLabel is what the label creator holds.
type CreatorLabel string

// The choices for the label creator.
const (
	// CreatorSlug is the creator's slug (the e-mail address of a user), or the
	// next best of what the API calls the creator: client.Subject's Name.
	CreatorSlug CreatorLabel = "slug"
	// CreatorID is the creator's id and nothing else, for those who may not
	// store e-mail addresses.
	CreatorID CreatorLabel = "id"
)

// DefaultTimeout is the Timeout of Options that have none.
const DefaultTimeout = time.Minute

// Options configure a Collector. The zero value is usable.
type Options struct {
	// CreatorLabel is CreatorSlug by default.
	CreatorLabel CreatorLabel
	// Timeout limits how long the listings of a scrape may take, whatever deadline
	// its context has. It is DefaultTimeout by default.
	Timeout time.Duration
	// Logger logs when listings begin to fail and when they work again. By default
	// nothing is logged.
	Logger log.Logger
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Collector lists all tokens of all targets each time it is asked, and keeps
// none of them. It is safe for concurrent use.
type Collector struct {
	opts Options
	// targets are replaced as a whole. Scrapes under way keep the ones they have.
	targets atomic.Pointer[[]*target]

	mu     sync.Mutex
	states map[targetID]*targetState
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns a Collector for the targets. It fails if an option is invalid, and
// where Set does.
func New(opts Options, targets ...Target) (*Collector, error) {
	opts.CreatorLabel = cmp.Or(opts.CreatorLabel, CreatorSlug)
	opts.Timeout = cmp.Or(opts.Timeout, DefaultTimeout)
	if opts.Logger == nil {
		opts.Logger = log.NewNopLogger()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	switch {
	case opts.CreatorLabel != CreatorSlug && opts.CreatorLabel != CreatorID:
		return nil, fmt.Errorf("unknown CreatorLabel %q", opts.CreatorLabel)
	case opts.Timeout < 0:
		return nil, fmt.Errorf("negative Timeout %v", opts.Timeout)
	}
	c := &Collector{opts: opts}
	if err := c.Set(targets...); err != nil {
		return nil, err
	}
	return c, nil
}

// Timeout returns the Timeout of the Options.
func (c *Collector) Timeout() time.Duration { return c.opts.Timeout }

// Set replaces the targets. Scrapes under way go on with the targets that they
// began with. The counters and the status of a target survive while there is a
// target of its name and control plane. Set fails, and replaces nothing, if a
// target lacks something or two of them have the same name.
func (c *Collector) Set(targets ...Target) error {
	names := map[string]bool{}
	for i := range targets {
		t := &targets[i]
		if err := t.check(); err != nil {
			return fmt.Errorf("target %q: %w", t.Name, err)
		}
		if names[t.Name] {
			return fmt.Errorf("there are two targets %q", t.Name)
		}
		names[t.Name] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next, states := make([]*target, len(targets)), map[targetID]*targetState{}
	for i, cfg := range targets {
		id := targetID{cfg.Name, client.ControlPlane(cfg.Client.URL)}
		state := c.states[id]
		if state == nil {
			state = newTargetState(id)
		}
		states[id] = state
		var err error
		if next[i], err = newTarget(cfg, state, &c.opts); err != nil {
			return fmt.Errorf("target %q: %w", cfg.Name, err)
		}
	}
	c.targets.Store(&next)
	c.states = states
	return nil
}

func (t *Target) check() error {
	switch {
	case t.Name == "" || !utf8.ValidString(t.Name):
		return errors.New("the Name must be UTF-8 and not empty")
	case len(t.Kinds) == 0:
		return errors.New("there are no Kinds to list")
	}
	for i, kind := range t.Kinds {
		if !slices.Contains(client.Kinds(), kind) || slices.Contains(t.Kinds[:i], kind) {
			return fmt.Errorf("the kind %q is unknown or there twice", kind)
		}
	}
	_, err := client.New(t.Client)
	return err
}

// Describe implements prometheus.Collector.
func (*Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range allMetrics() {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.Scrape(context.Background())
	targetMetrics{s}.Collect(ch)
	s.collectTokens(ch)
}

// Snapshot holds the metrics of one scrape.
type Snapshot struct{ targets []targetSnapshot }

// targetSnapshot is a target with what a scrape got of its listings.
type targetSnapshot struct {
	*target

	outcomes []outcome
}

// Scrape lists the tokens of all targets, concurrently and within ctx's deadline
// and the Options' Timeout. A listing that fails is no error: the metrics tell.
func (c *Collector) Scrape(ctx context.Context) *Snapshot {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	targets := *c.targets.Load()
	s := &Snapshot{targets: make([]targetSnapshot, len(targets))}
	var wait sync.WaitGroup
	for i, t := range targets {
		outcomes := make([]outcome, len(t.listings))
		s.targets[i] = targetSnapshot{t, outcomes}
		for j, l := range t.listings {
			wait.Go(func() { outcomes[j] = l.scrape(ctx) })
		}
	}
	wait.Wait()
	for _, t := range s.targets {
		t.updateAPIKeyExpiry(t.outcomes)
	}
	return s
}
