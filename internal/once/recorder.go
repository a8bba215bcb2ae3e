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

// maxBody is how much of a response is looked at, in bytes.
const maxBody = 64 << 20

// Recorder records the structure of responses, and nothing of what they say.
type Recorder struct {
	mu      sync.Mutex
	targets int
	all     []recorded
}

// recorded is the structure of a response, and to what request.
type recorded struct {
	target   int
	endpoint string
	offset   int
	// text describes it, in lines.
	text string
}

// Wrap returns a transport for another target that records what the one below
// receives.
func (r *Recorder) Wrap(below http.RoundTripper) http.RoundTripper {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.targets++
	return &recording{recorder: r, target: r.targets, below: below}
}

// WriteTo writes the structures, by target and offset, to w. Targets have numbers:
// their names may not be fit for the public.
func (r *Recorder) WriteTo(w io.Writer) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortStableFunc(r.all, func(a, b recorded) int {
		return cmp.Or(cmp.Compare(a.target, b.target), cmp.Compare(a.endpoint, b.endpoint), cmp.Compare(a.offset, b.offset))
	})
	var b bytes.Buffer
	for _, response := range r.all {
		fmt.Fprintf(&b, "target %d, %s, offset %d: %s", response.target, response.endpoint, response.offset, response.text)
	}
	return b.WriteTo(w)
}

func (r *Recorder) add(target int, req *http.Request, text string) {
	offset, _ := strconv.Atoi(req.URL.Query().Get("offset"))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, recorded{target, path.Base(req.URL.Path), offset, text})
}

// recording is the transport of a target.
type recording struct {
	recorder *Recorder
	target   int
	below    http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *recording) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.below.RoundTrip(req)
	if err != nil {
		t.recorder.add(t.target, req, "no response\n")
		return nil, err
	}
	read, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	rest := resp.Body
	again := io.MultiReader(bytes.NewReader(read), rest)
	if err != nil {
		again = io.MultiReader(bytes.NewReader(read), failing{err})
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{again, rest}
	t.recorder.add(t.target, req, describe(resp, read))
	return resp, nil
}

// failing is a reader that has failed.
type failing struct{ err error }

// Read implements io.Reader.
func (f failing) Read([]byte) (int, error) { return 0, f.err }

// describe returns the structure of a response in lines.
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

// mediaType is that of the header, if it is a common one.
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

// decompress returns the body without its content encoding, and names that.
func decompress(header http.Header, body []byte) (plain []byte, encoding string, err error) {
	switch strings.ToLower(header.Get("Content-Encoding")) {
	case "", "identity":
		return body, "not compressed", nil
	case "gzip", "x-gzip":
		r, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			plain, err = io.ReadAll(io.LimitReader(r, maxBody))
		}
		return plain, "gzip", err
	}
	return nil, "another content encoding", errors.New("it is not known")
}
