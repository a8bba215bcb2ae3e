package connect_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-kit/log"

	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

// newReloader returns a Reloader and loads the targets.
func (e *exporter) newReloader(entries ...string) *config.Reloader {
	e.t.Helper()
	e.use(entries...)
	return config.NewReloader(e.path("targets.yml"), e.set.Replace, log.NewLogfmtLogger(e.log), e.Now)
}

// wantReloadMetrics compares the metrics of a Reloader.
func wantReloadMetrics(t *testing.T, r *config.Reloader, successful bool, at time.Time) {
	t.Helper()
	got := map[string]float64{}
	for _, family := range metricstest.Gather(t, r) {
		got[family.GetName()] = family.Metric[0].GetGauge().GetValue()
	}
	want := map[string]float64{
		"truefoundry_exporter_config_last_reload_successful":                0,
		"truefoundry_exporter_config_last_reload_success_timestamp_seconds": float64(at.Unix()),
	}
	if successful {
		want["truefoundry_exporter_config_last_reload_successful"] = 1
	}
	if len(got) != len(want) {
		t.Errorf("metrics %v, want %v", got, want)
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %v, want %v", name, got[name], value)
		}
	}
}

func TestReloadKeepsTheTargetsIfTheFileIsInvalid(t *testing.T) {
	cp := startControlPlane(t)
	e := newExporter(t)
	r := e.newReloader(target("a", cp.URL, withKey))
	loaded := e.Now()
	wantReloadMetrics(t, r, true, loaded)

	for name, text := range map[string]string{
		"no file":           "-",
		"an empty file":     "",
		"no targets":        "targets: []\n",
		"an invalid target": file(target("b", cp.URL, withKey), target("c", "s3cret", withKey)),
		"not YAML":          "targets: [s3cret",
	} {
		e.advance(time.Minute)
		e.remove("targets.yml")
		if text != "-" {
			e.write("targets.yml", text)
		}
		logged := len(e.log.String())
		err := r.Reload()
		if err == nil {
			t.Fatalf("%s: got no error", name)
		}
		metricstest.Present(t, err.Error(), e.path("targets.yml"))
		metricstest.Present(t, e.log.String()[logged:], `level=error msg="configuration not reloaded: the previous one stays in use" err="`)
		metricstest.Present(t, e.log.String()[logged:], strings.ReplaceAll(err.Error(), `"`, `\"`))
		metricstest.Absent(t, e.log.String(), "s3cret")
		if n := strings.Count(e.log.String()[logged:], "\n"); n != 1 {
			t.Errorf("%s is logged in %d lines", name, n)
		}
		if at, failure := r.Failure(); !at.Equal(e.Now()) || !errors.Is(failure, err) {
			t.Errorf("the last failure is %v at %v, want %v", failure, at, err)
		}
		wantReloadMetrics(t, r, false, loaded)
		e.expect("a: up")
	}

	e.advance(time.Minute)
	e.write("targets.yml", file(target("b", cp.URL, withKey), target("c", cp.URL, "authorization: {credentials_file: none}")))
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	if _, failure := r.Failure(); failure != nil {
		t.Errorf("the last failure is %v", failure)
	}
	wantReloadMetrics(t, r, true, e.Now())
	metricstest.Present(t, e.log.String(), `level=info msg="configuration reloaded" file=`+e.path("targets.yml")+" targets=2\n")
	e.expect("b: up, c: credentials")
}

func TestReloadsDoNotDisturbScrapes(t *testing.T) {
	const scrapers, perScraper = 4, 15
	cp := startControlPlane(t)
	e := newExporter(t)
	files := []string{
		file(target("a", cp.URL, withKey, bothKinds), target("b", cp.URL, withKey)),
		file(target("b", cp.URL, withKey, bothKinds), target("c", cp.URL, "bearer_token_file: key"), target("d", cp.URL, withKey)),
	}
	r := e.newReloader(target("a", cp.URL, withKey), target("b", cp.URL, withKey))

	var scrapes, reloads sync.WaitGroup
	stop, end := context.WithCancel(t.Context())
	for i := range 2 {
		reloads.Go(func() {
			for n := 0; stop.Err() == nil; n++ {
				if i == 0 { // only one goroutine writes the file
					e.write("targets.yml", files[n%len(files)])
				}
				if err := r.Reload(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := make(chan string, scrapers*perScraper)
	for range scrapers {
		scrapes.Go(func() {
			for range perScraper {
				var names []string
				for name, up := range upByTarget(e.scrapeFamilies(testTimeout)) {
					if !up {
						t.Errorf("%s is down", name)
					}
					names = append(names, name)
				}
				seen <- strings.Join(sorted(names), "")
			}
		})
	}
	scrapes.Wait()
	end()
	reloads.Wait()
	close(seen)
	counts := map[string]int{}
	for names := range seen {
		counts[names]++
	}
	if counts["ab"]+counts["bcd"] != scrapers*perScraper || counts["ab"] == 0 || counts["bcd"] == 0 {
		t.Errorf("the scrapes had the targets %v", counts)
	}
	if t.Failed() {
		t.Logf("the log:\n%s", e.log)
	}
}
