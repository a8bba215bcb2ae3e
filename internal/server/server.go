// Package server answers the exporter's HTTP requests.
package server

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
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
	"github.com/truefoundry-community/truefoundry_exporter/internal/exposition"
)

const (
	healthyPath = "/-/healthy"
	readyPath   = "/-/ready"
	reloadPath  = "/-/reload"
)

var plainPath = regexp.MustCompile(`^/[\w/.~&-]*$`)

// Config is what the server needs. Every field is required, unless it says
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
	mux := http.NewServeMux()
	mux.Handle("GET "+exactly(at), cfg.metrics(compress))
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

func (cfg *Config) metrics(compress func(http.Handler) http.HandlerFunc) http.Handler {
	opts := promhttp.HandlerOpts{
		ErrorHandling:     promhttp.ContinueOnError,
		EnableOpenMetrics: true,
		// compress does it, several times faster (docs/performance.md).
		DisableCompression: true,
	}
	if cfg.InstrumentHandler {
		opts.Registry = cfg.Registry
	}
	var handler http.Handler = compress(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if timeout, ok := scrapeTimeout(r.Header, cfg.TimeoutOffset); ok {
			limited, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			ctx = limited
		}
		families, err := cfg.Collector.Gather(ctx)
		format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
		if !r.URL.Query().Has("name[]") { // else promhttp selects
			first := &gaugesFirst{ResponseWriter: w, format: format}
			first.gauges, families = exposition.Split(format, families)
			w = first
		}
		// prometheus.Gatherers would merge, sort and check all series again for
		// each scrape. The names are disjoint, and tests check the rest.
		gather := func() ([]*dto.MetricFamily, error) {
			own, ownErr := cfg.Registry.Gather()
			return append(families, own...), errors.Join(err, ownErr)
		}
		opts := opts
		opts.ErrorLog = &errorLog{ctx: r.Context(), logger: cfg.Logger}
		promhttp.HandlerFor(prometheus.GathererFunc(gather), opts).ServeHTTP(w, r)
	}))
	if cfg.MaxRequests > 0 {
		handler = limit(handler, cfg.MaxRequests)
	}
	if cfg.InstrumentHandler {
		handler = promhttp.InstrumentMetricHandler(cfg.Registry, handler)
	}
	return handler
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

// scrapeTimeout is how long the listings may take, so that the answer arrives
// before the scraper gives up. It returns false where the scraper does not say.
func scrapeTimeout(header http.Header, offset time.Duration) (time.Duration, bool) {
	seconds, err := strconv.ParseFloat(header.Get("X-Prometheus-Scrape-Timeout-Seconds"), 64)
	if err != nil || math.IsNaN(seconds) || seconds <= 0 {
		return 0, false
	}
	timeout := time.Duration(min(seconds, time.Hour.Seconds()) * float64(time.Second))
	// A timeout about as short as the offset still gets some time to list.
	return max(timeout-offset, timeout/2), true
}

// gaugesFirst writes the gauges of the targets before the first of what else
// there is, when promhttp has set the headers.
type gaugesFirst struct {
	http.ResponseWriter
	format expfmt.Format
	gauges []*dto.MetricFamily
}

// Write implements io.Writer.
func (w *gaugesFirst) Write(text []byte) (int, error) {
	if gauges := w.gauges; gauges != nil {
		w.gauges = nil
		if err := exposition.Write(w.ResponseWriter, w.format, gauges); err != nil {
			return 0, err
		}
	}
	return w.ResponseWriter.Write(text)
}

// errorLog gives the first of promhttp's errors of one request to the logger:
// when a scraper hangs up, there is one for each metric, and none is an error of
// the exporter.
type errorLog struct {
	ctx    context.Context
	logger log.Logger
	logged bool
}

// Println implements promhttp.Logger.
func (l *errorLog) Println(v ...any) {
	if l.logged {
		return
	}
	l.logged = true
	logger, msg := level.Error(l.logger), "metrics could not be served"
	if l.ctx.Err() != nil {
		logger, msg = level.Debug(l.logger), "the scraper hung up before it had the metrics"
	}
	logger.Log("msg", msg, "err", strings.TrimSpace(fmt.Sprintln(v...)))
}
