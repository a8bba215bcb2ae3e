package config

import (
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
)

// Reloader reloads a configuration file. It is a prometheus.Collector of metrics about
// reloads.
type Reloader struct {
	file   string
	apply  func([]Target)
	logger log.Logger
	now    func() time.Time

	successful, lastSuccess prometheus.Gauge

	reloading   sync.Mutex // held during a reload
	mu          sync.Mutex // protects the fields below
	lastAttempt time.Time
	failure     error
}

var _ prometheus.Collector = (*Reloader)(nil)

// NewReloader returns a Reloader of a file that has just been loaded. After each
// successful reload, apply is called with the targets.
func NewReloader(file string, apply func([]Target), logger log.Logger, now func() time.Time) *Reloader {
	r := &Reloader{
		file:   file,
		apply:  apply,
		logger: logger,
		now:    now,
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "truefoundry_exporter_config_last_reload_successful",
			Help: "Whether the last attempt to load the configuration file succeeded.",
		}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "truefoundry_exporter_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration file was last loaded successfully, in seconds since the Unix epoch.",
		}),
	}
	r.setSucceeded()
	return r
}

// Reload reloads the file. If that fails, the targets stay in use.
func (r *Reloader) Reload() error {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	targets, err := Load(r.file)
	r.mu.Lock()
	r.lastAttempt, r.failure = r.now(), err
	r.mu.Unlock()
	if err != nil {
		r.successful.Set(0)
		level.Error(r.logger).Log("msg", "configuration not reloaded: the previous one stays in use", "err", err)
		return err
	}
	r.apply(targets)
	r.setSucceeded()
	level.Info(r.logger).Log("msg", "configuration reloaded", "file", r.file, "targets", len(targets))
	return nil
}

// Failure returns the time and the error of the last reload. The error is nil if the
// reload succeeded.
func (r *Reloader) Failure() (time.Time, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lastAttempt, r.failure
}

func (r *Reloader) setSucceeded() {
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
