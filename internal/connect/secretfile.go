package connect

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
)

// maxSecretSize is the maximum size of a file that contains a secret, in bytes.
const maxSecretSize = 64 << 10

// secretFile is the path of a file that contains a secret.
type secretFile string

// String returns a description of the file.
func (f secretFile) String() string { return "file " + string(f) }

// read returns the secret, without white space around it. Unlike prometheus/common, it
// does not block on pipes and limits the size.
func (f secretFile) read() (string, error) {
	text, err := f.readOnce()
	if errors.Is(err, fs.ErrNotExist) {
		// Kubernetes may replace a directory of the path while it is resolved.
		text, err = f.readOnce()
	}
	return text, err
}

func (f secretFile) readOnce() (string, error) {
	if err := checkRegular(string(f)); err != nil {
		return "", err
	}
	file, err := os.Open(string(f))
	if err != nil {
		return "", err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxSecretSize+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxSecretSize {
		return "", &fs.PathError{Op: "read", Path: string(f), Err: errors.New("file too large")}
	}
	plain, err := decodeText(text)
	if err != nil {
		return "", &fs.PathError{Op: "read", Path: string(f), Err: err}
	}
	return strings.TrimSpace(plain), nil
}

// decodeText removes the byte order mark of UTF-8. It returns an error for UTF-16.
func decodeText(raw []byte) (string, error) {
	if isUTF16(raw) {
		return "", errors.New("is in UTF-16, as PowerShell writes it: save it as UTF-8")
	}
	return string(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))), nil
}

// isUTF16 reports whether text begins with the byte order mark of UTF-16, or with two
// ASCII characters in UTF-16.
func isUTF16(raw []byte) bool {
	if bytes.HasPrefix(raw, []byte("\xff\xfe")) || bytes.HasPrefix(raw, []byte("\xfe\xff")) {
		return true
	}
	return len(raw) >= 4 && (raw[0] == 0 && raw[2] == 0 || raw[1] == 0 && raw[3] == 0)
}

// checkRegular returns an error if the file is not a regular file. Opening a pipe could
// block for ever.
func checkRegular(path string) error {
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

// checkReadable returns an error if the file cannot be read.
func checkReadable(path string) error {
	if err := checkRegular(path); err != nil {
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
