// Package collector turns the tokens of TrueFoundry control planes, listed anew
// for each scrape, into Prometheus metrics.
package collector

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

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

// Options are what a Collector needs beside its targets. Every field is
// required.
type Options struct {
	CreatorLabel CreatorLabel
	// Timeout is the longest that the listings of a scrape may take, whatever
	// deadline its context has. It is more than 0.
	Timeout time.Duration
	Logger  log.Logger
	// Now is the clock.
	Now func() time.Time
}

// Collector lists all tokens of all targets each time it is asked, and keeps
// none of them. It is safe for concurrent use.
type Collector struct {
	opts Options
	// targets are replaced as a whole: who is using them goes on with them.
	targets atomic.Pointer[[]*target]

	mu       sync.Mutex
	memories map[identity]*memory
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns a Collector for the targets.
func New(opts Options, targets ...Target) *Collector {
	c := &Collector{opts: opts}
	c.Set(targets...)
	return c
}

// Set replaces the targets. Scrapes that are under way go on with those that they
// began with. The counters of a target, and all else that is known of it, survive
// while there is a target of its name and control plane.
func (c *Collector) Set(targets ...Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, memories := make([]*target, len(targets)), map[identity]*memory{}
	for i, cfg := range targets {
		of := identity{cfg.Name, client.ControlPlane(cfg.Client.URL)}
		m := c.memories[of]
		if m == nil {
			m = newMemory(of)
		}
		memories[of] = m
		maps.DeleteFunc(m.histories, func(kind client.Kind, _ *history) bool { return !slices.Contains(cfg.Kinds, kind) })
		next[i] = newTarget(cfg, m, &c.opts)
	}
	c.targets.Store(&next)
	c.memories = memories
}

// Describe implements prometheus.Collector.
func (*Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range contract() {
		ch <- m.desc()
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	descs := map[string]*prometheus.Desc{}
	for _, m := range contract() {
		descs[m.name] = m.desc()
	}
	families, err := c.Gather(context.Background())
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descs[up.name], err)
	}
	for _, family := range families {
		for _, metric := range family.Metric {
			ch <- built{descs[family.GetName()], metric}
		}
	}
}

// built is a metric that is there already.
type built struct {
	desc   *prometheus.Desc
	metric *dto.Metric
}

// Desc implements prometheus.Metric.
func (b built) Desc() *prometheus.Desc { return b.desc }

// Write implements prometheus.Metric.
func (b built) Write(out *dto.Metric) error {
	out.Label, out.Gauge, out.Counter, out.Histogram = b.metric.Label, b.metric.Gauge, b.metric.Counter, b.metric.Histogram
	return nil
}

// Gather lists the tokens of all targets, concurrently and within ctx's
// deadline and the Options' Timeout, and returns their metrics, sorted by name.
// A listing that fails is no error: it is in the metrics.
func (c *Collector) Gather(ctx context.Context) ([]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	targets := *c.targets.Load()
	return c.build(targets, c.scrape(ctx, targets))
}

// scrape asks each listing of each target.
func (c *Collector) scrape(ctx context.Context, targets []*target) [][]outcome {
	var (
		wait     sync.WaitGroup
		outcomes = make([][]outcome, len(targets))
	)
	for i, t := range targets {
		outcomes[i] = make([]outcome, len(t.listings))
		for j, l := range t.listings {
			wait.Go(func() { outcomes[i][j] = l.scrape(ctx) })
		}
	}
	wait.Wait()
	for i, t := range targets {
		t.findKey(outcomes[i], c.opts.Now())
	}
	return outcomes
}
