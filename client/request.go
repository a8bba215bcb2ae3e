package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

const (
	// maxBody bounds the body of an answer after it was unpacked, in bytes.
	maxBody = 64 << 20
	// maxHead is how much of an answer is held before it is decoded, in bytes.
	maxHead = 2 << 20
	// maxItems is how many items a page may have: a server that grants all at once
	// may be honest, and one that sends millions of next to nothing is not.
	maxItems = 100 * MaxPageSize
	// maxErrorBody bounds what is read of an answer that is no page, in bytes.
	maxErrorBody = 16 << 10
)

var (
	errTooLarge = errors.New("the answer is too large")
	errTooMany  = errors.New("the page has too many items")
)

// get asks once for the page of up to PageSize items from offset on. It calls
// received when a page is here as a whole, before it is decoded.
func (c *Client) get(ctx context.Context, key Key, kind Kind, offset int, received func()) (*page, *Error) {
	u := c.cfg.URL.JoinPath(c.cfg.APIPrefix, "v1", kind.endpoint())
	u.RawQuery = "limit=" + strconv.Itoa(c.cfg.PageSize) + "&offset=" + strconv.Itoa(offset)
	start, status := c.cfg.Now(), 0
	tell := sync.OnceFunc(func() { c.cfg.Trace.Request(status, c.cfg.Now().Sub(start)) })
	defer tell()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, TransportError(ctx, err)
	}
	req.Header.Set("Authorization", c.cfg.Scheme+" "+key.secret)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Encoding", "gzip")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	resp, err := c.cfg.Transport.RoundTrip(req)
	if err != nil {
		return nil, c.transportError(ctx, err)
	}
	defer resp.Body.Close()
	status = resp.StatusCode

	wire := &errorKeeper{from: resp.Body}
	var ahead io.Reader = wire
	if isPage(resp.StatusCode) {
		head, _ := c.heads.Get().(*bytes.Buffer)
		defer c.heads.Put(head)
		head.Reset()
		if _, err := io.CopyN(head, wire, maxHead); errors.Is(err, io.EOF) {
			tell()
			received()
		}
		ahead = io.MultiReader(head, wire)
	}
	body, err := unpack(ahead, resp.Header.Get("Content-Encoding"))
	if !isPage(resp.StatusCode) {
		var answer errorAnswer
		if err == nil {
			answer = readErrorAnswer(body)
		}
		return nil, c.statusError(resp, answer)
	}
	var p *page
	if err == nil {
		p, err = decodePage(&markSkipper{from: &limitedReader{ctx: ctx, from: body, left: maxBody}}, offset)
	}
	switch {
	case err == nil:
		return p, nil
	case ctx.Err() != nil || wire.err != nil:
		return nil, c.transportError(ctx, wire.err)
	case errors.Is(err, errTooMany):
		return nil, &Error{
			Reason: ReasonTooLarge,
			Status: status,
			What:   fmt.Sprintf("a page has more than %d items, and %d were asked for", maxItems, c.cfg.PageSize),
			Advice: "find out why the control plane disregards the limit",
			err:    err,
		}
	case errors.Is(err, errTooLarge):
		return nil, &Error{
			Reason: ReasonTooLarge,
			Status: status,
			What:   fmt.Sprintf("a page of %d items is larger than %d MiB", c.cfg.PageSize, maxBody>>20),
			Advice: "lower --truefoundry.page-size",
			err:    err,
		}
	}
	what := fmt.Sprintf("the answer (%s) is not a list of tokens: %s", cmp.Or(resp.Header.Get("Content-Type"), "no content type"), err.Error())
	if c.cfg.Discreet {
		what = "the answer (status " + strconv.Itoa(status) + ") is not a list of tokens"
	}
	return nil, &Error{
		Reason: ReasonBadResponse,
		Status: status,
		What:   what,
		Advice: "check that the URL and the API prefix lead to the control plane's API",
		err:    err,
	}
}

// unpack returns the body without its content encoding.
func unpack(body io.Reader, encoding string) (io.Reader, error) {
	switch strings.ToLower(encoding) {
	case "", "identity":
		return body, nil
	case "gzip", "x-gzip":
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		return unzipped, nil
	}
	return nil, fmt.Errorf("its content encoding %s was not asked for", encoding)
}

// statusError is the Error for an answer other than 200, with the server's own
// message where it gave one.
func (c *Client) statusError(resp *http.Response, answer errorAnswer) *Error {
	e := &Error{
		Status:     resp.StatusCode,
		What:       strings.TrimSpace(strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)),
		retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), c.cfg.Now()),
	}
	if resp.StatusCode == http.StatusUnauthorized {
		c.cfg.Refused()
	}
	switch code := resp.StatusCode; {
	case code == http.StatusProxyAuthRequired, !answer.fromAPI && (code == http.StatusUnauthorized || code == http.StatusForbidden):
		e.Reason, e.Advice = ReasonIntermediary, adviceIntermediary
	case code == http.StatusUnauthorized:
		e.Reason, e.Advice = ReasonUnauthorized, "the API key is not valid here, or no longer: check that it is this control plane's, or replace it"
	case code == http.StatusForbidden:
		e.Reason, e.Advice = ReasonForbidden, "the API key may not list these tokens: use the key of somebody who may"
	case code == http.StatusTooManyRequests:
		e.Reason, e.Advice = ReasonRateLimited, "scrape less often, or lower --truefoundry.max-concurrency"
	case code >= 500:
		e.Reason, e.Advice = ReasonServerError, "look at the control plane's logs"
	case code >= 400:
		e.Reason, e.Advice = ReasonClientError, "check the URL and the API prefix"
	case code >= 300:
		e.Reason, e.Advice = ReasonRedirect, c.redirectAdvice(resp)
	default:
		e.Reason, e.Advice = ReasonBadResponse, "check that the URL leads to the control plane's API"
	}
	if answer.message != "" && !c.cfg.Discreet {
		e.What += " (" + answer.message + ")"
	}
	return e
}

// errorAnswer is what the body of an answer other than 200 says.
type errorAnswer struct {
	// fromAPI: it looks like an error of the API, and not of something in between.
	fromAPI bool
	message string
}

// readErrorAnswer reads the JSON that the API sends with its errors: an object
// with a message, a statusCode or both.
func readErrorAnswer(body io.Reader) (answer errorAnswer) {
	var members map[string]any                               // a struct's names would match in any case
	raw, _ := io.ReadAll(io.LimitReader(body, maxErrorBody)) // half an object is none
	if json.Unmarshal(bytes.TrimPrefix(raw, byteOrderMark), &members) != nil {
		return errorAnswer{}
	}
	answer.message, _ = members["message"].(string)
	answer.fromAPI = members["message"] != nil || members["statusCode"] != nil
	return answer
}

func (c *Client) redirectAdvice(resp *http.Response) string {
	const refusal = "redirects are not followed, so that the API key goes nowhere else; "
	to, err := resp.Location()
	if err != nil {
		return refusal + "the answer does not say where to: check the URL"
	}
	if from := resp.Request.URL; to.Scheme == from.Scheme && to.Host == from.Host {
		return refusal + "it leads to another path of the same host: check the URL's path and the API prefix"
	}
	if c.cfg.Discreet {
		return refusal + "it leads to another host: check the URL"
	}
	return refusal + "the URL should start with " + (&url.URL{Scheme: to.Scheme, Host: to.Host}).String()
}

// parseRetryAfter returns what the header asks to wait, 0 where it asks for
// nothing that can be understood.
func parseRetryAfter(header string, now time.Time) time.Duration {
	// A number too large is found to be one before its end is seen.
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil || errors.Is(err, strconv.ErrRange) && strings.Trim(header, "0123456789") == "" {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// errorKeeper remembers with which error the reading ended, so that a broken
// connection can be told from broken content.
type errorKeeper struct {
	from io.Reader
	err  error
}

// Read implements io.Reader.
func (k *errorKeeper) Read(p []byte) (int, error) {
	n, err := k.from.Read(p)
	if err != nil && err != io.EOF {
		k.err = err
	}
	return n, err
}

// limitedReader fails, instead of ending, after so many bytes, and when ctx ends:
// what is here already may still be long to decode.
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
		return 0, errTooLarge
	}
	n, err := l.from.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}
