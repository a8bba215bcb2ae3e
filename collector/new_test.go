package collector_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/collector"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

func TestNewUsesDefaults(t *testing.T) {
	cp := controlplanetest.Start(t, controlplanetest.Always(controlplanetest.Tokens(1)...))
	s := newTestConfig(t, cp.URL)
	c, err := collector.New(collector.Options{}, s.target())
	if err != nil {
		t.Fatal(err)
	}
	got := scrape(t, c)
	metricstest.Present(t, got, `truefoundry_up{control_plane="acme.truefoundry.example",target="acme"} 1`)
	metricstest.Present(t, got, `creator="ci@acme.example"`)
	if c.Timeout() != time.Minute {
		t.Errorf("the timeout is %v", c.Timeout())
	}
}

// The error names the invalid value, and Set keeps the previous targets.
func TestNewAndSetRejectInvalidValues(t *testing.T) {
	valid := func(name string) collector.Target {
		return collector.Target{
			Name: name, Kinds: client.Kinds(),
			Client: client.Config{URL: &url.URL{Scheme: "https", Host: "acme.example"}, Credentials: client.StaticKey("key", "inline")},
		}
	}
	before, err := collector.New(collector.Options{}, valid("before"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		want    string
		options collector.Options
		change  func(*collector.Target)
	}{
		{"CreatorLabel", collector.Options{CreatorLabel: "e-mail"}, func(*collector.Target) {}},
		{"Timeout", collector.Options{Timeout: -time.Second}, func(*collector.Target) {}},
		{"Name", collector.Options{}, func(t *collector.Target) { t.Name = "" }},
		{"Name", collector.Options{}, func(t *collector.Target) { t.Name = "\xff" }},
		{`target "a": the client needs the URL`, collector.Options{}, func(t *collector.Target) { t.Client.URL = nil }},
		{"credentials", collector.Options{}, func(t *collector.Target) { t.Client.Credentials = nil }},
		{"no Kinds", collector.Options{}, func(t *collector.Target) { t.Kinds = nil }},
		{`"passwords"`, collector.Options{}, func(t *collector.Target) { t.Kinds = []client.Kind{"passwords"} }},
		{"twice", collector.Options{}, func(t *collector.Target) { t.Kinds = []client.Kind{client.VirtualAccount, client.VirtualAccount} }},
		{`two targets "b"`, collector.Options{}, func(t *collector.Target) { t.Name = "b" }},
		{"needs the URL", collector.Options{}, func(t *collector.Target) { *t = collector.Target{Name: "c", Kinds: client.Kinds()} }},
	} {
		target := valid("a")
		tt.change(&target)
		if c, err := collector.New(tt.options, target, valid("b")); err == nil || !strings.Contains(err.Error(), tt.want) || c != nil {
			t.Errorf("New returned %v, want %q", err, tt.want)
		}
		if tt.options.CreatorLabel != "" || tt.options.Timeout != 0 {
			continue
		}
		if err := before.Set(target, valid("b")); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Set returned %v, want %q", err, tt.want)
		}
	}
	if status := before.Status(); len(status) != 1 || status[0].Name != "before" {
		t.Errorf("the targets are %+v", status)
	}
}
