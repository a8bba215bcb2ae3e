package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
)

const (
	// maxBody is the maximum size of a decompressed page, in bytes.
	maxBody = 64 << 20
	// maxBuffered is the maximum size of a response that is received as a whole before
	// it is decoded, in bytes.
	maxBuffered = 2 << 20
	// maxErrorBody is the maximum size of an error response that is read, in bytes.
	maxErrorBody = 16 << 10
	// sniffSize is the size of the part of a page that is searched for HTML, in bytes.
	sniffSize = 4 << 10
)

// pageRequest is a request for one page.
type pageRequest struct {
	credential Credential
	kind       Kind
	offset     int
	// maxItems is the maximum number of items of the page.
	maxItems int
}

// get requests a page and decodes it. It ends the request of the slot before decoding, if
// the response fits in a buffer.
func (c *Client) get(ctx context.Context, pr pageRequest, slot *slot) (*page, *Error) {
	a := new(attempt)
	req, err := c.newRequest(a.trace(ctx), pr)
	if err != nil {
		return nil, TransportError(ctx, err)
	}
	observe := c.observe()
	resp, err := c.cfg.Transport.RoundTrip(req)
	if err != nil {
		observe(0)
		return nil, a.transportError(ctx, err, pr.credential)
	}
	defer resp.Body.Close()
	if !isOK(resp.StatusCode) {
		failure := c.statusError(resp, a, pr.credential)
		observe(resp.StatusCode)
		return nil, failure
	}

	body := &errorRecorder{r: resp.Body}
	buffer, complete := c.buffer(body)
	defer c.buffers.Put(buffer)
	if complete {
		observe(resp.StatusCode)
		slot.endRequest()
	}
	secrets := a.secrets(pr.credential)
	p, err := readPage(ctx, io.MultiReader(buffer, body), resp.Header, pr, secrets)
	if !complete {
		observe(resp.StatusCode)
	}
	switch {
	case err == nil:
		return p, nil
	case ctx.Err() != nil || body.err != nil:
		return nil, a.transportError(ctx, body.err, pr.credential)
	}
	return nil, c.pageError(resp, err, pr, secrets)
}

// isOK reports whether a response with this status should be a page. The status is 203 if a
// proxy has modified the response.
func isOK(status int) bool {
	return status == http.StatusOK || status == http.StatusNonAuthoritativeInfo
}

// newRequest returns the request for a page.
func (c *Client) newRequest(ctx context.Context, pr pageRequest) (*http.Request, error) {
	u := c.cfg.URL.JoinPath(c.cfg.APIPrefix, "v1", pr.kind.endpoint())
	u.RawQuery = "limit=" + strconv.Itoa(c.cfg.PageSize) + "&offset=" + strconv.Itoa(pr.offset)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", pr.credential.authorization())
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	return req, nil
}

// observe measures the duration of a request. It returns a function that ends the
// measurement and calls Trace.Request.
func (c *Client) observe() func(status int) {
	start := c.cfg.Now()
	return func(status int) { c.cfg.Trace.Request(status, c.cfg.Now().Sub(start)) }
}

// buffer receives up to maxBuffered bytes of a body. It reports whether the body is complete.
func (c *Client) buffer(body io.Reader) (buffer *bytes.Buffer, complete bool) {
	buffer, _ = c.buffers.Get().(*bytes.Buffer)
	buffer.Reset()
	_, err := io.CopyN(buffer, body, maxBuffered)
	return buffer, errors.Is(err, io.EOF)
}

// byteOrderMark precedes the JSON of some servers, against the standard.
var byteOrderMark = []byte("\xef\xbb\xbf")

// readPage decompresses and decodes the body of a response.
func readPage(ctx context.Context, body io.Reader, header http.Header, pr pageRequest, secrets []string) (*page, error) {
	decompressed, err := decompress(body, header.Get("Content-Encoding"))
	if err != nil {
		return nil, err
	}
	limited := &limitedReader{ctx: ctx, r: decompressed, left: maxBody}
	start := make([]byte, sniffSize)
	n, err := io.ReadFull(limited, start)
	switch start = bytes.TrimPrefix(start[:n], byteOrderMark); {
	case len(start) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return nil, errEmpty
	case isHTML(start):
		return nil, &htmlError{title: htmlTitle(start)}
	}
	return decodePage(io.MultiReader(bytes.NewReader(start), limited), pr.offset, pr.maxItems, secrets...)
}

// decompress returns the decoded body. The only supported content encoding is gzip.
func decompress(body io.Reader, encoding string) (io.Reader, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(body)
	}
	return nil, fmt.Errorf("its content encoding %s was not asked for", encoding)
}

// parseRetryAfter returns the wait that a Retry-After header asks for, or 0 if the header
// is absent or invalid.
func parseRetryAfter(header string, now time.Time) time.Duration {
	// ParseUint returns ErrRange without checking the remaining characters.
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) && strings.Trim(header, "0123456789") == "" {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// errorRecorder records a read error, to distinguish a broken connection from invalid
// content.
type errorRecorder struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (e *errorRecorder) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if err != nil && err != io.EOF {
		e.err = err
	}
	return n, err
}

// limitedReader is like io.LimitedReader, but returns an error at the limit. It also
// returns an error when ctx ends, because decoding a received page may take long.
type limitedReader struct {
	ctx  context.Context
	r    io.Reader
	left int // bytes
}

// Read implements io.Reader.
func (l *limitedReader) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.left == 0 {
		return 0, errBodyTooLarge
	}
	n, err := l.r.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
