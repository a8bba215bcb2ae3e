// Package collector turns the tokens of TrueFoundry control planes, listed anew
// for each scrape, into Prometheus metrics.
package collector

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	// CreatorSlug is the creator's slug (the e-mail address of a user), else
	// the display name, else the id.
	CreatorSlug CreatorLabel = "slug"
	// CreatorID is the creator's id and nothing else, for those who may not
	// store e-mail addresses.
	CreatorID CreatorLabel = "id"
)

// Target is a control plane to be asked with one API key.
type Target struct {
	// Name is the value of the label target. It is unique.
	Name string
	// Kinds are the kinds of token to list.
	Kinds []client.Kind
	// Client makes the target's client; its Trace is set by the Collector.
	Client client.Config
}

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
	opts        Options
	targets     []*target
	instruments *instruments
}

var _ prometheus.Collector = (*Collector)(nil)

// target is a Target at work.
type target struct {
	name, controlPlane string
	client             *client.Client
	listings           []*listing

	mu        sync.Mutex
	keyExpiry time.Time
}

// New returns a Collector for the targets.
func New(opts Options, targets ...Target) *Collector {
	c := &Collector{opts: opts, instruments: newInstruments()}
	for _, t := range targets {
		c.targets = append(c.targets, c.newTarget(t))
	}
	return c
}

func (c *Collector) newTarget(cfg Target) *target {
	cfg.Client.Trace = c.instruments.trace(cfg.Name)
	t := &target{
		name:         cfg.Name,
		controlPlane: client.ControlPlane(cfg.Client.URL),
		client:       client.New(cfg.Client),
	}
	for _, kind := range cfg.Kinds {
		t.listings = append(t.listings, &listing{
			kind:         kind,
			list:         func(ctx context.Context) (*client.Listing, error) { return t.list(ctx, kind) },
			countFailure: c.instruments.failureCounter(cfg.Name, kind),
			logger:       log.With(c.opts.Logger, "target", cfg.Name, "kind", kind),
			now:          c.opts.Now,
		})
	}
	return t
}

// list reads the key and lists what it can see.
func (t *target) list(ctx context.Context, kind client.Kind) (*client.Listing, error) {
	key, err := t.client.Key(ctx)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	t.keyExpiry = key.Expiry
	t.mu.Unlock()
	return t.client.List(ctx, key, kind)
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
	families := c.build(c.scrape(ctx))
	// After the scrape, so that its own requests are counted.
	counted, err := c.instruments.registry.Gather()
	families = append(families, counted...)
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return families, err
}

// scrape asks each listing of each target.
func (c *Collector) scrape(ctx context.Context) [][]outcome {
	var (
		wait     sync.WaitGroup
		outcomes = make([][]outcome, len(c.targets))
	)
	for i, t := range c.targets {
		outcomes[i] = make([]outcome, len(t.listings))
		for j, l := range t.listings {
			wait.Go(func() { outcomes[i][j] = l.scrape(ctx) })
		}
	}
	wait.Wait()
	return outcomes
}

// instruments count what happens between scrapes.
type instruments struct {
	registry  *prometheus.Registry
	errors    *prometheus.CounterVec
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	retries   *prometheus.CounterVec
}

func newInstruments() *instruments {
	counter := func(m metric) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.name, Help: m.help}, m.labels)
	}
	i := &instruments{
		registry: prometheus.NewRegistry(),
		errors:   counter(listingErrors),
		requests: counter(apiRequests),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    apiRequestDuration.name,
			Help:    apiRequestDuration.help,
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}, apiRequestDuration.labels),
		retries: counter(apiRetries),
	}
	i.registry.MustRegister(i.errors, i.requests, i.durations, i.retries)
	return i
}

// trace counts the requests for a target.
func (i *instruments) trace(target string) client.Trace {
	duration := i.durations.WithLabelValues(target)
	return client.Trace{
		Request: func(status int, took time.Duration) {
			code := "none"
			if status != 0 {
				code = strconv.Itoa(status)
			}
			i.requests.WithLabelValues(target, code).Inc()
			duration.Observe(took.Seconds())
		},
		Retry: i.retries.WithLabelValues(target).Inc,
	}
}

// failureCounter returns what counts the failures of a listing. Every reason is
// there from the start: increase() does not see the first error of a counter
// that was not.
func (i *instruments) failureCounter(target string, kind client.Kind) func(client.Reason) {
	for _, reason := range client.Reasons() {
		i.errors.WithLabelValues(target, string(kind), string(reason))
	}
	return func(reason client.Reason) { i.errors.WithLabelValues(target, string(kind), string(reason)).Inc() }
}
