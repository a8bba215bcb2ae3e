package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// The exporter starts with the values in the README, and they result in the configuration
// that the README shows.
func TestReadme(t *testing.T) {
	t.Parallel()
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(read(t, chartDir, "README.md"), -1)
	var (
		configs string
		shown   []string
	)
	for _, block := range blocks {
		switch text := block[1]; {
		case strings.Contains(text, "kind: ExternalSecret"):
		case strings.Contains(text, "credentials_file:"):
			shown = append(shown, text)
		default:
			all := mustRender(t, text)
			if err := startError(t, all); err != "" {
				t.Errorf("%s: %s", text, err)
			}
			configs += config(t, all, fullName)
		}
	}
	if len(shown) != 1 || !strings.Contains(configs, shown[0]) {
		t.Errorf("the README shows %q, which is not rendered:\n%s", shown, configs)
	}
}

// This uses the command in the README.
func TestOneURLAndOneSecretAreEnough(t *testing.T) {
	t.Parallel()
	args := []string{"template", "rel", chartDir, "--namespace=mon"}
	for _, match := range regexp.MustCompile(`--set '([^']*)'`).FindAllStringSubmatch(read(t, chartDir, "README.md"), -1) {
		args = append(args, "--set", match[1])
	}
	out, errOut, err := run(t, helmPath, args...)
	if err != nil || len(args) != 8 {
		t.Fatalf("helm %q: %v\n%s", args, err, errOut)
	}
	all := decode(t, out)
	if err := startError(t, all); err != "" {
		t.Error(err)
	}
	sources := deployment(t, all).Spec.Template.Spec.Volumes[1].Projected.Sources
	if secret := sources[0].Secret; secret.Name != "truefoundry-key" || secret.Items[0].Key != "api-key" {
		t.Errorf("the key is read from %v", secret)
	}
	if text := read(t, chartDir, "README.md"); !strings.Contains(text, "create secret generic truefoundry-key --from-file=api-key=") {
		t.Error("the README creates another Secret")
	}
}

func TestTheExporterStartsWithTheExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(chartDir, "examples/*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no examples: %v", err)
	}
	for _, file := range files {
		all := mustRender(t, read(t, file))
		if err := startError(t, all); err != "" {
			t.Errorf("%s: %s", file, err)
		}
		for _, kind := range []string{"ServiceMonitor", "PrometheusRule"} {
			if all[kind+"/"+fullName] == nil {
				t.Errorf("%s has no %s", file, kind)
			}
		}
		if !strings.Contains(read(t, chartDir, "README.md"), "/examples/"+filepath.Base(file)) {
			t.Errorf("the README does not mention %s", file)
		}
	}
	decode(t, read(t, "../../../../deploy/alertmanager/alertmanagerconfig.yaml"))
}

// The annotations for Artifact Hub match the release.
func TestArtifactHub(t *testing.T) {
	t.Parallel()
	var chart struct {
		AppVersion  string `yaml:"appVersion"`
		Icon        string
		Annotations map[string]string
	}
	if err := yaml.Load([]byte(read(t, chartDir, "Chart.yaml")), &chart); err != nil {
		t.Fatal(err)
	}
	var images []struct {
		Name, Image string
		Platforms   []string
	}
	if err := yaml.Load([]byte(chart.Annotations["artifacthub.io/images"]), &images, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	if got := deployment(t, mustRender(t)).Spec.Template.Spec.Containers[0].Image; len(images) != 1 || images[0].Image != got {
		t.Errorf("the images are %v, want %s", images, got)
	}
	var links []struct{ Name, URL string }
	if err := yaml.Load([]byte(chart.Annotations["artifacthub.io/links"]), &links, yaml.WithKnownFields()); err != nil {
		t.Fatal(err)
	}
	// The icon and the linked files exist in the repository.
	const raw, blob = "https://raw.githubusercontent.com/truefoundry-community/truefoundry_exporter/main/", "https://github.com/truefoundry-community/truefoundry_exporter/blob/main/"
	paths := []string{strings.TrimPrefix(chart.Icon, raw)}
	for _, link := range links {
		if path, found := strings.CutPrefix(link.URL, blob); found {
			paths = append(paths, path)
		}
	}
	for _, match := range regexp.MustCompile(`\(`+regexp.QuoteMeta(blob)+`([^)#]*)\)`).FindAllStringSubmatch(read(t, chartDir, "README.md"), -1) {
		paths = append(paths, match[1])
	}
	if len(paths) < 5 {
		t.Errorf("found only the paths %q", paths)
	}
	for _, path := range paths {
		if _, err := os.Stat(filepath.Join("../../../..", path)); err != nil {
			t.Error(err)
		}
	}
	if licence := chart.Annotations["artifacthub.io/license"]; licence != "Apache-2.0" || !strings.Contains(read(t, "../../../../LICENSE"), "Apache License") {
		t.Errorf("the licence is %s", licence)
	}
	var repository struct {
		RepositoryID string `yaml:"repositoryID"`
		Ignore       []struct{ Name, Version string }
		Owners       []struct{ Name, Email string }
	}
	if err := yaml.Load([]byte(read(t, "../../../../deploy/helm/artifacthub-repo.yml")), &repository, yaml.WithKnownFields()); err != nil {
		t.Error(err)
	}
	if !slices.ContainsFunc(repository.Ignore, func(i struct{ Name, Version string }) bool {
		return regexp.MustCompile(i.Version).MatchString("1.0.0-rc.1") && !regexp.MustCompile(i.Version).MatchString("1.0.0")
	}) {
		t.Errorf("pre-releases are not ignored: %v", repository.Ignore)
	}
}
