package deploytest

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// release builds what is published for a platform and returns where it is.
func release(t *testing.T, platform string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	run(t, "make", "-C", "../..", "--silent", "release", "RELEASE_PLATFORMS="+platform, "DIST="+dir)
	return dir
}

func TestRelease(t *testing.T) {
	const repository = "../.."
	version, err := os.ReadFile(filepath.Join(repository, "VERSION"))
	if err != nil {
		t.Fatal(err)
	}
	platform := runtime.GOOS + "/" + runtime.GOARCH
	name := "truefoundry_exporter-" + strings.TrimSpace(string(version)) + "." + strings.ReplaceAll(platform, "/", "-")
	dir, again := release(t, platform), release(t, platform)

	published := []string{"sha256sums.txt", name + ".cdx.json", name + ".tar.gz"}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, entry := range entries {
		files = append(files, entry.Name())
	}
	if !slices.Equal(files, published) {
		t.Errorf("there are %q, want %q", files, published)
	}
	verified, _ := run(t, "sh", "-c", "cd '"+dir+"' && sha256sum --check --strict sha256sums.txt")
	if want := name + ".tar.gz: OK\n" + name + ".cdx.json: OK\n"; verified != want {
		t.Errorf("verified is\n%s, want\n%s", verified, want)
	}
	for _, file := range published {
		if !bytes.Equal(content(t, filepath.Join(dir, file)), content(t, filepath.Join(again, file))) {
			t.Errorf("%s is another one when it is built again", file)
		}
	}

	archive := filepath.Join(dir, name+".tar.gz")
	listed, _ := run(t, "tar", "--list", "--file="+archive)
	var members []string
	for _, member := range []string{"", "CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "truefoundry_exporter"} {
		members = append(members, name+"/"+member)
	}
	if got := strings.Fields(listed); !slices.Equal(got, members) {
		t.Errorf("the archive has %q, want %q", got, members)
	}
	run(t, "tar", "--extract", "--directory="+dir, "--file="+archive)
	binary := filepath.Join(dir, name, "truefoundry_exporter")
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	settings, modules := map[string]string{}, map[string]string{}
	for _, setting := range info.Settings {
		settings[setting.Key] = setting.Value
	}
	for _, module := range info.Deps {
		modules[module.Path] = module.Version
	}
	if got := settings["GOOS"] + "/" + settings["GOARCH"]; got != platform || settings["CGO_ENABLED"] != "0" {
		t.Errorf("it is of %s, with cgo %s", got, settings["CGO_ENABLED"])
	}
	if got := billOfMaterials(t, filepath.Join(dir, name+".cdx.json")); !maps.Equal(got, modules) || len(got) == 0 {
		t.Errorf("the SBOM names\n%v, and in the binary are\n%v", got, modules)
	}
	said, _ := run(t, binary, "--version")
	if prefix := "truefoundry_exporter, version " + strings.TrimSpace(string(version)) + " "; !strings.HasPrefix(said, prefix) {
		t.Errorf("it says %s, want %s", said, prefix)
	}
}

// billOfMaterials returns the modules of an SBOM with their versions.
func billOfMaterials(t *testing.T, path string) map[string]string {
	t.Helper()
	var bill struct {
		BOMFormat  string
		Components []struct{ Type, Name, Version, PURL string }
	}
	if err := json.Unmarshal(content(t, path), &bill); err != nil {
		t.Fatal(err)
	}
	if bill.BOMFormat != "CycloneDX" {
		t.Errorf("the SBOM is of the format %q", bill.BOMFormat)
	}
	modules := map[string]string{}
	for _, c := range bill.Components {
		if c.Name == "std" {
			continue
		}
		if c.Type != "library" || !strings.HasPrefix(c.PURL, "pkg:golang/"+c.Name+"@"+c.Version) {
			t.Errorf("the SBOM has %+v", c)
		}
		modules[c.Name] = c.Version
	}
	return modules
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
