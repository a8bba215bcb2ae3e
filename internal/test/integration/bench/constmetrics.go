package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
)

// constMetrics is a typical collector: it decodes page after page into structs and exports
// const metrics, which a registry checks and sorts.
type constMetrics struct {
	cfg   programConfig
	host  string
	descs []*prometheus.Desc
}

func newConstMetrics(cfg programConfig) (http.Handler, error) {
	host, err := hostOf(cfg.URL)
	if err != nil {
		return nil, err
	}
	c := &constMetrics{cfg: cfg, host: host}
	labels := []string{"target", "control_plane", "kind", "tenant", "owner_team", "creator", "token_name", "token_id"}
	for i, s := range series {
		names := labels
		if i == info {
			names = append(slices.Clip(names), "creator_type", "token_type")
		}
		c.descs = append(c.descs, prometheus.NewDesc(s.name, s.help, names, nil))
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(c); err != nil {
		return nil, err
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{}), nil
}

// Describe implements prometheus.Collector.
func (c *constMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range c.descs {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *constMetrics) Collect(ch chan<- prometheus.Metric) {
	tokens, err := c.list(context.Background())
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.descs[info], err)
		return
	}
	last := make(map[owner]*fakecontrolplane.Token, len(tokens))
	for i := range tokens {
		if t := &tokens[i]; last[ownerOf(t)] == nil || replaces(t, last[ownerOf(t)]) {
			last[ownerOf(t)] = t
		}
	}
	for i := range tokens {
		t, jwt := &tokens[i], &tokens[i].JWTs[0]
		labels := []string{targetName, c.host, kindName, t.TenantName, t.Manifest.OwnedBy.Team, t.CreatedBySubject.Slug, t.Name, t.ID}
		gauge := func(i int, value float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(c.descs[i], prometheus.GaugeValue, value, labels...)
		}
		gauge(info, 1, append(slices.Clip(labels), t.CreatedBySubject.Type, jwt.TokenType)...)
		gauge(created, seconds(t.CreatedAt), labels...)
		gauge(expired, boolean(*t.IsExpired), labels...)
		gauge(expiry, seconds(*jwt.Expiry), labels...)
		gauge(hasExpiry, boolean(jwt.Expiry != nil), labels...)
		gauge(issued, seconds(jwt.CreatedAt), labels...)
		gauge(lastAccessed, seconds(*t.LastAccessedAt), labels...)
		gauge(nextRotation, seconds(*t.NextScheduledRotation), labels...)
		gauge(replaced, boolean(replaces(last[ownerOf(t)], t)), labels...)
	}
}

// owner is what a token and its replacement have in common.
type owner struct{ tenant, subject, name string }

func ownerOf(t *fakecontrolplane.Token) owner {
	return owner{t.TenantName, t.CreatedBySubject.ID, t.Name}
}

// replaces reports whether a was issued at the same time as b or later, and expires later.
func replaces(a, b *fakecontrolplane.Token) bool {
	return !a.JWTs[0].CreatedAt.Before(b.JWTs[0].CreatedAt) && a.JWTs[0].Expiry.After(*b.JWTs[0].Expiry)
}

// list reads page after page until one is not full.
func (c *constMetrics) list(ctx context.Context) ([]fakecontrolplane.Token, error) {
	var tokens []fakecontrolplane.Token
	for {
		page, err := c.page(ctx, len(tokens))
		if err != nil {
			return nil, err
		}
		tokens = append(tokens, page...)
		if len(page) < c.cfg.PageSize {
			return tokens, nil
		}
	}
}

func (c *constMetrics) page(ctx context.Context, offset int) ([]fakecontrolplane.Token, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.cfg.page(offset), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the control plane responded with %s", resp.Status)
	}
	var page struct {
		Data []fakecontrolplane.Token `json:"data"`
	}
	err = json.NewDecoder(resp.Body).Decode(&page)
	return page.Data, err
}

func seconds(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())/1e9 }
