// Command truefoundry_exporter is a Prometheus exporter for the expiry of
// TrueFoundry personal access tokens and virtual accounts.
package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
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
	"github.com/truefoundry-community/truefoundry_exporter/internal/once"
	"github.com/truefoundry-community/truefoundry_exporter/internal/server"
)

const (
	programName = "truefoundry_exporter"
	description = "Prometheus exporter for the expiry of TrueFoundry personal access tokens and virtual accounts"
)

// release is the version of binaries that were built without -ldflags.
//
//go:embed VERSION
var release string

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit code. It does not exit itself, so that deferred functions run.
func run(args []string) int {
	// Until this call, SIGHUP ends the process.
	sighup := make(chan os.Signal, 1)
	signal.Notify(sighup, syscall.SIGHUP)
	defer signal.Stop(sighup)

	app := newApp()
	f := addFlags(app)
	if err := f.parse(app, args); err != nil {
		app.Errorf("%s", err)
		return 1
	}
	logger := newLogger(os.Stderr, f.logLevel, f.logFormat)
	if f.isOnce() && !f.logLevelSet {
		logger = log.NewNopLogger() // once.Report writes a line for each target
	}
	redirectStandardLog(logger)

	targets, stop, err := f.targets(logger)
	if err != nil {
		app.Errorf("%s", err)
		return 1
	}
	defer stop()
	e, err := newExporter(f, logger)
	if err != nil {
		app.Errorf("%s", err)
		return 1
	}
	defer e.connections.Close()
	switch {
	case f.configCheck:
		return checkTargets(app, targets)
	case f.isOnce():
		return e.runOnce(app, targets)
	}
	return e.run(targets, sighup)
}

func newApp() *kingpin.Application {
	version.Version = cmp.Or(version.Version, strings.TrimSpace(release))
	app := kingpin.New(programName, description+".")
	app.Version(version.Print(programName))
	app.HelpFlag.Short('h')
	app.UsageWriter(os.Stdout)
	return app
}

// checkTargets prints what is wrong with the targets and returns the exit code.
func checkTargets(app *kingpin.Application, targets []config.Target) (code int) {
	for i := range targets {
		problems, warnings := connect.Check(context.Background(), &targets[i])
		for _, problem := range problems {
			app.Errorf("%s", problem)
			code = 1
		}
		for _, warning := range warnings {
			fmt.Println("warning:", warning)
		}
	}
	if code == 0 {
		fmt.Printf("The configuration is valid. Targets: %d.\n", len(targets))
	}
	return code
}

// exporter is the exporter with its HTTP handler.
type exporter struct {
	flags       *flags
	logger      log.Logger
	collector   *collector.Collector
	connections *connect.Set
	recorder    once.Recorder
	reload      func() error // nil without a configuration file
	handler     http.Handler
}

// newExporter returns an exporter that has no targets yet.
func newExporter(f *flags, logger log.Logger) (*exporter, error) {
	c, err := collector.New(collector.Options{
		CreatorLabel: collector.CreatorLabel(f.creatorLabel),
		Timeout:      f.timeout,
		Logger:       logger,
		Now:          time.Now,
	})
	if err != nil {
		return nil, err
	}
	e := &exporter{flags: f, logger: logger, collector: c}
	settings := connect.Settings{
		PageSize:       f.pageSize,
		MaxTokens:      f.maxTokens,
		UserAgent:      programName + "/" + version.Version,
		MaxConcurrency: f.maxConcurrency,
		Now:            time.Now,
		Logger:         logger,
	}
	if f.onceShape {
		settings.WrapTransport = e.recorder.Wrap
	}
	e.connections = connect.NewSet(c, settings)
	e.handler, err = e.newHandler()
	return e, err
}

// newHandler returns the handler of all HTTP requests to the exporter.
func (e *exporter) newHandler() (http.Handler, error) {
	f := e.flags
	exporterMetrics := !f.disableExporterMetrics && !f.isOnce()
	registry := prometheus.NewRegistry()
	registry.MustRegister(versioncollector.NewCollector(programName))
	if exporterMetrics {
		registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	cfg := server.Config{
		Collector:         e.collector,
		Registry:          registry,
		InstrumentHandler: exporterMetrics,
		TelemetryPath:     f.telemetryPath,
		MaxRequests:       f.maxRequests,
		TimeoutOffset:     f.timeoutOffset,
		Description:       description,
		EnableLifecycle:   f.enableLifecycle,
		Now:               time.Now,
		Logger:            e.logger,
	}
	if f.demo {
		cfg.Notice = "This is a demonstration: the control planes and their tokens are made up, and one of the targets does not work."
	}
	if f.configFile != "" {
		reloader := config.NewReloader(f.configFile, e.setTargets, e.logger, time.Now)
		registry.MustRegister(reloader)
		e.reload = reloader.Reload
		cfg.Reload, cfg.ReloadFailure = reloader.Reload, reloader.Failure
	}
	return server.New(cfg)
}

// setTargets replaces the targets and logs warnings about them.
func (e *exporter) setTargets(targets []config.Target) {
	e.connections.Replace(targets)
	if !e.flags.demo {
		go connect.LogWarnings(context.Background(), targets, e.logger) // reads key files, which may block
	}
}

// runOnce scrapes the targets once and returns the exit code.
func (e *exporter) runOnce(app *kingpin.Application, targets []config.Target) int {
	e.connections.Replace(targets)
	if err := e.scrapeOnce(); err != nil {
		app.Errorf("%s", err)
		return 1
	}
	if !once.Report(os.Stderr, e.collector.Status()) {
		return 1
	}
	return 0
}

// scrapeOnce writes the metrics to standard output, or the structure of the API's
// responses.
func (e *exporter) scrapeOnce() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if !e.flags.onceShape {
		return once.Scrape(ctx, e.handler, e.flags.telemetryPath, os.Stdout)
	}
	if err := once.Scrape(ctx, e.handler, e.flags.telemetryPath, io.Discard); err != nil {
		return err
	}
	_, err := e.recorder.WriteTo(os.Stdout)
	return err
}

// run exports the targets until SIGINT or SIGTERM, and returns the exit code.
func (e *exporter) run(targets []config.Target, sighup <-chan os.Signal) int {
	level.Info(e.logger).Log("msg", "starting "+programName, "version", version.Info(), "build", version.BuildContext(), "gomaxprocs", runtime.GOMAXPROCS(0))
	e.setTargets(targets)
	go e.reloadOnSignal(sighup)
	if err := e.serve(); err != nil {
		level.Error(e.logger).Log("msg", "cannot serve", "err", err)
		return 1
	}
	return 0
}

// reloadOnSignal reloads the configuration file at each signal.
func (e *exporter) reloadOnSignal(signals <-chan os.Signal) {
	for range signals {
		if e.reload == nil {
			level.Info(e.logger).Log("msg", "nothing to reload without --config.file: the API key is read for each listing")
			continue
		}
		_ = e.reload() // logs its error
	}
}

// serve serves HTTP until SIGINT or SIGTERM, and then waits for scrapes in flight.
func (e *exporter) serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	srv := newServer(e.handler, e.flags.timeout, e.logger)
	served := make(chan error, 1)
	go func() { served <- web.ListenAndServe(srv, e.flags.web, newSlogger(e.logger)) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop() // a second signal ends the process at once
	level.Info(e.logger).Log("msg", "shutting down, after any scrapes in flight")
	// The listings end by their timeout; a second is left to write the response.
	ctx, cancel := context.WithTimeout(context.Background(), e.flags.timeout+time.Second)
	defer cancel()
	if err := srv.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		level.Warn(e.logger).Log("msg", "scrapes in flight did not finish in time")
		return srv.Close()
	} else if err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// newServer returns a server with limits for slow clients. They leave enough time to
// read a scrape whose listings took as long as the timeout.
func newServer(handler http.Handler, timeout time.Duration, logger log.Logger) *http.Server {
	limit := timeout + 30*time.Second
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       limit, // also applies while the handler runs
		WriteTimeout:      limit,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          newErrorLog(logger),
		// The general handler would accept OPTIONS *.
		DisableGeneralOptionsHandler: true,
	}
}
