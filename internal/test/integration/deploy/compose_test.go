package deploy

import (
	"encoding/json"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/sirupsen/logrus"
	logrustest "github.com/sirupsen/logrus/hooks/test"
	"go.yaml.in/yaml/v4"
)

// loadProject loads compose.yml as docker compose does.
func loadProject(t *testing.T) *types.Project {
	t.Helper()
	hook := logrustest.NewLocal(logrus.StandardLogger()) // the loader logs its warnings
	options, err := cli.NewProjectOptions([]string{filepath.Join(deploy, "compose", "compose.yml")})
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range hook.AllEntries() {
		t.Errorf("%s: %s", entry.Level, entry.Message)
	}
	return project
}

func TestCompose(t *testing.T) {
	project := loadProject(t)
	if want := []string{"alertmanager", "exporter", "grafana", "prometheus"}; !slices.Equal(project.ServiceNames(), want) {
		t.Errorf("the services are %q, want %q", project.ServiceNames(), want)
	}
	pinned := regexp.MustCompile(`^[\w./-]+:v?\d+\.\d+\.\d+$`)
	for name, service := range project.Services {
		if service.Build != nil {
			if _, err := os.Stat(filepath.Join(service.Build.Context, service.Build.Dockerfile)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if !pinned.MatchString(service.Image) {
			t.Errorf("%s: the image %s is not pinned", name, service.Image)
		}
		if len(service.Ports) == 0 {
			t.Errorf("%s has no ports", name)
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is published at %q, want loopback only", name, port.Published, port.HostIP)
			}
		}
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind || !volume.ReadOnly {
				t.Errorf("%s: the mount %s is a %s, read-only %t; want a read-only bind mount", name, volume.Target, volume.Type, volume.ReadOnly)
			}
			if info, err := os.Stat(volume.Source); err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s: %s is not a file, so that Docker would create a directory: %v", name, volume.Source, err)
			}
		}
	}
}

// The versions of the images are those of the other tests.
func TestComposeImages(t *testing.T) {
	makefile := read(t, "../Makefile")
	pinned := func(name, pattern string) string {
		match := regexp.MustCompile(`(?m)^` + name + ` *:= *` + pattern + `$`).FindStringSubmatch(makefile)
		if match == nil {
			t.Fatalf("the Makefile has no %s like %s", name, pattern)
		}
		return match[1]
	}
	// The version of the module v0.316.0 is 3.16.0: the first digit is the major version.
	module := pinned("PROMETHEUS_VERSION", `v0\.(\d{3,}\.\d+)`)
	want := map[string]string{
		"prometheus":   "prom/prometheus:v" + module[:1] + "." + strings.TrimPrefix(module[1:3], "0") + module[3:],
		"alertmanager": "prom/alertmanager:" + pinned("ALERTMANAGER_VERSION", `(v\d+\.\d+\.\d+)`),
	}

	var dashboard struct{ DevDependencies map[string]string }
	if err := json.Unmarshal([]byte(read(t, "../internal/test/dashboard/package.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	for name, version := range dashboard.DevDependencies {
		if !strings.HasPrefix(name, "@grafana/") {
			continue
		}
		image := "grafana/grafana:" + version
		if other, ok := want["grafana"]; ok && other != image {
			t.Errorf("Grafana's packages differ: %s and %s", image, other)
		}
		want["grafana"] = image
	}

	project := loadProject(t)
	got := map[string]string{}
	for name, service := range project.Services {
		if service.Build == nil {
			got[name] = service.Image
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("the images are %v, want %v", got, want)
	}
}

// mounted copies the files that a service mounts below a directory, and returns the copy.
func mounted(t *testing.T, service types.ServiceConfig, below string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, volume := range service.Volumes {
		path, err := filepath.Rel(below, volume.Target)
		if err != nil || strings.HasPrefix(path, "..") {
			continue
		}
		text, err := os.ReadFile(volume.Source)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, path), string(text))
	}
	return dir
}

func TestComposePrometheus(t *testing.T) {
	project := loadProject(t)
	// This is the directory in the default command of the image.
	dir := mounted(t, project.Services["prometheus"], "/etc/prometheus")
	run(t, promtool, "check", "config", filepath.Join(dir, "prometheus.yml"))

	type static struct {
		StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
	}
	var config struct {
		Alerting      struct{ Alertmanagers []static }
		ScrapeConfigs []static `yaml:"scrape_configs"`
	}
	load(t, "compose/prometheus.yml", &config)
	var targets []string
	for _, s := range slices.Concat(config.ScrapeConfigs, config.Alerting.Alertmanagers) {
		for _, c := range s.StaticConfigs {
			targets = append(targets, c.Targets...)
		}
	}
	if want := []string{"exporter:10140", "alertmanager:9093"}; !slices.Equal(targets, want) {
		t.Errorf("the targets and Alertmanagers of Prometheus are %q, want %q", targets, want)
	}
	for _, target := range targets {
		hasPort(t, project, target)
	}
}

func TestComposeAlertmanager(t *testing.T) {
	dir := mounted(t, loadProject(t).Services["alertmanager"], "/etc/alertmanager")
	run(t, amtool, "check-config", filepath.Join(dir, "alertmanager.yml"))
}

func TestComposeGrafana(t *testing.T) {
	project := loadProject(t)
	grafana := project.Services["grafana"]
	provisioning := mounted(t, grafana, "/etc/grafana/provisioning")

	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, UID, Type, Access, URL string
			IsDefault                    bool           `yaml:"isDefault"`
			JSONData                     map[string]any `yaml:"jsonData"`
		}
	}
	loadStrictly(t, filepath.Join(provisioning, "datasources", "datasource.yml"), &sources)
	if len(sources.Datasources) != 1 || sources.APIVersion != 1 {
		t.Fatalf("the data sources are %+v", sources)
	}
	source := sources.Datasources[0]
	if source.Type != "prometheus" || !source.IsDefault {
		t.Errorf("the data source is %+v", source)
	}
	address, err := url.Parse(source.URL)
	if err != nil {
		t.Fatal(err)
	}
	hasPort(t, project, address.Host)

	var dashboards struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	loadStrictly(t, filepath.Join(provisioning, "dashboards", "dashboards.yml"), &dashboards)
	if len(dashboards.Providers) != 1 || dashboards.APIVersion != 1 || dashboards.Providers[0].Type != "file" {
		t.Fatalf("the providers of dashboards are %+v", dashboards)
	}
	home := grafana.Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if home == nil || filepath.Dir(*home) != dashboards.Providers[0].Options.Path {
		t.Errorf("the dashboard is not in the directory of the provider, %s", dashboards.Providers[0].Options.Path)
	} else if _, err := os.Stat(filepath.Join(mounted(t, grafana, filepath.Dir(*home)), filepath.Base(*home))); err != nil {
		t.Error(err)
	}
}

// hasPort checks that an address in the network of the project is the port of a service.
func hasPort(t *testing.T, project *types.Project, address string) {
	t.Helper()
	for name, service := range project.Services {
		for _, port := range service.Ports {
			if address == net.JoinHostPort(name, strconv.Itoa(int(port.Target))) {
				return
			}
		}
	}
	t.Errorf("no service has the address %s", address)
}

// loadStrictly decodes a YAML file, and rejects unknown fields.
func loadStrictly(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Load(text, into, yaml.WithKnownFields()); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}
