package release

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log" //nolint:depguard // the registry requires it
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

var credentials = authn.Basic{Username: "publisher", Password: "test-password"}

// startRegistry starts a registry that requires the credentials, and returns its address. While
// it is busy, it does not say which versions it has.
func startRegistry(t *testing.T, busy *atomic.Bool) string {
	t.Helper()
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	manifest := "/manifests/" + version(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != credentials.Username || password != credentials.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		if busy.Load() && strings.HasSuffix(r.URL.Path, manifest) {
			http.Error(w, "too many requests", http.StatusTooManyRequests)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// publication is a registry to publish to, with a key for the signatures.
type publication struct {
	registry string       // including the owner
	busy     *atomic.Bool // whether the registry is busy
	env      []string     // for publishing and for reading the registry
	key      string       // path of the public key
	outputs  string       // path of the file $GITHUB_OUTPUT
}

func newPublication(t *testing.T) publication {
	t.Helper()
	dir := t.TempDir()
	in := func(file string) string { return filepath.Join(dir, file) }
	busy := new(atomic.Bool)
	p := publication{
		registry: startRegistry(t, busy) + "/owner",
		busy:     busy,
		env:      []string{"DOCKER_CONFIG=" + in("docker"), "HELM_CONFIG_HOME=" + in("helm"), "HELM_CACHE_HOME=" + in("cache"), "HOME=" + dir, "COSIGN_PASSWORD=none"},
		key:      in("key.pub"),
		outputs:  in("outputs"),
	}
	run(t, p.env, cosign, "generate-key-pair", "--output-key-prefix="+in("key"))
	// This disables the transparency log and the certificates, which need the internet.
	run(t, p.env, cosign, "signing-config", "create", "--out="+in("signing.json"))
	run(t, p.env, cosign, "trusted-root", "create", "--out="+in("root.json"))
	p.env = append(p.env, "REGISTRY="+p.registry, "REGISTRY_USER="+credentials.Username, "REGISTRY_PASSWORD="+credentials.Password, "GITHUB_OUTPUT="+p.outputs,
		"COSIGN_FLAGS=--key="+in("key.key")+" --signing-config="+in("signing.json")+" --trusted-root="+in("root.json"))
	return p
}

// publish publishes a release like the workflow does.
func (p publication) publish(t *testing.T, dist string) (output string, err error) {
	t.Helper()
	all, err := command(t.Context(), p.env, "make", "-C", repository, "--silent", "publish", "DIST="+dist).CombinedOutput()
	if strings.Contains(string(all), credentials.Password) {
		t.Errorf("the output contains the password:\n%s", all)
	}
	return string(all), err
}

// digests returns the published digests of the image and the chart.
func (p publication) digests(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^(image|chart)-digest=(.*)$`).FindAllStringSubmatch(string(content(t, p.outputs)), -1) {
		found[match[1]] = match[2]
	}
	return found
}

// index returns the published image index.
func (p publication) index(t *testing.T, tag string) v1.ImageIndex {
	t.Helper()
	reference, err := name.ParseReference(p.registry + "/truefoundry_exporter:" + tag)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(reference, remote.WithAuth(&credentials), remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// copyRelease copies a release, so that a test can modify it.
func copyRelease(t *testing.T, dist string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(dist)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPublish(t *testing.T) {
	p, release, v := newPublication(t), copyRelease(t, dist), version(t)
	if output, err := p.publish(t, release); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	digests := p.digests(t)
	image, chart := p.registry+"/truefoundry_exporter", p.registry+"/charts/truefoundry-exporter"

	for _, tag := range []string{v, "latest"} {
		if digest, err := p.index(t, tag).Digest(); err != nil || digest.String() != digests["image"] {
			t.Errorf("%s is %s (%v), want %s", tag, digest, err, digests["image"])
		}
	}
	manifest, err := p.index(t, v).IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var published []string
	verify := []string{"--key=" + p.key, "--insecure-ignore-tlog=true"}
	for _, m := range manifest.Manifests {
		platform := m.Platform.OS + "-" + m.Platform.Architecture
		published = append(published, platform)
		bill := run(t, p.env, cosign, append([]string{"verify-attestation", "--type=cyclonedx", image + "@" + m.Digest.String()}, verify...)...)
		checkAttestation(t, bill, filepath.Join(dist, "truefoundry_exporter-"+v+"."+platform+".cdx.json"), m.Digest)
		run(t, p.env, cosign, append([]string{"verify", image + "@" + m.Digest.String()}, verify...)...)
	}
	if !slices.Equal(published, platforms) {
		t.Errorf("there are images for %q, want %q", published, platforms)
	}
	for _, signed := range []string{image + "@" + digests["image"], chart + "@" + digests["chart"]} {
		run(t, p.env, cosign, append([]string{"verify", signed}, verify...)...)
	}
	sums := filepath.Join(release, "sha256sums.txt")
	blob := append([]string{"verify-blob", "--bundle=" + sums + ".sigstore.json"}, verify...)
	run(t, p.env, cosign, append(blob, sums)...)
	// The signature must not verify other checksums.
	if err := os.WriteFile(sums+".other", append(content(t, sums), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := command(t.Context(), p.env, cosign, append(blob, sums+".other")...).CombinedOutput(); err == nil {
		t.Errorf("the signature verifies other checksums:\n%s", output)
	}

	pulled := t.TempDir()
	run(t, p.env, helm, "pull", "--plain-http", "--destination="+pulled, "--version="+v, "oci://"+chart)
	archive := "truefoundry-exporter-" + v + ".tgz"
	if !bytes.Equal(content(t, filepath.Join(pulled, archive)), content(t, filepath.Join(dist, archive))) {
		t.Error("the pulled chart differs from the release")
	}

	metadata, err := name.ParseReference(chart + ":artifacthub.io")
	if err != nil {
		t.Fatal(err)
	}
	artifact, err := remote.Image(metadata, remote.WithAuth(&credentials), remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := artifact.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("the metadata of the chart's repository has %d layers (%v), want 1", len(layers), err)
	}
	if media, err := layers[0].MediaType(); err != nil || media != "application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml" {
		t.Errorf("the media type is %s (%v), which Artifact Hub does not read", media, err)
	}
	stored, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer stored.Close()
	if text, err := io.ReadAll(stored); err != nil || !bytes.Equal(text, content(t, filepath.Join(repository, "deploy/helm/artifacthub-repo.yml"))) {
		t.Errorf("the metadata of the chart's repository is (%v)\n%s", err, text)
	}
}

// checkAttestation checks that an attestation is for the image and contains the SBOM.
func checkAttestation(t *testing.T, envelope, path string, image v1.Hash) {
	t.Helper()
	var signed struct{ Payload []byte }
	if err := json.Unmarshal([]byte(envelope), &signed); err != nil {
		t.Fatalf("%v\n%s", err, envelope)
	}
	var statement struct {
		Subject   []struct{ Digest map[string]string }
		Predicate json.RawMessage
	}
	if err := json.Unmarshal(signed.Payload, &statement); err != nil {
		t.Fatal(err)
	}
	if len(statement.Subject) != 1 || statement.Subject[0].Digest["sha256"] != image.Hex {
		t.Errorf("the SBOM is for %v, want %s", statement.Subject, image)
	}
	if got, want := indented(t, statement.Predicate), indented(t, content(t, path)); got != want {
		t.Errorf("the SBOM of %s is\n%s, want\n%s", image, got, want)
	}
}

// indented formats JSON with sorted names.
func indented(t *testing.T, text []byte) string {
	t.Helper()
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	sorted, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(sorted)
}

// A failed workflow can be run again.
func TestPublishAgain(t *testing.T) {
	p := newPublication(t)
	var first map[string]string
	for range 2 {
		if output, err := p.publish(t, copyRelease(t, dist)); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		if digests := p.digests(t); first == nil {
			first = digests
		} else if digests["image"] != first["image"] || digests["chart"] != first["chart"] {
			t.Errorf("the digests are %v, want %v like the first time", digests, first)
		}
	}
}

func TestPublishRefuses(t *testing.T) {
	v := version(t)
	reference := func(t *testing.T, address string) name.Reference {
		t.Helper()
		parsed, err := name.ParseReference(address)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for title, test := range map[string]struct {
		prepare func(t *testing.T, p publication, dist string)
		want    string
	}{
		"to replace a published image": {
			func(t *testing.T, p publication, _ string) {
				if err := remote.WriteIndex(reference(t, p.registry+"/truefoundry_exporter:"+v), empty.Index, remote.WithAuth(&credentials)); err != nil {
					t.Fatal(err)
				}
			},
			"/truefoundry_exporter:" + v + " is published already",
		},
		"to replace a published chart": {
			func(t *testing.T, p publication, dist string) {
				image, err := layoutImage(dist)
				if err != nil {
					t.Fatal(err)
				}
				if err := remote.Write(reference(t, p.registry+"/charts/truefoundry-exporter:"+v), image, remote.WithAuth(&credentials)); err != nil {
					t.Fatal(err)
				}
			},
			"/charts/truefoundry-exporter:" + v + " is published already",
		},
		"without knowing what is published": {
			func(_ *testing.T, p publication, _ string) { p.busy.Store(true) },
			"cannot tell whether 127.0.0.1:",
		},
		"files with wrong checksums": {
			func(t *testing.T, _ publication, dist string) {
				if err := os.WriteFile(filepath.Join(dist, "truefoundry-exporter-"+v+".linux-amd64.deb"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			"truefoundry-exporter-" + v + ".linux-amd64.deb: FAILED",
		},
	} {
		t.Run(title, func(t *testing.T) {
			p, release := newPublication(t), copyRelease(t, dist)
			test.prepare(t, p, release)
			output, err := p.publish(t, release)
			if err == nil || !strings.Contains(output, test.want) {
				t.Errorf("%v, want %q in\n%s", err, test.want, output)
			}
			latest := reference(t, p.registry+"/truefoundry_exporter:latest")
			if _, err := remote.Head(latest, remote.WithAuth(&credentials)); err == nil {
				t.Error("an image was published anyway")
			}
			if _, err := os.Stat(p.outputs); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it wrote outputs: %s", content(t, p.outputs))
			}
		})
	}
}

// This runs the binary from the image for this machine's platform.
func TestImage(t *testing.T) {
	image, err := layoutImage(dist)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65534:65534" || !slices.Equal(config.Config.Entrypoint, []string{"/bin/truefoundry_exporter"}) || config.Architecture != runtime.GOARCH {
		t.Errorf("the image is for %s, and runs %q as %s", config.Architecture, config.Config.Entrypoint, config.Config.User)
	}
	if got := config.Config.Labels["org.opencontainers.image.version"]; got != version(t) {
		t.Errorf("the version label is %s", got)
	}
	head := strings.TrimSpace(run(t, nil, "git", "-C", repository, "rev-parse", "HEAD"))
	if got := config.Config.Labels["org.opencontainers.image.revision"]; got != head {
		t.Errorf("the revision label is %s, want %s", got, head)
	}

	flat := mutate.Extract(image)
	defer flat.Close()
	got := map[string][]byte{}
	for reader := tar.NewReader(flat); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			if got[header.Name], err = io.ReadAll(reader); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(got) != 2 {
		t.Errorf("the image has %d files, want 2", len(got))
	}
	if pool := x509.NewCertPool(); !pool.AppendCertsFromPEM(got["etc/ssl/certs/ca-certificates.crt"]) {
		t.Error("there are no certificates")
	}
	binary := filepath.Join(t.TempDir(), "truefoundry_exporter")
	if err := os.WriteFile(binary, got["bin/truefoundry_exporter"], 0o700); err != nil {
		t.Fatal(err)
	}
	if output, want := run(t, nil, binary, "--version"), "truefoundry_exporter, version "+version(t)+" "; !strings.HasPrefix(output, want) {
		t.Errorf("--version prints %s, want %s", output, want)
	}
}

// layoutImage returns the image for this machine's platform from a release.
func layoutImage(dist string) (v1.Image, error) {
	path, err := layout.FromPath(filepath.Join(dist, "image"))
	if err != nil {
		return nil, err
	}
	top, err := path.ImageIndex()
	if err != nil {
		return nil, err
	}
	tops, err := top.IndexManifest()
	if err != nil {
		return nil, err
	}
	index, err := top.ImageIndex(tops.Manifests[0].Digest)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if m.Platform.Architecture == runtime.GOARCH {
			return index.Image(m.Digest)
		}
	}
	return nil, fmt.Errorf("there is no image for %s", runtime.GOARCH)
}
