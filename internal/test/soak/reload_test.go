package soak

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// configuration is a list of targets.
type configuration []configuredTarget

type configuredTarget struct {
	target string
	at     string // the target whose control plane it uses
	kinds  []client.Kind
}

// restConfig returns the configuration for measurements.
func restConfig() configuration {
	return configuration{{resting, resting, []client.Kind{client.PersonalAccessToken}}}
}

// randomConfig returns a random configuration.
func randomConfig(random *rand.Rand) configuration {
	both := client.Kinds()
	c := configuration{{steady, steady, both}, {flaky, flaky, both[:1+random.IntN(2)]}}
	if random.IntN(5) > 0 {
		c = append(c, configuredTarget{second, second, both[1:]})
	}
	if at := []string{"", guest, flaky}[random.IntN(3)]; at != "" {
		c = append(c, configuredTarget{guest, at, both})
	}
	random.Shuffle(len(c), func(i, j int) { c[i], c[j] = c[j], c[i] })
	return c
}

func (s *soak) configFile() string           { return filepath.Join(s.dir, "targets.yml") }
func (s *soak) keyFile(target string) string { return filepath.Join(s.dir, "keys", target) }

// configure writes the configuration for the next reload.
func (s *soak) configure(c configuration) {
	s.Helper()
	var text strings.Builder
	text.WriteString("targets:\n")
	listings := map[listing]string{}
	for _, t := range c {
		fmt.Fprintf(&text, "- name: %s\n  url: %s\n  kinds: %s\n  authorization: {credentials_file: keys/%s}\n",
			t.target, s.urls[t.at], strings.ReplaceAll(fmt.Sprint(t.kinds), " ", ", "), t.target)
		for _, kind := range t.kinds {
			listings[listing{t.target, kind}] = t.at
		}
	}
	s.mu.Lock()
	s.configurations = append(s.configurations, listings)
	s.mu.Unlock()
	if err := replaceFile(s.configFile(), text.String()); err != nil {
		s.fail("%v", err)
	}
}

// reload reloads a random configuration, or sometimes an invalid one, which must not change
// anything.
func (s *soak) reload(random *rand.Rand) {
	s.Helper()
	valid := random.IntN(6) > 0
	if valid {
		s.configure(randomConfig(random))
	} else if err := replaceFile(s.configFile(), []string{"", "targets:\n- name: [", "targets:\n- name: steady\n  url: " + canary + "\n"}[random.IntN(3)]); err != nil {
		s.fail("%v", err)
	}
	s.triggerReload(valid, random.IntN(2) == 0)
}

// triggerReload makes the exporter reload by a signal or a POST request, and waits for it.
func (s *soak) triggerReload(valid, signal bool) {
	s.Helper()
	if signal {
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			s.fail("%v", err)
		}
	} else if status, err := s.post(); err != nil || status != map[bool]int{true: http.StatusOK, false: http.StatusInternalServerError}[valid] {
		s.fail("the POST request returned %d, %v; the file is valid: %t", status, err, valid)
	}
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case accepted := <-s.reloaded:
		if accepted != valid {
			s.fail("the file is accepted: %t, and valid: %t", accepted, valid)
		}
	case <-timer.C:
		s.fail("the exporter does not reload")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected = !valid
	if valid {
		s.reloads++
		s.done = len(s.configurations) - 1
	} else {
		s.rejections++
	}
}

// post requests a reload.
func (s *soak) post() (status int, err error) {
	req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.url+"/-/reload", nil)
	if err != nil {
		return 0, err
	}
	req.Close = true // POST requests are not retried if an idle connection was just closed
	resp, err := s.monitor.transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// replaceKey replaces the key of a random account in the control plane and in its file.
// In between, the control plane rejects the old key.
func (s *soak) replaceKey(random *rand.Rand) {
	s.Helper()
	target := []string{flaky, second, guest}[random.IntN(3)]
	if err := replaceFile(s.keyFile(target), s.rotateKey(target)); err != nil {
		s.fail("%v", err)
	}
	s.replacedKeys++
}

// configured reports whether any configuration since from has these listings. The caller
// must hold s.mu.
func (s *soak) configured(listings map[listing]float64, from int) bool {
	for _, c := range s.configurations[from:] {
		same := len(c) == len(listings)
		for l := range listings {
			same = same && c[l] != ""
		}
		if same {
			return true
		}
	}
	return false
}

// isKept reports whether all configurations since from have a listing, or a target if the
// kind is empty, with the same control plane. The caller must hold s.mu.
func (s *soak) isKept(l listing, from int) bool {
	if l.target == "" {
		return true
	}
	kinds := client.Kinds()
	if l.kind != "" {
		kinds = []client.Kind{l.kind}
	}
	before := ""
	for _, c := range s.configurations[from:] {
		at := ""
		for _, kind := range kinds {
			at = cmp.Or(at, c[listing{l.target, kind}])
		}
		if at == "" || before != "" && at != before {
			return false
		}
		before = at
	}
	return true
}
