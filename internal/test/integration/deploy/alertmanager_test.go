package deploy

import (
	"path/filepath"
	"strings"
	"testing"
)

const slackAndPagerDuty = "alertmanager/slack-pagerduty.yml"

func TestAlertmanagerConfigForSlackAndPagerDuty(t *testing.T) {
	file := filepath.Join(deploy, slackAndPagerDuty)
	run(t, amtool, "check-config", file)
	for receiver, labels := range map[string][]string{
		"truefoundry-expired":   {"alertname=TrueFoundryTokenExpired", "severity=critical"},
		"truefoundry-pagerduty": {"alertname=TrueFoundryTargetBlind", "severity=critical"},
		"truefoundry-slack":     {"alertname=TrueFoundryTokenExpiringSoon", "severity=warning"},
	} {
		run(t, amtool, append([]string{"config", "routes", "test", "--config.file=" + file, "--verify.receivers=" + receiver}, labels...)...)
	}
	run(t, amtool, "config", "routes", "test", "--config.file="+file, "--verify.receivers=truefoundry-slack", "severity=info")
	run(t, amtool, "config", "routes", "test", "--config.file="+file, "--verify.receivers=truefoundry-pagerduty", "alertname=SomethingElse")
}

// The messages contain the summary of each alert in a group.
func TestMessages(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data.json")
	write(t, data, `{
		"commonLabels": {"alertname": "TrueFoundryTokenExpiringSoon", "severity": "warning"},
		"commonAnnotations": {"runbook_url": "https://runbook.example/a"},
		"alerts": [{"annotations": {"summary": "the first expires"}}, {"annotations": {"summary": "the second expires"}}]
	}`)
	for _, name := range []string{slackAndPagerDuty, "alertmanager/alertmanagerconfig.yaml"} {
		var file any
		load(t, name, &file)
		messages := templates(file)
		if len(messages) == 0 {
			t.Errorf("%s has no messages", name)
		}
		for _, message := range messages {
			// amtool requires the flag for files of templates, although there are none.
			rendered, _ := run(t, amtool, "template", "render", "--template.glob="+filepath.Join(t.TempDir(), "*"), "--template.data="+data, "--template.text="+message)
			switch rendered = strings.TrimSpace(rendered); rendered {
			case "https://runbook.example/a", "warning", "TrueFoundryTokenExpiringSoon", "TrueFoundryTokenExpiringSoon (2): the first expires", "• the first expires\n• the second expires":
			default:
				t.Errorf("%s: %s is rendered as %q", name, message, rendered)
			}
		}
	}
}

// templates returns the strings in a YAML value that are templates.
func templates(value any) (found []string) {
	switch value := value.(type) {
	case string:
		if strings.Contains(value, "{{") {
			found = append(found, value)
		}
	case []any:
		for _, element := range value {
			found = append(found, templates(element)...)
		}
	case map[string]any:
		for _, field := range value {
			found = append(found, templates(field)...)
		}
	case map[any]any:
		for _, field := range value {
			found = append(found, templates(field)...)
		}
	}
	return found
}
