package targets

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/prometheus/common/config"
)

// maxSecret bounds what is read of a file that holds a secret, in bytes.
const maxSecret = 64 << 10

// fileSecret is a secret in a file, without the white space around it. Unlike
// that of prometheus/common, it does not wait for a pipe, and has a bound.
type fileSecret struct{ path string }

// Fetch implements config.SecretReader.
func (f fileSecret) Fetch(context.Context) (string, error) {
	text, err := f.read()
	if errors.Is(err, fs.ErrNotExist) {
		// Kubernetes replaces the directory that a link in the path leads to, and
		// may do so while the path is followed.
		text, err = f.read()
	}
	return text, err
}

func (f fileSecret) read() (string, error) {
	if err := regular(f.path); err != nil {
		return "", err
	}
	file, err := os.Open(f.path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSecret+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxSecret {
		return "", &fs.PathError{Op: "read", Path: f.path, Err: errors.New("file too large")}
	}
	secret, err := decodeText(text)
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: f.path, Err: err}
	}
	return strings.TrimSpace(secret), nil
}

// Description implements config.SecretReader.
func (f fileSecret) Description() string { return "file " + f.path }

// Immutable implements config.SecretReader.
func (fileSecret) Immutable() bool { return false }

// regular refuses what is no regular file: to open a pipe could take for ever.
func regular(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return &fs.PathError{Op: "read", Path: path, Err: errors.New("is a directory")}
	case !info.Mode().IsRegular():
		return &fs.PathError{Op: "read", Path: path, Err: errors.New("is not a regular file")}
	}
	return nil
}

// readable refuses what cannot be read.
func readable(path string) error {
	if err := regular(path); err != nil {
		return err
	}
	file, err := os.Open(path) //nolint:gosec // the user names it
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Read(make([]byte, 1)); err != io.EOF {
		return err
	}
	return nil
}

// looksLikeKey is the form of API keys, old and new.
var looksLikeKey = regexp.MustCompile(`^(tfy[-_]|eyJ[\w-]*\.)[^/]*$`)

// KeyFile returns where the key in the file is to be read. It refuses the key
// itself where the path of its file belongs: paths are shown.
func KeyFile(path string) (config.SecretReader, error) {
	if looksLikeKey.MatchString(path) {
		return nil, errors.New("this looks like the key itself: write it into a file, and the path of that here; then replace the key, which may have been seen")
	}
	return fileSecret{path}, nil
}
