// Command image writes the exporter's image as an OCI image layout, for each platform with a
// binary. The same input results in the same digest.
//
// The Dockerfile describes the same image. The script .ci/dockerfile compares the two.
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
	version := flags.String("version", "", "`version` of the exporter")
	revision := flags.String("revision", "", "`commit` of the exporter")
	created := flags.Int64("created", 0, "time of the commit, in `seconds` since the Unix epoch")
	output := flags.String("output", "", "`directory` of the layout, which must not exist")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *version == "" || *created == 0 || *output == "" || flags.NArg() == 0 {
		return errors.New(usage)
	}
	// layout.Write would keep existing images.
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
		executable, err := os.ReadFile(binary) //nolint:gosec // the path is an argument
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
		return errors.New("the annotated index is not an image index")
	}
	directory, err := layout.Write(*output, empty.Index)
	if err != nil {
		return err
	}
	return directory.AppendIndex(annotated)
}

// file is a file of the image.
type file struct {
	name    string
	mode    int64
	content []byte
}

// newImage returns an image with the files in a single layer.
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

// archive returns a tar archive of the files and their parent directories. They are owned
// by root.
func archive(files []file, modified time.Time) ([]byte, error) {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	written := map[string]bool{".": true}
	var add func(header *tar.Header) error
	add = func(header *tar.Header) error {
		if parent := path.Dir(strings.TrimSuffix(header.Name, "/")); !written[parent] {
			written[parent] = true
			if err := add(&tar.Header{Typeflag: tar.TypeDir, Name: parent + "/", Mode: 0o755}); err != nil {
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

// certificates returns Mozilla's root certificates from a Go module, because the
// certificates of the system differ from machine to machine. Certificates with constraints
// are left out: PEM cannot express them.
func certificates() []byte {
	var text bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}))
		}
	}
	return text.Bytes()
}
