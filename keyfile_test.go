package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
)

func TestDamagedKeyFileFailsTheListingUntilItIsRepaired(t *testing.T) {
	t.Parallel()
	cp := serveTokens(t, controlplanetest.Key, 3, 0)
	key := filepath.Join(t.TempDir(), "key")
	p := start(t, nil, "--config.file="+writeFile(t, "targets.yml", "targets: [{name: acme, url: \""+cp.URL+"\", authorization: {credentials_file: "+key+"}}]"))
	content := func(text string) func() error {
		return func() error { return os.WriteFile(key, []byte(text), 0o600) }
	}
	failures := map[string]int{}
	for _, tt := range []struct {
		name   string
		make   func() error
		reason string
		says   string
	}{
		{"removed", func() error { return nil }, "credentials", "no such file"},
		{"a directory", func() error { return os.Mkdir(key, 0o700) }, "credentials", "is a directory"},
		{"a broken link", func() error { return os.Symlink(key+".none", key) }, "credentials", "no such file"},
		{"a link to itself", func() error { return os.Symlink(key, key) }, "credentials", "too many levels of symbolic links"},
		{"a pipe", func() error { return syscall.Mkfifo(key, 0o600) }, "credentials", "is not a regular file"},
		{"empty", content(""), "credentials", "it is empty"},
		{"nothing but a newline", content("\n"), "credentials", "it is empty"},
		{"half-written", content(controlplanetest.Key[:len(controlplanetest.Key)/2]), "unauthorized", "401"},
		{"written twice", content(controlplanetest.Key + "\n" + controlplanetest.Key[:5]), "credentials", "it has a blank"},
	} {
		good := func() {
			if err := os.RemoveAll(key); err != nil {
				t.Fatal(err)
			}
			replaceFile(t, key, controlplanetest.Key+"\n")
			metrics := get(t, p.url+"/metrics")
			wantLines(t, metrics, `truefoundry_up{target="acme"} 1`, `truefoundry_api_key_expiry_timestamp_seconds{target="acme"} 1.79e+09`)
			if countTokens(metrics) != 3 {
				t.Errorf("%s: %d tokens from the valid file", tt.name, countTokens(metrics))
			}
		}
		good()
		if err := errors.Join(os.Remove(key), tt.make()); err != nil {
			t.Fatal(err)
		}
		requests := len(cp.Requests())
		metrics := get(t, p.url+"/metrics")
		failures[tt.reason]++
		wantLines(t, metrics, `truefoundry_up{target="acme"} 0`,
			fmt.Sprintf(`truefoundry_listing_errors_total{kind="personal-access-token",reason=%q,target="acme"} %d`, tt.reason, failures[tt.reason]))
		if countTokens(metrics) != 0 {
			t.Errorf("%s: %d tokens", tt.name, countTokens(metrics))
		}
		if sent := len(cp.Requests()) > requests; sent != (tt.reason == "unauthorized") {
			t.Errorf("%s: sent a request: %t", tt.name, sent)
		}
		if line := p.waitForLog(t, "listing failed"); !strings.Contains(line, tt.says) {
			t.Errorf("%s: logged %s", tt.name, line)
		}
		good()
		p.waitForLog(t, "listing works again")
	}
	if logged := p.stop(t, syscall.SIGTERM); strings.Contains(logged, controlplanetest.Key[:10]) {
		t.Errorf("the key is exposed:\n%s", logged)
	}
}

// Kubernetes atomically replaces a symbolic link to the directory of the file, and
// removes the previous directory.
func TestKeyFileIsReadableWhileKubernetesReplacesIt(t *testing.T) {
	t.Parallel()
	const rotations = 100
	cp := serveTokens(t, controlplanetest.Key, 3, 0)
	volume := t.TempDir()
	mount := func(i int, text string) {
		t.Helper()
		dir := fmt.Sprintf("..%d", i)
		err := errors.Join(
			os.Mkdir(filepath.Join(volume, dir), 0o700),
			os.WriteFile(filepath.Join(volume, dir, "key"), []byte(text), 0o600),
			os.Symlink(dir, filepath.Join(volume, "..data_tmp")),
			os.Rename(filepath.Join(volume, "..data_tmp"), filepath.Join(volume, "..data")),
			os.RemoveAll(filepath.Join(volume, fmt.Sprintf("..%d", i-1))),
		)
		if err != nil {
			t.Fatal(err)
		}
	}
	mount(0, controlplanetest.Key)
	if err := os.Symlink("..data/key", filepath.Join(volume, "key")); err != nil {
		t.Fatal(err)
	}
	p := start(t, []string{"TFY_HOST=" + cp.URL}, "--truefoundry.api-key-file="+filepath.Join(volume, "key"))
	stop := make(chan struct{})
	var scraper sync.WaitGroup
	scraper.Go(func() {
		for {
			resp, err := http.Get(p.url + "/metrics") //nolint:noctx // it ends with the exporter
			if err != nil {
				t.Error(err)
				return
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || countTokens(string(body)) != 3 {
				t.Errorf("%v; got %s", err, body)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for i := range rotations {
		mount(i+1, controlplanetest.Key+strings.Repeat("\n", i))
	}
	close(stop)
	scraper.Wait()
	const next = "another-key"
	mount(rotations+1, next)
	target := strings.TrimPrefix(cp.URL, "http://")
	wantLines(t, get(t, p.url+"/metrics"), `truefoundry_up{target="`+target+`"} 0`)
	cp.Key = next
	wantLines(t, get(t, p.url+"/metrics"), `truefoundry_up{target="`+target+`"} 1`)
}
