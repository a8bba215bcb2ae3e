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

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/docstest"
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
	root := filepath.Join(extractArchive(t, name+".tar.gz"), name)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, entry := range entries {
		got = append(got, entry.Name())
	}
	if want := []string{"CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "deploy", "docs", "truefoundry_exporter"}; !slices.Equal(got, want) {
		t.Errorf("the archive has %q, want %q", got, want)
	}
	binary := filepath.Join(root, "truefoundry_exporter")
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

// extractArchive extracts an archive of the release, and returns the directory.
func extractArchive(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, nil, "tar", "--extract", "--directory="+dir, "--file="+filepath.Join(dist, name))
	return dir
}

// Links of packaged documents lead to packaged files, or to files of the repository on
// GitHub.
func TestLinksOfPackagedDocuments(t *testing.T) {
	v := version(t)
	name := "truefoundry_exporter-" + v + ".linux-amd64"
	deb := t.TempDir()
	run(t, nil, "dpkg-deb", "--extract", filepath.Join(dist, "truefoundry-exporter-"+v+".linux-amd64.deb"), deb)
	for kind, root := range map[string]string{
		"archive": filepath.Join(extractArchive(t, name+".tar.gz"), name),
		"deb":     filepath.Join(deb, packagedDocuments),
	} {
		t.Run(kind, func(t *testing.T) {
			if got, want := files(t, filepath.Join(root, "docs")), files(t, filepath.Join(repository, "docs")); !slices.Equal(got, want) {
				t.Errorf("docs/ has %q, want %q", got, want)
			}
			onGitHub := "https://github.com/truefoundry-community/truefoundry_exporter/blob/v" + v + "/"
			packaged, remote := 0, 0
			for _, file := range files(t, root) {
				if filepath.Ext(file) != ".md" {
					continue
				}
				for _, link := range docstest.Links(string(content(t, filepath.Join(root, file)))) {
					path, _, _ := strings.Cut(link, "#")
					target := filepath.Join(root, filepath.Dir(file), path)
					if inRepository, found := strings.CutPrefix(path, onGitHub); found {
						target = filepath.Join(repository, inRepository)
						remote++
					} else if strings.Contains(path, ":") || path == "" {
						continue
					} else {
						packaged++
					}
					if _, err := os.Stat(target); err != nil {
						t.Errorf("%s links to %s: %v", file, link, err)
					}
				}
			}
			if packaged == 0 || remote == 0 {
				t.Errorf("%d links lead to packaged files, and %d to GitHub", packaged, remote)
			}
		})
	}
}

// packagedDocuments is the directory of the documents in the packages.
const packagedDocuments = "/usr/share/doc/truefoundry-exporter"

func TestTheRPMHasTheDocumentsOfTheDeb(t *testing.T) {
	packages := filepath.Join(dist, "truefoundry-exporter-"+version(t)+".linux-amd64.")
	dir := t.TempDir()
	run(t, nil, "dpkg-deb", "--extract", packages+"deb", dir)
	var want []string
	for _, file := range files(t, filepath.Join(dir, packagedDocuments)) {
		want = append(want, packagedDocuments+"/"+file)
	}
	got := slices.DeleteFunc(strings.Fields(run(t, nil, "rpm", "--query", "--list", "--package", packages+"rpm")), func(path string) bool {
		_, err := os.ReadDir(filepath.Join(dir, path))
		return !strings.HasPrefix(path, packagedDocuments) || err == nil
	})
	if slices.Sort(got); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("the rpm has %q, want %q", got, want)
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
