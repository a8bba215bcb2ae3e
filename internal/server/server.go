// Package server provides the HTTP handler of the exporter.
package server

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/klauspost/compress/gzhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/truefoundry-community/truefoundry_exporter/collector"
)

const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
	reloadPath  = "/-/reload"
)

var plainPath = regexp.MustCompile(`^/[\w/.~&-]*$`)

// Config configures the handler. All fields are required unless noted otherwise.
type Config struct {
	// Collector collects the metrics of the targets.
	Collector *collector.Collector
	// Registry gathers the metrics of the exporter itself.
	Registry *prometheus.Registry
	// InstrumentHandler adds promhttp_* metrics to the Registry.
	InstrumentHandler bool
	// TelemetryPath is the path of the metrics. If it is "/", there is no landing page.
	TelemetryPath string
	// MaxRequests limits concurrent scrapes. 0 means no limit.
	MaxRequests int
	// TimeoutOffset is subtracted from the timeout of the scraper to leave time to write
	// the response. At most half of the timeout is subtracted.
	TimeoutOffset time.Duration
	// Description and Notice are shown on the landing page. Notice may be empty.
	Description, Notice string
	// Reload reloads the configuration. It is called by /-/reload if EnableLifecycle is
	// true. ReloadFailure returns the time and the error of the last reload. Both are nil
	// if there is no configuration file.
	Reload          func() error
	ReloadFailure   func() (time.Time, error)
	EnableLifecycle bool
	// Now returns the current time.
	Now    func() time.Time
	Logger log.Logger
}

// New returns the handler of all pages of the exporter. It returns an error if
// TelemetryPath is not a plain path, or is the path of another page.
func New(cfg Config) (http.Handler, error) {
	metricsPath := cfg.TelemetryPath
	clean := path.Clean(metricsPath)
	if !plainPath.MatchString(metricsPath) || metricsPath != clean && (clean == "/" || metricsPath != clean+"/") ||
		slices.Contains([]string{healthyPath, readyPath, reloadPath}, metricsPath) {
		return nil, fmt.Errorf("--web.telemetry-path: %q must be a plain path like /metrics, and none of %s, %s and %s", metricsPath, healthyPath, readyPath, reloadPath)
	}
	compress, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		return nil, err
	}
	metrics, err := cfg.metrics(compress)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET "+exactly(metricsPath), metrics)
	mux.Handle("GET "+healthyPath, textHandler("truefoundry_exporter is healthy.\n"))
	mux.Handle("GET "+readyPath, textHandler("truefoundry_exporter is ready.\n"))
	mux.Handle("POST "+reloadPath, cfg.reload())
	if metricsPath != "/" {
		mux.Handle("GET /{$}", cfg.landing())
	}
	return mux, nil
}

// exactly returns the pattern of http.ServeMux that matches a path but no path below it.
func exactly(urlPath string) string {
	if strings.HasSuffix(urlPath, "/") {
		return urlPath + "{$}"
	}
	return urlPath
}

// textHandler returns a handler that responds with a fixed text. Health checks must not
// depend on the control planes.
func textHandler(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

// reload returns the handler of /-/reload.
func (cfg *Config) reload() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !cfg.EnableLifecycle || cfg.Reload == nil {
			http.Error(w, "Reloading by HTTP is off; start with --web.enable-lifecycle, or send SIGHUP.", http.StatusForbidden)
		} else if err := cfg.Reload(); err != nil {
			http.Error(w, "The configuration was not reloaded: "+err.Error(), http.StatusInternalServerError)
		} else {
			fmt.Fprintln(w, "The configuration is reloaded.")
		}
	})
}

// textFormats are the supported formats, the preferred one first.
var textFormats = []expfmt.Format{
	expfmt.NewFormat(expfmt.TypeOpenMetrics),
	expfmt.FmtOpenMetrics_0_0_1,
	expfmt.NewFormat(expfmt.TypeTextPlain),
}

// metrics returns the handler of the metrics.
func (cfg *Config) metrics(compress func(http.Handler) http.HandlerFunc) (http.Handler, error) {
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promhttp_metric_handler_errors_total", // as in promhttp.HandlerFor
		Help: "Total number of internal errors encountered by the promhttp metric handler.",
	}, []string{"cause"})
	gathering, encoding := failures.WithLabelValues("gathering"), failures.WithLabelValues("encoding")
	var handler http.Handler = compress(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		timeout, announced := scrapeTimeout(r.Header)
		timeToWrite := min(cfg.TimeoutOffset, timeout/2)
		ctx := r.Context()
		if announced {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout-timeToWrite)
			defer cancel()
		}
		snapshot := cfg.Collector.Scrape(ctx)
		families, err := cfg.Registry.Gather()
		if err != nil {
			gathering.Inc()
			level.Error(cfg.Logger).Log("msg", "the exporter's own metrics are incomplete", "err", err)
		}

		// A scraper that does not read the response must not block others for ever.
		limit := cfg.Collector.Timeout()
		if announced {
			limit = min(limit, max(timeout-time.Since(start), timeToWrite))
		}
		deadline := time.Now().Add(limit)
		_ = http.NewResponseController(w).SetWriteDeadline(deadline) // a broken connection fails the write below
		format := expfmt.NegotiateAccept(r.Header, textFormats...)
		w.Header().Set("Content-Type", string(format))
		w.Header().Add("Vary", "Accept")
		if err := write(w, format, snapshot, families); err != nil {
			encoding.Inc()
			level.Debug(cfg.Logger).Log("msg", "the scraper disconnected or did not read the metrics in time", "err", err)
		}
	}))
	if cfg.MaxRequests > 0 {
		handler = limitConcurrency(handler, cfg.MaxRequests)
	}
	if cfg.InstrumentHandler {
		if err := cfg.Registry.Register(failures); err != nil {
			return nil, err
		}
		handler = promhttp.InstrumentMetricHandler(cfg.Registry, handler)
	}
	return handler, nil
}

// write writes the metrics of the targets and of the exporter itself.
func write(w io.Writer, format expfmt.Format, snapshot *collector.Snapshot, own []*dto.MetricFamily) error {
	if err := snapshot.Write(w, format); err != nil {
		return err
	}
	if format.FormatType() == expfmt.TypeOpenMetrics {
		own = withoutCollisions(own)
	}
	encoder := expfmt.NewEncoder(w, format)
	for _, family := range own {
		if err := encoder.Encode(family); err != nil {
			return err
		}
	}
	if end, ok := encoder.(expfmt.Closer); ok {
		return end.Close()
	}
	return nil
}

// withoutCollisions removes families that have the name of a counter without its suffix
// _total, which is the name of the counter's family in OpenMetrics. The only one of Go's
// metrics is go_memstats_alloc_bytes, which is the same as go_memstats_heap_alloc_bytes.
func withoutCollisions(families []*dto.MetricFamily) []*dto.MetricFamily {
	counters := map[string]bool{}
	for _, family := range families {
		if family.GetType() == dto.MetricType_COUNTER {
			counters[strings.TrimSuffix(family.GetName(), "_total")] = true
		}
	}
	return slices.DeleteFunc(families, func(family *dto.MetricFamily) bool {
		return family.GetType() != dto.MetricType_COUNTER && counters[family.GetName()]
	})
}

// limitConcurrency rejects requests while n others are in progress.
func limitConcurrency(next http.Handler, n int) http.Handler {
	slots := make(chan struct{}, n)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			next.ServeHTTP(w, r)
		default:
			http.Error(w, fmt.Sprintf("%d scrapes are under way, which is the limit; try again later or raise --web.max-requests.", n),
				http.StatusServiceUnavailable)
		}
	})
}

// minTimeout is the shortest timeout that is accepted. Nothing could be listed in less.
const minTimeout = 100 * time.Millisecond

// scrapeTimeout returns the timeout that the scraper announces, or false if there is none
// or it is invalid.
func scrapeTimeout(header http.Header) (time.Duration, bool) {
	seconds, err := strconv.ParseFloat(header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || math.IsNaN(seconds) || seconds < minTimeout.Seconds() {
		return 0, false
	}
	return time.Duration(min(seconds, time.Hour.Seconds()) * float64(time.Second)), true
}
