package deploy

import (
	"path/filepath"
	"strings"
	"testing"
)

const slackAndPagerDuty = "alertmanager/slack-pagerduty.yml"

func TestAlertmanagerUnderstandsSlackAndPagerDuty(t *testing.T) {
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

// What people get says what is wrong, once for all alerts of a group.
func TestMessages(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data.json")
	write(t, data, `{
		"commonLabels": {"alertname": "TrueFoundryTokenExpiringSoon", "severity": "warning"},
		"commonAnnotations": {"runbook_url": "https://runbook.example/a"},
		"alerts": [{"annotations": {"summary": "the first ends"}}, {"annotations": {"summary": "the second ends"}}]
	}`)
	for _, name := range []string{slackAndPagerDuty, "alertmanager/alertmanagerconfig.yaml"} {
		var file any
		load(t, name, &file)
		messages := templates(file)
		if len(messages) == 0 {
			t.Errorf("%s has no messages", name)
		}
		for _, message := range messages {
			// The tool wants files of templates; there are none.
			said, _ := run(t, amtool, "template", "render", "--template.glob="+filepath.Join(t.TempDir(), "*"), "--template.data="+data, "--template.text="+message)
			switch said = strings.TrimSpace(said); said {
			case "https://runbook.example/a", "warning", "TrueFoundryTokenExpiringSoon", "TrueFoundryTokenExpiringSoon (2): the first ends", "• the first ends\n• the second ends":
			default:
				t.Errorf("%s: %s says %q", name, message, said)
			}
		}
	}
}

// templates returns the texts in a file that are templates.
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
