// Package server answers the exporter's HTTP requests.
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

// Config configures the handler. Every field is required, unless it says
// otherwise.
type Config struct {
	// Collector has the metrics of the targets.
	Collector *collector.Collector
	// Registry has the metrics of the exporter itself.
	Registry *prometheus.Registry
	// InstrumentHandler adds promhttp_* metrics to the Registry.
	InstrumentHandler bool
	// TelemetryPath is where the metrics are. At "/" there is no landing page.
	TelemetryPath string
	// MaxRequests bounds the scrapes at a time; 0 is no bound.
	MaxRequests int
	// TimeoutOffset is subtracted from the scraper's timeout, at most half of
	// that timeout, so that the answer is written before the scraper gives up.
	TimeoutOffset time.Duration
	// Description and Notice stand on the landing page. Notice may be empty.
	Description, Notice string
	// Reload reloads the configuration, and serves /-/reload where EnableLifecycle
	// is true. ReloadFailure tells when and why the last attempt failed. Both are
	// nil where there is nothing to reload.
	Reload          func() error
	ReloadFailure   func() (time.Time, error)
	EnableLifecycle bool
	// Now is the clock.
	Now    func() time.Time
	Logger log.Logger
}

// New returns the handler of all of the exporter's pages, which answer GET and
// HEAD, but for /-/reload, which answers POST. It fails if TelemetryPath is not a
// plain path, or is that of another page.
func New(cfg Config) (http.Handler, error) {
	at := cfg.TelemetryPath
	clean := path.Clean(at)
	if !plainPath.MatchString(at) || at != clean && (clean == "/" || at != clean+"/") || slices.Contains([]string{healthyPath, readyPath, reloadPath}, at) {
		return nil, fmt.Errorf("--web.telemetry-path: %q must be a plain path like /metrics, and none of %s, %s and %s", at, healthyPath, readyPath, reloadPath)
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
	mux.Handle("GET "+exactly(at), metrics)
	mux.Handle("GET "+healthyPath, says("truefoundry_exporter is healthy.\n"))
	mux.Handle("GET "+readyPath, says("truefoundry_exporter is ready.\n"))
	mux.Handle("POST "+reloadPath, cfg.reload())
	if at != "/" {
		mux.Handle("GET /{$}", cfg.landing())
	}
	return mux, nil
}

// exactly keeps a pattern that ends in a slash from matching what is below it.
func exactly(at string) string {
	if strings.HasSuffix(at, "/") {
		return at + "{$}"
	}
	return at
}

// says answers without asking anybody: an outage of a control plane must not
// restart the exporter.
func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

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

// textFormats are the formats of an exposition, the preferred one first.
var textFormats = []expfmt.Format{
	expfmt.NewFormat(expfmt.TypeOpenMetrics),
	expfmt.FmtOpenMetrics_0_0_1,
	expfmt.NewFormat(expfmt.TypeTextPlain),
}

func (cfg *Config) metrics(compress func(http.Handler) http.HandlerFunc) (http.Handler, error) {
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "promhttp_metric_handler_errors_total", // as promhttp.HandlerFor has it
		Help: "Total number of internal errors encountered by the promhttp metric handler.",
	}, []string{"cause"})
	gathering, encoding := failures.WithLabelValues("gathering"), failures.WithLabelValues("encoding")
	var handler http.Handler = compress(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		timeout, announced := scrapeTimeout(r.Header)
		// A timeout about as short as the offset still leaves some time to list.
		timeToWrite := min(cfg.TimeoutOffset, timeout/2)
		ctx := r.Context()
		if announced {
			limited, cancel := context.WithTimeout(ctx, timeout-timeToWrite)
			defer cancel()
			ctx = limited
		}
		snapshot := cfg.Collector.Scrape(ctx)
		families, err := cfg.Registry.Gather()
		if err != nil {
			gathering.Inc()
			level.Error(cfg.Logger).Log("msg", "the exporter's own metrics are incomplete", "err", err)
		}

		// A scraper that does not read must not hold its place for ever.
		limit := cfg.Collector.Timeout()
		if announced {
			limit = min(limit, max(timeout-time.Since(start), timeToWrite))
		}
		deadline := time.Now().Add(limit)
		_ = http.NewResponseController(w).SetWriteDeadline(deadline) // a broken connection shows when it is written to
		format := expfmt.NegotiateAccept(r.Header, textFormats...)
		w.Header().Set("Content-Type", string(format))
		w.Header().Add("Vary", "Accept")
		if err := write(w, format, snapshot, families); err != nil {
			encoding.Inc()
			level.Debug(cfg.Logger).Log("msg", "the scraper left, or did not read the metrics in time", "err", err)
		}
	}))
	if cfg.MaxRequests > 0 {
		handler = limit(handler, cfg.MaxRequests)
	}
	if cfg.InstrumentHandler {
		if err := cfg.Registry.Register(failures); err != nil {
			return nil, err
		}
		handler = promhttp.InstrumentMetricHandler(cfg.Registry, handler)
	}
	return handler, nil
}

// write writes an exposition of the targets' metrics and the exporter's own.
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

// withoutCollisions leaves out families that have the name of a counter without
// its suffix, which in OpenMetrics is the name of the counter's family. Of Go's
// metrics, that is go_memstats_alloc_bytes, whose value is also that of
// go_memstats_heap_alloc_bytes.
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

// limit refuses requests above n at a time.
func limit(next http.Handler, n int) http.Handler {
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

// minTimeout is the shortest timeout in which anything can be listed.
const minTimeout = 100 * time.Millisecond

// scrapeTimeout returns the timeout that the scraper announces. It returns false
// if there is none, or one that is no use.
func scrapeTimeout(header http.Header) (time.Duration, bool) {
	seconds, err := strconv.ParseFloat(header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || math.IsNaN(seconds) || seconds < minTimeout.Seconds() {
		return 0, false
	}
	return time.Duration(min(seconds, time.Hour.Seconds()) * float64(time.Second)), true
}
