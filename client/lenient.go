package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// isPage tells whether an answer of this status is a page of the list. A proxy
// that has changed something about it says so with 203.
func isPage(status int) bool {
	return status == http.StatusOK || status == http.StatusNonAuthoritativeInfo
}

// byteOrderMark stands before the JSON of some servers, although it must not.
var byteOrderMark = []byte("\xef\xbb\xbf")

// markSkipper leaves out a byte order mark at the start.
type markSkipper struct {
	from  io.Reader
	begun bool
}

// Read implements io.Reader.
func (m *markSkipper) Read(p []byte) (int, error) {
	if m.begun || len(p) < len(byteOrderMark) {
		return m.from.Read(p)
	}
	m.begun = true
	n, err := io.ReadAtLeast(m.from, p, len(byteOrderMark))
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF // too short for any page
	}
	if bytes.HasPrefix(p[:n], byteOrderMark) {
		n = copy(p, p[len(byteOrderMark):n])
	}
	return n, err
}
