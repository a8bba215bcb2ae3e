package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
)

// Sample is a series in the result of a query.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query returns the current result of an expression in Prometheus.
func Query(ctx context.Context, prometheus *Server, expression string) ([]Sample, error) {
	var response struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any // the time in seconds, and the value as a string
			}
		}
	}
	if err := get(ctx, prometheus, "/api/v1/query?query="+url.QueryEscape(expression), &response); err != nil {
		return nil, err
	}
	var samples []Sample
	for _, result := range response.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(result.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		samples = append(samples, Sample{result.Metric, value})
	}
	return samples, nil
}

// MetricNames returns the names of all metrics in Prometheus.
func MetricNames(ctx context.Context, prometheus *Server) ([]string, error) {
	return names(ctx, prometheus, "/api/v1/label/__name__/values")
}

// LabelNames returns the label names of the matching series.
func LabelNames(ctx context.Context, prometheus *Server, match string) ([]string, error) {
	return names(ctx, prometheus, "/api/v1/labels?match[]="+url.QueryEscape(match))
}

func names(ctx context.Context, prometheus *Server, path string) ([]string, error) {
	var response struct{ Data []string }
	err := get(ctx, prometheus, path, &response)
	return response.Data, err
}

// Alert is a pending or firing alert.
type Alert struct {
	Labels      map[string]string
	Annotations map[string]string
	State       string                  // only from Prometheus
	Receivers   []struct{ Name string } // only from Alertmanager
}

// PrometheusAlerts returns the pending and firing alerts.
func PrometheusAlerts(ctx context.Context, prometheus *Server) ([]Alert, error) {
	var response struct{ Data struct{ Alerts []Alert } }
	err := get(ctx, prometheus, "/api/v1/alerts", &response)
	return response.Data.Alerts, err
}

// AlertmanagerAlerts returns the active alerts in Alertmanager.
func AlertmanagerAlerts(ctx context.Context, alertmanager *Server) ([]Alert, error) {
	var alerts []Alert
	err := get(ctx, alertmanager, "/api/v2/alerts", &alerts)
	return alerts, err
}

func get(ctx context.Context, server *Server, path string, response any) error {
	body, err := server.Get(ctx, path)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, response)
}
