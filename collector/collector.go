// Package collector exports the tokens of TrueFoundry control planes as Prometheus
// metrics. It lists the tokens at each scrape.
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

// CreatorLabel selects the value of the creator label.
type CreatorLabel string

// Values of the creator label.
const (
	// CreatorSlug is the Name of client.Subject: the creator's slug, which is the
	// e-mail address of a user, or else another name.
	CreatorSlug CreatorLabel = "slug"
	// CreatorID is the creator's ID. It avoids storing e-mail addresses.
	CreatorID CreatorLabel = "id"
)

// DefaultTimeout is the default of Options.Timeout.
const DefaultTimeout = time.Minute

// Options configure a Collector. The zero value is usable.
type Options struct {
	// CreatorLabel selects the value of the creator label. The default is CreatorSlug.
	CreatorLabel CreatorLabel
	// Timeout limits the duration of a scrape, in addition to the deadline of its
	// context. The default is DefaultTimeout.
	Timeout time.Duration
	// Logger logs when listings start to fail and when they recover. By default,
	// nothing is logged.
	Logger log.Logger
	// Now returns the current time. The default is time.Now.
	Now func() time.Time
}

// Collector lists all tokens of all targets at each scrape and caches none of them. It
// is safe for concurrent use.
type Collector struct {
	opts Options
	// targets is replaced as a whole. Scrapes in flight keep the previous targets.
	targets atomic.Pointer[[]*target]

	mu     sync.Mutex
	states map[targetID]*targetState
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns a Collector of the targets. It returns an error if an option is invalid,
// or if Set does.
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

// Timeout returns the maximum duration of a scrape.
func (c *Collector) Timeout() time.Duration { return c.opts.Timeout }

// Set replaces the targets. Scrapes in flight keep the previous targets. A target that
// has the name and the control plane of a previous one keeps its counters and status.
// If a target is invalid or two targets have the same name, Set returns an error and
// replaces nothing.
func (c *Collector) Set(targets ...Target) error {
	names := map[string]bool{}
	for i := range targets {
		t := &targets[i]
		if err := t.validate(); err != nil {
			return fmt.Errorf("target %q: %w", t.Name, err)
		}
		if names[t.Name] {
			return fmt.Errorf("there are two targets %q", t.Name)
		}
		names[t.Name] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := make([]*target, len(targets))
	states := map[targetID]*targetState{}
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

// validate returns an error if the target is invalid.
func (t *Target) validate() error {
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

// targetSnapshot is a target with the outcomes of its listings.
type targetSnapshot struct {
	*target

	outcomes []outcome
}

// Scrape lists the tokens of all targets concurrently. It ends at the deadline of ctx or
// after Options.Timeout. Failed listings are reported in the metrics.
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
