package main

import (
	"net/http"
	"net/url"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/connect"
	"github.com/truefoundry-community/truefoundry_exporter/internal/server"
)

// newExporter returns the exporter, configured like by its main function with
// --web.disable-exporter-metrics.
func newExporter(cfg programConfig) (http.Handler, error) {
	u, err := client.ParseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	logger := log.NewNopLogger()
	c, err := collector.New(collector.Options{})
	if err != nil {
		return nil, err
	}
	set := connect.NewSet(c, connect.Settings{
		PageSize: cfg.PageSize, UserAgent: "truefoundry_exporter/bench", MaxConcurrency: cfg.Concurrency, Now: time.Now, Logger: logger,
	})
	set.Replace([]config.Target{{
		Name: targetName, URL: u, APIPrefix: cfg.Prefix, Kinds: []client.Kind{client.PersonalAccessToken},
		Credentials: config.Credentials{Key: apiKey, KeySource: "inline"}, HTTP: config.DefaultHTTP(),
	}})
	return server.New(server.Config{
		Collector: c, Registry: prometheus.NewRegistry(), TelemetryPath: metricsPath, MaxRequests: 40,
		TimeoutOffset: 500 * time.Millisecond, Description: "benchmark", Now: time.Now, Logger: logger,
	})
}

// hostOf returns the value of the control_plane label.
func hostOf(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", err
	}
	return u.Host, nil
}
