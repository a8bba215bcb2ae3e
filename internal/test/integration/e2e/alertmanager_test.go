package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Alertmanager forgets sent notifications after --data.retention and sends them again. It
// logs a warning if repeat_interval is longer.
func TestRecommendedRetentionIsLongerThanTheRepeatInterval(t *testing.T) {
	const config = "../../../../deploy/prometheus/alertmanager.yml"
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	recommended := regexp.MustCompile(`--data\.retention=(\w+)`).FindSubmatch(text)
	if recommended == nil {
		t.Fatal("the configuration does not recommend a --data.retention")
	}
	for retention, tooShort := range map[string]bool{string(recommended[1]): false, "120h": true} {
		alertmanager := start(t, filepath.Join(programs.AlertmanagerDir, "alertmanager"), "--config.file="+config, "--storage.path="+t.TempDir(),
			"--data.retention="+retention, "--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
		if warns := strings.Contains(alertmanager.Log(), "repeat_interval is greater than the data retention period"); warns != tooShort {
			t.Errorf("with --data.retention=%s:\n%s", retention, alertmanager.Log())
		}
	}
}
