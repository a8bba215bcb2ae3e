// Command image writes the exporter's image, for each platform that it is given a
// binary of, as an OCI image layout. The same input gives the same digest.
//
// Dockerfile describes the same image; .ci/dockerfile compares the two.
package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

const usage = "usage: image -version=VERSION -revision=COMMIT -created=SECONDS -output=DIRECTORY, and OS/ARCH=BINARY for each platform"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	version := flags.String("version", "", "the exporter's `version`")
	revision := flags.String("revision", "", "the `commit` that it was built from")
	created := flags.Int64("created", 0, "time of the commit, in `seconds` since 1970")
	output := flags.String("output", "", "the `directory` to write the layout into; it must not exist")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *version == "" || *created == 0 || *output == "" || flags.NArg() == 0 {
		return errors.New(usage)
	}
	// layout.Write would add to the images that are there.
	if _, err := os.Lstat(*output); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s must not exist (%w)", *output, err)
	}

	certificates := certificates()
	labels := map[string]string{
		"org.opencontainers.image.title":       "truefoundry_exporter",
		"org.opencontainers.image.description": "Prometheus exporter for the expiry of TrueFoundry personal access tokens and virtual accounts",
		"org.opencontainers.image.source":      "https://github.com/truefoundry-community/truefoundry_exporter",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     *version,
		"org.opencontainers.image.revision":    *revision,
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arg := range flags.Args() {
		platform, binary, _ := strings.Cut(arg, "=")
		goos, arch, ok := strings.Cut(platform, "/")
		if !ok || binary == "" {
			return fmt.Errorf("%q is not of the form linux/amd64=PATH", arg)
		}
		executable, err := os.ReadFile(binary) //nolint:gosec // whoever runs this names the file
		if err != nil {
			return err
		}
		image, err := newImage(v1.ConfigFile{
			OS: goos, Architecture: arch,
			Created: v1.Time{Time: time.Unix(*created, 0).UTC()},
			Config: v1.Config{
				User:         "65534:65534",
				Entrypoint:   []string{"/bin/truefoundry_exporter"},
				ExposedPorts: map[string]struct{}{"10140/tcp": {}},
				Labels:       labels,
			},
		}, []file{
			{"bin/truefoundry_exporter", 0o755, executable},
			{"etc/ssl/certs/ca-certificates.crt", 0o644, certificates},
		})
		if err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: goos, Architecture: arch}},
		})
	}
	annotated, ok := mutate.Annotations(index, labels).(v1.ImageIndex)
	if !ok {
		return errors.New("the index is none any more with annotations")
	}
	directory, err := layout.Write(*output, empty.Index)
	if err != nil {
		return err
	}
	return directory.AppendIndex(annotated)
}

// file is one of the image's.
type file struct {
	name    string
	mode    int64
	content []byte
}

// newImage returns an image with the files in one layer.
func newImage(config v1.ConfigFile, files []file) (v1.Image, error) {
	archive, err := archive(files, config.Created.Time)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base, err = mutate.ConfigFile(base, &config)
	if err != nil {
		return nil, err
	}
	return mutate.Append(base, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: config.Created, CreatedBy: "internal/test/integration/release/image"},
	})
}

// archive returns a tar archive of the files and of the directories above them,
// all of which belong to root.
func archive(files []file, modified time.Time) ([]byte, error) {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	written := map[string]bool{".": true}
	var add func(header *tar.Header) error
	add = func(header *tar.Header) error {
		if above := path.Dir(strings.TrimSuffix(header.Name, "/")); !written[above] {
			written[above] = true
			if err := add(&tar.Header{Typeflag: tar.TypeDir, Name: above + "/", Mode: 0o755}); err != nil {
				return err
			}
		}
		header.ModTime = modified
		return writer.WriteHeader(header)
	}
	for _, f := range files {
		if err := add(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.content))}); err != nil {
			return nil, err
		}
		if _, err := writer.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return buffer.Bytes(), nil
}

// certificates returns Mozilla's root certificates, as Go's authors publish them.
// The machine's own would differ from machine to machine. Roots that are trusted
// with constraints are left out, since PEM cannot say those.
func certificates() []byte {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return text.Bytes()
}
