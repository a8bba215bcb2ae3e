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
	// maxBody bounds the body of a response after it was decompressed, in bytes.
	maxBody = 64 << 20
	// maxBuffered is how much of a response is received before it is decoded, in
	// bytes.
	maxBuffered = 2 << 20
	// maxErrorBody bounds what is read of a response that is not a page, in bytes.
	maxErrorBody = 16 << 10
	// maxStart is how much of a page is looked at to tell what it is, in bytes.
	maxStart = 4 << 10
)

// pageRequest is a request for one page.
type pageRequest struct {
	credential Credential
	kind       Kind
	offset     int
	// maxItems is how many items the page may have.
	maxItems int
}

// get sends one request and returns the page. It ends the request of the slot as
// soon as the response has been received as a whole.
func (c *Client) get(ctx context.Context, pr pageRequest, slot *slot) (*page, *Error) {
	var sent attempt
	req, err := c.newRequest(sent.trace(ctx), pr)
	if err != nil {
		return nil, TransportError(ctx, err)
	}
	observe := c.observe()
	resp, err := c.cfg.Transport.RoundTrip(req)
	if err != nil {
		observe(0)
		return nil, sent.transportError(ctx, err, pr.credential)
	}
	defer resp.Body.Close()
	if !isPage(resp.StatusCode) {
		failure := c.statusError(resp, &sent, pr.credential)
		observe(resp.StatusCode)
		return nil, failure
	}

	body := &errorRecorder{from: resp.Body}
	buffer, complete := c.buffer(body)
	defer c.buffers.Put(buffer)
	if complete {
		observe(resp.StatusCode)
		slot.endRequest()
	}
	secrets := sent.sent(pr.credential)
	p, err := readPage(ctx, io.MultiReader(buffer, body), resp.Header, pr, secrets)
	if !complete {
		observe(resp.StatusCode)
	}
	switch {
	case err == nil:
		return p, nil
	case ctx.Err() != nil || body.err != nil:
		return nil, sent.transportError(ctx, body.err, pr.credential)
	}
	return nil, c.pageError(resp, err, pr, secrets)
}

// isPage reports whether a response of this status should be a page. With 203, a proxy
// says that it has changed something.
func isPage(status int) bool {
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

// observe starts the clock of a request, and returns the function that reports it.
func (c *Client) observe() func(status int) {
	start := c.cfg.Now()
	return func(status int) { c.cfg.Trace.Request(status, c.cfg.Now().Sub(start)) }
}

// buffer receives the beginning of a body, and reports whether that is all of it.
func (c *Client) buffer(body io.Reader) (buffer *bytes.Buffer, complete bool) {
	buffer, _ = c.buffers.Get().(*bytes.Buffer)
	buffer.Reset()
	_, err := io.CopyN(buffer, body, maxBuffered)
	return buffer, errors.Is(err, io.EOF)
}

// byteOrderMark stands in front of the JSON of some servers, although it must not.
var byteOrderMark = []byte("\xef\xbb\xbf")

// readPage decodes the body of a response.
func readPage(ctx context.Context, body io.Reader, header http.Header, pr pageRequest, secrets []string) (*page, error) {
	plain, err := decompress(body, header.Get("Content-Encoding"))
	if err != nil {
		return nil, err
	}
	from := &limitedReader{ctx: ctx, from: plain, left: maxBody}
	start := make([]byte, maxStart)
	n, err := io.ReadFull(from, start)
	switch start = bytes.TrimPrefix(start[:n], byteOrderMark); {
	case len(start) == 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return nil, errEmpty
	case isHTML(start):
		return nil, &htmlError{title: titleOf(start)}
	}
	return decodePage(io.MultiReader(bytes.NewReader(start), from), pr.offset, pr.maxItems, secrets...)
}

// decompress returns the body without its content encoding.
func decompress(body io.Reader, encoding string) (io.Reader, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(body)
	}
	return nil, fmt.Errorf("its content encoding %s was not asked for", encoding)
}

// parseRetryAfter returns how long the header asks to wait, 0 if it does not ask
// for anything that can be understood.
func parseRetryAfter(header string, now time.Time) time.Duration {
	// ParseUint reports a number that is too large before it has seen its end.
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) && strings.Trim(header, "0123456789") == "" {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// errorRecorder records the error that ended the reading, so that a broken
// connection can be told from broken content.
type errorRecorder struct {
	from io.Reader
	err  error
}

// Read implements io.Reader.
func (r *errorRecorder) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// limitedReader fails, instead of ending, after so many bytes. It also fails when
// ctx ends: decoding what has been received may take long.
type limitedReader struct {
	ctx  context.Context
	from io.Reader
	left int
}

// Read implements io.Reader.
func (l *limitedReader) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.left == 0 {
		return 0, errBodyTooLarge
	}
	n, err := l.from.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
