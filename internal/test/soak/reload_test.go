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

// configuration is some targets, with the control plane and the kinds of each.
type configuration []configured

type configured struct {
	target string
	// at is whose control plane it is asked at.
	at    string
	kinds []client.Kind
}

// asleep is the configuration in which the exporter is measured.
func asleep() configuration {
	return configuration{{resting, resting, []client.Kind{client.PersonalAccessToken}}}
}

// drawn returns a configuration of the rounds.
func drawn(random *rand.Rand) configuration {
	both := client.Kinds()
	c := configuration{{steady, steady, both}, {flaky, flaky, both[:1+random.IntN(2)]}}
	if random.IntN(5) > 0 {
		c = append(c, configured{second, second, both[1:]})
	}
	if at := []string{"", guest, flaky}[random.IntN(3)]; at != "" {
		c = append(c, configured{guest, at, both})
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
	if err := rewrite(s.configFile(), text.String()); err != nil {
		s.mistake("%v", err)
	}
}

// reload has another configuration loaded or, now and then, one that is broken
// and must change nothing.
func (s *soak) reload(random *rand.Rand) {
	s.Helper()
	good := random.IntN(6) > 0
	if good {
		s.configure(drawn(random))
	} else if err := rewrite(s.configFile(), []string{"", "targets:\n- name: [", "targets:\n- name: steady\n  url: " + canary + "\n"}[random.IntN(3)]); err != nil {
		s.mistake("%v", err)
	}
	s.tell(good, random.IntN(2) == 0)
}

// tell tells the exporter to reload, by a signal or a POST, and waits until it
// has.
func (s *soak) tell(good, signal bool) {
	s.Helper()
	if signal {
		if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			s.mistake("%v", err)
		}
	} else if status, err := s.post(); err != nil || status != map[bool]int{true: http.StatusOK, false: http.StatusInternalServerError}[good] {
		s.mistake("the POST answers %d, %v; the file is good: %t", status, err, good)
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case accepted := <-s.reloaded:
		if accepted != good {
			s.mistake("it loads the file: %t, and the file is good: %t", accepted, good)
		}
	case <-timer.C:
		s.mistake("it does not reload")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = !good
	if good {
		s.reloads++
		s.done = len(s.configurations) - 1
	} else {
		s.refusals++
	}
}

func (s *soak) post() (status int, err error) {
	req, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.url+"/-/reload", nil)
	if err != nil {
		return 0, err
	}
	req.Close = true // nobody sends a POST again where an idle connection was just closed
	resp, err := s.monitor.transport.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// replaceKey replaces the key of an account, in the control plane and in its
// file. Between the two, the control plane refuses it.
func (s *soak) replaceKey(random *rand.Rand) {
	s.Helper()
	target := []string{flaky, second, guest}[random.IntN(3)]
	if err := rewrite(s.keyFile(target), s.rotateKey(target)); err != nil {
		s.mistake("%v", err)
	}
	s.replacedKeys++
}

// configured tells whether a configuration since from has these listings. s.mu is
// held.
func (s *soak) configured(listings map[listing]float64, from int) bool {
	for _, c := range s.configurations[from:] {
		same := len(c) == len(listings)
		for of := range listings {
			same = same && c[of] != ""
		}
		if same {
			return true
		}
	}
	return false
}

// kept tells whether all configurations since from have a listing, or a target
// where no kind is named, at the same control plane. s.mu is held.
func (s *soak) kept(of listing, from int) bool {
	if of.target == "" {
		return true
	}
	kinds := client.Kinds()
	if of.kind != "" {
		kinds = []client.Kind{of.kind}
	}
	before := ""
	for _, c := range s.configurations[from:] {
		at := ""
		for _, kind := range kinds {
			at = cmp.Or(at, c[listing{of.target, kind}])
		}
		if at == "" || before != "" && at != before {
			return false
		}
		before = at
	}
	return true
}
