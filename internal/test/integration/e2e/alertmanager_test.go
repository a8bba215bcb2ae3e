package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What Alertmanager has sent, it forgets after --data.retention, and sends again. It
// warns where something is to be repeated later than that.
func TestAlertmanagerRemembersWhatIsRepeatedWeekly(t *testing.T) {
	const config = "../../../../deploy/prometheus/alertmanager.yml"
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	advised := regexp.MustCompile(`--data\.retention=(\w+)`).FindSubmatch(text)
	if advised == nil {
		t.Fatal("the configuration does not say which --data.retention it needs")
	}
	for retention, tooShort := range map[string]bool{string(advised[1]): false, "120h": true} {
		alertmanager := start(t, filepath.Join(programs.AlertmanagerDir, "alertmanager"), "--config.file="+config, "--storage.path="+t.TempDir(),
			"--data.retention="+retention, "--web.listen-address=127.0.0.1:0", "--cluster.listen-address=")
		if warns := strings.Contains(alertmanager.Log(), "repeat_interval is greater than the data retention period"); warns != tooShort {
			t.Errorf("with --data.retention=%s:\n%s", retention, alertmanager.Log())
		}
	}
}
