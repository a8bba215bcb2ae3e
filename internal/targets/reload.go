package targets

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
)

// Reloader reads the targets of a Set from a file, as often as it is told to. It
// is a prometheus.Collector of what became of that.
type Reloader struct {
	file   string
	set    *Set
	logger log.Logger
	now    func() time.Time

	successful, lastSuccess prometheus.Gauge

	reloading sync.Mutex
	mu        sync.Mutex
	tried     time.Time
	failure   error
}

var _ prometheus.Collector = (*Reloader)(nil)

// NewReloader returns a Reloader whose set is that of the targets already, which
// were loaded from the file.
func NewReloader(file string, set *Set, logger log.Logger, now func() time.Time) *Reloader {
	r := &Reloader{
		file:   file,
		set:    set,
		logger: logger,
		now:    now,
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "truefoundry_exporter_config_last_reload_successful",
			Help: "Whether the last attempt to load the configuration file succeeded.",
		}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "truefoundry_exporter_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration file was last loaded, in seconds since the Unix epoch.",
		}),
	}
	r.succeeded()
	return r
}

// Reload loads the file. Where that fails, the targets stay as they are.
func (r *Reloader) Reload() error {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	targets, err := Load(r.file)
	r.mu.Lock()
	r.tried, r.failure = r.now(), err
	r.mu.Unlock()
	if err != nil {
		r.successful.Set(0)
		level.Error(r.logger).Log("msg", "configuration not reloaded: the one before stays in use", "err", err)
		return err
	}
	r.set.Replace(targets)
	r.succeeded()
	level.Info(r.logger).Log("msg", "configuration reloaded", "file", r.file, "targets", len(targets))
	go LogWarnings(context.Background(), targets, r.logger) // no key file holds up a reload
	return nil
}

// Failure returns when and why the last attempt failed, nil where it did not.
func (r *Reloader) Failure() (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tried, r.failure
}

func (r *Reloader) succeeded() {
	r.successful.Set(1)
	r.lastSuccess.Set(float64(r.now().UnixNano()) / 1e9)
}

// Describe implements prometheus.Collector.
func (r *Reloader) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(r, ch) }

// Collect implements prometheus.Collector.
func (r *Reloader) Collect(ch chan<- prometheus.Metric) {
	r.successful.Collect(ch)
	r.lastSuccess.Collect(ch)
}
