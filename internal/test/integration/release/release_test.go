package release

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

var platforms = []string{"linux-amd64", "linux-arm64"}

// files returns all files below a directory.
func files(t *testing.T, directory string) []string {
	t.Helper()
	var names []string
	err := fs.WalkDir(os.DirFS(directory), ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestReleaseFiles(t *testing.T) {
	v := version(t)
	var want, sums []string
	for _, platform := range platforms {
		sums = append(sums, "truefoundry_exporter-"+v+"."+platform+".tar.gz", "truefoundry_exporter-"+v+"."+platform+".cdx.json",
			"truefoundry-exporter-"+v+"."+platform+".deb", "truefoundry-exporter-"+v+"."+platform+".rpm")
	}
	sums = append(sums, "truefoundry-exporter-"+v+".tgz")
	want = append(slices.Clone(sums), "sha256sums.txt")
	slices.Sort(want)
	var got []string
	for _, name := range files(t, dist) {
		if !strings.HasPrefix(name, "image/") {
			got = append(got, name)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the files are\n%q, want\n%q", got, want)
	}
	verified := run(t, nil, "sh", "-c", "cd '"+dist+"' && sha256sum --check --strict sha256sums.txt")
	if want := strings.Join(sums, ": OK\n") + ": OK\n"; verified != want {
		t.Errorf("sha256sum prints\n%s, want\n%s", verified, want)
	}
}

func TestReleasesAreReproducible(t *testing.T) {
	again := t.TempDir()
	var list []string
	for _, platform := range platforms {
		list = append(list, strings.Replace(platform, "-", "/", 1))
	}
	run(t, nil, "make", "-C", repository, "--silent", "release", "RELEASE_PLATFORMS="+strings.Join(list, " "), "DIST="+again)
	names := files(t, dist)
	if got := files(t, again); !slices.Equal(got, names) {
		t.Errorf("the files are\n%q, want\n%q like the first time", got, names)
	}
	for _, name := range names {
		if !bytes.Equal(content(t, filepath.Join(dist, name)), content(t, filepath.Join(again, name))) {
			t.Errorf("%s differs when it is built again", name)
		}
	}
}

func TestArchive(t *testing.T) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	name := "truefoundry_exporter-" + version(t) + "." + strings.ReplaceAll(platform, "/", "-")
	archive := filepath.Join(dist, name+".tar.gz")
	var members []string
	for _, member := range []string{"", "CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "truefoundry_exporter"} {
		members = append(members, name+"/"+member)
	}
	if got := strings.Fields(run(t, nil, "tar", "--list", "--file="+archive)); !slices.Equal(got, members) {
		t.Errorf("the archive has %q, want %q", got, members)
	}
	dir := t.TempDir()
	run(t, nil, "tar", "--extract", "--directory="+dir, "--file="+archive)
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
		t.Errorf("the binary is for %s, with CGO_ENABLED=%s", got, settings["CGO_ENABLED"])
	}
	if got := sbomModules(t, filepath.Join(dist, name+".cdx.json")); !maps.Equal(got, modules) || len(got) == 0 {
		t.Errorf("the modules in the SBOM are\n%v, and in the binary\n%v", got, modules)
	}
	if output, want := run(t, nil, binary, "--version"), "truefoundry_exporter, version "+version(t)+" "; !strings.HasPrefix(output, want) {
		t.Errorf("--version prints %s, want %s", output, want)
	}
}

// sbomModules returns the modules in an SBOM with their versions.
func sbomModules(t *testing.T, path string) map[string]string {
	t.Helper()
	var bill struct {
		BOMFormat  string
		Components []struct{ Type, Name, Version, PURL string }
	}
	if err := json.Unmarshal(content(t, path), &bill); err != nil {
		t.Fatal(err)
	}
	if bill.BOMFormat != "CycloneDX" {
		t.Errorf("the format of the SBOM is %q", bill.BOMFormat)
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
