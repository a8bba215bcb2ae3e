package once

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

// maxBodySize is the maximum size of the part of a response that is described, in bytes.
const maxBodySize = 64 << 20

// Recorder records the structure of responses without their values.
type Recorder struct {
	mu        sync.Mutex
	targets   int // the number of targets so far
	responses []recordedResponse
}

// recordedResponse describes a response.
type recordedResponse struct {
	target   int
	endpoint string
	offset   int
	text     string // the structure, in lines
}

// Wrap returns a transport that records the responses of a new target.
func (r *Recorder) Wrap(next http.RoundTripper) http.RoundTripper {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.targets++
	return &recordingTransport{recorder: r, target: r.targets, next: next}
}

// WriteTo writes the structure of all responses to w. Targets are numbered, since their
// names may be confidential.
func (r *Recorder) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(r.responses, func(a, b recordedResponse) int {
		return cmp.Or(cmp.Compare(a.target, b.target), cmp.Compare(a.endpoint, b.endpoint), cmp.Compare(a.offset, b.offset))
	})
	var b bytes.Buffer
	for _, response := range r.responses {
		fmt.Fprintf(&b, "target %d, %s, offset %d: %s", response.target, response.endpoint, response.offset, response.text)
	}
	return b.WriteTo(w)
}

// add records the response to a request.
func (r *Recorder) add(target int, req *http.Request, text string) {
	offset, _ := strconv.Atoi(req.URL.Query().Get("offset"))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.responses = append(r.responses, recordedResponse{target, path.Base(req.URL.Path), offset, text})
}

// recordingTransport is the transport of a target.
type recordingTransport struct {
	recorder *Recorder
	target   int
	next     http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *recordingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		t.recorder.add(t.target, req, "no response\n")
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBodySize))
	var rest io.Reader = resp.Body
	if err != nil {
		rest = errReader{err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), rest), resp.Body}
	t.recorder.add(t.target, req, describe(resp, body))
	return resp, nil
}

// errReader is a reader that returns an error.
type errReader struct{ err error }

// Read implements io.Reader.
func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// describe returns the structure of a response, in lines.
func describe(resp *http.Response, body []byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "status %d, %s, ", resp.StatusCode, mediaType(resp.Header))
	plain, encoding, err := decompress(resp.Header, body)
	fmt.Fprintf(&b, "%s, %d bytes\n", encoding, len(body))
	if err != nil {
		fmt.Fprintln(&b, "  it cannot be decompressed")
		return b.String()
	}
	s, err := shapeOf(plain)
	switch {
	case err == nil:
		s.write(&b, "JSON", "  ")
	case len(plain) == 0:
		fmt.Fprintln(&b, "  empty")
	case bytes.HasPrefix(bytes.TrimSpace(plain), []byte("<")):
		fmt.Fprintf(&b, "  HTML or XML of %d bytes\n", len(plain))
	default:
		fmt.Fprintf(&b, "  no JSON: %d bytes\n", len(plain))
	}
	return b.String()
}

// mediaType returns the media type of a response if it is a common one.
func mediaType(header http.Header) string {
	text := header.Get("Content-Type")
	if text == "" {
		return "no media type"
	}
	media, _, _ := mime.ParseMediaType(text)
	if !slices.Contains([]string{"application/json", "application/problem+json", "text/html", "text/plain", "text/xml", "application/xml"}, media) {
		return "another media type"
	}
	return media
}

// decompress returns the decompressed body and the name of its content encoding.
func decompress(header http.Header, body []byte) (plain []byte, encoding string, err error) {
	switch strings.ToLower(header.Get("Content-Encoding")) {
	case "", "identity":
		return body, "not compressed", nil
	case "gzip", "x-gzip":
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			plain, err = io.ReadAll(io.LimitReader(r, maxBodySize))
		}
		return plain, "gzip", err
	}
	return nil, "another content encoding", errors.New("unknown content encoding")
}
