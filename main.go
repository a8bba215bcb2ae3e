// Command truefoundry_exporter is a Prometheus exporter for the expiry of
// TrueFoundry personal access tokens and virtual accounts.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/server"
)

const (
	programName = "truefoundry_exporter"
	description = "Prometheus exporter for the expiry of TrueFoundry personal access tokens and virtual accounts"
)

// release is what a plain go build or go run says of its version.
//
//go:embed VERSION
var release string

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit code: an exit from here would skip what is deferred.
func run(args []string) int {
	// Before anything else: until then, a SIGHUP ends the process.
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	defer signal.Stop(hangUp)

	version.Version = cmp.Or(version.Version, strings.TrimSpace(release))
	app := kingpin.New(programName, description+".")
	app.Version(version.Print(programName))
	app.HelpFlag.Short('h')
	app.UsageWriter(os.Stdout)
	f := addFlags(app)
	if _, err := app.Parse(args); err != nil {
		app.Errorf("%s, try --help", nameFlag(app, args, err))
		return 1
	}
	if err := f.check(); err != nil {
		app.Errorf("%s", err)
		return 1
	}
	logger := newLogger(os.Stderr, *f.logLevel, *f.logFormat)
	logStandardLog(logger)
	list, end, err := f.targets(logger)
	if err != nil {
		app.Errorf("%s", err)
		return 1
	}
	defer end()

	c, err := collector.New(collector.Options{
		CreatorLabel: collector.CreatorLabel(*f.creatorLabel),
		Timeout:      *f.timeout,
		Logger:       logger,
		Now:          time.Now,
	})
	if err != nil {
		app.Errorf("%s", err)
		return 1
	}
	set := connect.NewSet(c, connect.Settings{
		PageSize:       int(*f.pageSize),
		MaxTokens:      int(*f.maxTokens),
		UserAgent:      programName + "/" + version.Version,
		MaxConcurrency: int(*f.maxConcurrency),
		Now:            time.Now,
		Logger:         logger,
	})
	defer set.Close()

	registry := prometheus.NewRegistry()
	registry.MustRegister(versioncollector.NewCollector(programName))
	if !*f.disableExporterMetrics {
		registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	cfg := server.Config{
		Collector:         c,
		Registry:          registry,
		InstrumentHandler: !*f.disableExporterMetrics,
		TelemetryPath:     *f.telemetryPath,
		MaxRequests:       int(*f.maxRequests),
		TimeoutOffset:     *f.timeoutOffset,
		Description:       description,
		Notice:            f.notice(),
		EnableLifecycle:   *f.enableLifecycle,
		Now:               time.Now,
		Logger:            logger,
	}
	if *f.configFile != "" {
		reloader := config.NewReloader(*f.configFile, set.Replace, logger, time.Now)
		registry.MustRegister(reloader)
		cfg.Reload, cfg.ReloadFailure = reloader.Reload, reloader.Failure
	}
	handler, err := server.New(cfg)
	if err != nil {
		app.Errorf("%s", err)
		return 1
	}
	if *f.configCheck {
		return check(app, list)
	}

	level.Info(logger).Log("msg", "starting "+programName, "version", version.Info(), "build", version.BuildContext(), "gomaxprocs", runtime.GOMAXPROCS(0))
	set.Replace(list)
	go reloadWhenTold(hangUp, cfg.Reload, logger)
	if err := serve(handler, f, logger); err != nil {
		level.Error(logger).Log("msg", "cannot serve", "err", err)
		return 1
	}
	return 0
}

// check says what is wrong with the files that the targets name.
func check(app *kingpin.Application, list []config.Target) (code int) {
	for i := range list {
		problems, warnings := connect.Check(context.Background(), &list[i])
		for _, problem := range problems {
			app.Errorf("%s", problem)
			code = 1
		}
		for _, warning := range warnings {
			fmt.Println("warning:", warning)
		}
	}
	if code == 0 {
		fmt.Printf("The configuration is valid. Targets: %d.\n", len(list))
	}
	return code
}

// reloadWhenTold reloads at each signal. It runs beside everything else, so that
// a file that cannot be read in time holds up nothing.
func reloadWhenTold(told <-chan os.Signal, reload func() error, logger log.Logger) {
	for range told {
		if reload == nil {
			level.Info(logger).Log("msg", "nothing to reload without --config.file: the API key is read anew for each listing")
			continue
		}
		_ = reload() // it has logged why not
	}
}

// serve answers requests until the process is told to end; then it lets the
// scrapes in flight finish.
func serve(handler http.Handler, f *flags, logger log.Logger) error {
	told, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv := newServer(handler, *f.timeout, logger)
	served := make(chan error, 1)
	go func() { served <- web.ListenAndServe(srv, f.web, newSlogger(logger)) }()
	select {
	case err := <-served:
		return err
	case <-told.Done():
	}
	stop() // a second signal ends the process at once
	level.Info(logger).Log("msg", "shutting down, after any scrapes in flight")
	// The listings end by their timeout; the answer is still to be written.
	ctx, cancel := context.WithTimeout(context.Background(), *f.timeout+time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		level.Warn(logger).Log("msg", "scrapes in flight did not finish in time")
		return srv.Close()
	} else if err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// newServer returns a server with bounds for those who are silent or slow. A
// scrape of listings that take as long as the timeout still has time to be read.
func newServer(handler http.Handler, timeout time.Duration, logger log.Logger) *http.Server {
	longest := timeout + 30*time.Second
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		// A body that never comes; but it also ends requests under way.
		ReadTimeout:    longest,
		WriteTimeout:   longest,
		IdleTimeout:    5 * time.Minute,
		MaxHeaderBytes: 64 << 10,
		// It would answer OPTIONS *.
		DisableGeneralOptionsHandler: true,
	}
	logErrors(srv, logger)
	return srv
}
