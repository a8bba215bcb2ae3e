package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
)

// A Sample is one series of a query's result.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query asks Prometheus for the present value of an expression.
func Query(ctx context.Context, prometheus *Server, expression string) ([]Sample, error) {
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any // seconds, and the value as text
			}
		}
	}
	if err := get(ctx, prometheus, "/api/v1/query?query="+url.QueryEscape(expression), &answer); err != nil {
		return nil, err
	}
	var samples []Sample
	for _, result := range answer.Data.Result {
		value, err := strconv.ParseFloat(fmt.Sprint(result.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		samples = append(samples, Sample{result.Metric, value})
	}
	return samples, nil
}

// MetricNames returns the names of all metrics that Prometheus has.
func MetricNames(ctx context.Context, prometheus *Server) ([]string, error) {
	return names(ctx, prometheus, "/api/v1/label/__name__/values")
}

// LabelNames returns the names of the labels of the series that match.
func LabelNames(ctx context.Context, prometheus *Server, match string) ([]string, error) {
	return names(ctx, prometheus, "/api/v1/labels?match[]="+url.QueryEscape(match))
}

func names(ctx context.Context, prometheus *Server, path string) ([]string, error) {
	var answer struct{ Data []string }
	err := get(ctx, prometheus, path, &answer)
	return answer.Data, err
}

// An Alert is one that is pending or firing.
type Alert struct {
	Labels      map[string]string
	Annotations map[string]string
	State       string                  // in Prometheus
	Receivers   []struct{ Name string } // in Alertmanager
}

// PrometheusAlerts returns the alerts that are pending or firing.
func PrometheusAlerts(ctx context.Context, prometheus *Server) ([]Alert, error) {
	var answer struct{ Data struct{ Alerts []Alert } }
	err := get(ctx, prometheus, "/api/v1/alerts", &answer)
	return answer.Data.Alerts, err
}

// AlertmanagerAlerts returns the alerts that Alertmanager has been told of, and
// that are not over.
func AlertmanagerAlerts(ctx context.Context, alertmanager *Server) ([]Alert, error) {
	var alerts []Alert
	err := get(ctx, alertmanager, "/api/v2/alerts", &alerts)
	return alerts, err
}

func get(ctx context.Context, server *Server, path string, answer any) error {
	body, err := server.Get(ctx, path)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, answer)
}
