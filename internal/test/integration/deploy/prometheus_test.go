package deploy

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestPrometheusConfig(t *testing.T) {
	run(t, promtool, "check", "config", filepath.Join(deploy, "prometheus", "prometheus.yml"))
}

func TestAlertmanagerConfig(t *testing.T) {
	run(t, amtool, "check-config", filepath.Join(deploy, "prometheus", "alertmanager.yml"))
}

func TestRoutesOfAlerts(t *testing.T) {
	for name, test := range map[string]struct {
		labels   []string
		receiver string
	}{
		"an expired token": {
			[]string{"alertname=TrueFoundryTokenExpired", "severity=critical", "tenant=acme", "owner_team=ml"}, "truefoundry-expired",
		},
		"a critical alert about a token": {
			[]string{"alertname=TrueFoundryTokenExpiryImminent", "severity=critical", "tenant=acme", "owner_team=ml"}, "truefoundry-critical",
		},
		"a critical alert about a target": {
			[]string{"alertname=TrueFoundryTargetBlind", "severity=critical", "target=acme-ci"}, "truefoundry-critical",
		},
		"a warning": {
			[]string{"alertname=TrueFoundryTokenExpiringSoon", "severity=warning", "tenant=acme", "owner_team="}, "truefoundry-warning",
		},
		"an alert for information": {
			[]string{"alertname=TrueFoundryTokensUnused", "severity=info", "tenant=acme", "owner_team=ml"}, "truefoundry-info",
		},
		"an alert without a severity": {
			[]string{"alertname=SomethingElse"}, "truefoundry-critical",
		},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"config", "routes", "test", "--config.file=" + filepath.Join(deploy, "prometheus", "alertmanager.yml"), "--verify.receivers=" + test.receiver}
			run(t, amtool, append(args, test.labels...)...)
		})
	}
}

type alertmanager struct {
	Route struct {
		GroupBy        []string `yaml:"group_by"`
		RepeatInterval string   `yaml:"repeat_interval"`
		Routes         []struct {
			Receiver            string
			ActiveTimeIntervals []string `yaml:"active_time_intervals"`
			RepeatInterval      string   `yaml:"repeat_interval"`
		}
	}
	Receivers []struct {
		Name         string
		EmailConfigs []struct {
			SendResolved bool `yaml:"send_resolved"`
		} `yaml:"email_configs"`
	}
	InhibitRules []any `yaml:"inhibit_rules"`
}

func TestScheduleOfMails(t *testing.T) {
	var config alertmanager
	load(t, "prometheus/alertmanager.yml", &config)

	if route := config.Route; !slices.Equal(route.GroupBy, []string{"alertname", "tenant", "owner_team"}) || route.RepeatInterval != "1d" {
		t.Errorf("mails are grouped by %q and repeated after %s", route.GroupBy, route.RepeatInterval)
	}
	if len(config.InhibitRules) > 0 {
		t.Errorf("there are inhibit rules: %v", config.InhibitRules)
	}
	resolved := map[string]bool{}
	for _, receiver := range config.Receivers {
		for _, mail := range receiver.EmailConfigs {
			resolved[receiver.Name] = mail.SendResolved
		}
	}
	if resolved["truefoundry-expired"] || !resolved["truefoundry-critical"] || !resolved["truefoundry-warning"] {
		t.Errorf(`send_resolved is %v, want it for critical and warning, and not for expired`, resolved)
	}
	for _, route := range config.Route.Routes {
		delayed := slices.Equal(route.ActiveTimeIntervals, []string{"working-hours"})
		if want := route.Receiver == "truefoundry-warning" || route.Receiver == "truefoundry-info"; delayed != want {
			t.Errorf("%s is only active in %q", route.Receiver, route.ActiveTimeIntervals)
		}
		weekly := route.RepeatInterval == "1w"
		if want := route.Receiver == "truefoundry-info"; weekly != want || !weekly && route.RepeatInterval != "" {
			t.Errorf("%s is repeated after %q", route.Receiver, route.RepeatInterval)
		}
	}
}

// Each alert has a severity that has a route.
func TestSeverities(t *testing.T) {
	var rules struct {
		Groups []struct {
			Rules []struct {
				Alert  string
				Labels struct{ Severity string }
			}
		}
	}
	load(t, "prometheus/rules.yml", &rules)
	alerts := 0
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			if rule.Alert == "" {
				continue // a recording rule
			}
			alerts++
			if !slices.Contains([]string{"critical", "warning", "info"}, rule.Labels.Severity) {
				t.Errorf("%s has the severity %q, for which there is no route", rule.Alert, rule.Labels.Severity)
			}
		}
	}
	if alerts == 0 {
		t.Error("there are no alerts")
	}
}
