package client

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

var (
	errBodyTooLarge = errors.New("the response is too large")
	errTooManyItems = errors.New("the page has too many items")
)

// statusError returns the Error for a response other than 200.
func (c *Client) statusError(resp *http.Response, sent *attempt, credential Credential) *Error {
	if resp.StatusCode == http.StatusUnauthorized {
		c.cfg.Credentials.Refused(credential)
	}
	body := readErrorBody(resp)
	e := &Error{
		Status:     resp.StatusCode,
		Summary:    strings.TrimSpace(strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)),
		Detail:     detail(body.message, sent.sent(credential)...),
		retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), c.cfg.Now()),
	}
	switch code := resp.StatusCode; {
	case code == http.StatusProxyAuthRequired, !body.fromAPI && (code == http.StatusUnauthorized || code == http.StatusForbidden):
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
		e.Reason = ReasonRedirect
		to, advice := describeRedirect(resp)
		e.Detail, e.Advice = detail(to, sent.sent(credential)...), advice
	default:
		e.Reason, e.Advice = ReasonBadResponse, "check that the URL leads to the control plane's API"
	}
	return e
}

// errorBody is what the body of a response other than 200 says.
type errorBody struct {
	// fromAPI reports whether it looks like an error of the API, and not of
	// something in between.
	fromAPI bool
	message string
}

// readErrorBody reads the JSON that the API sends with its errors: an object with
// a message, a statusCode or both.
func readErrorBody(resp *http.Response) (body errorBody) {
	plain, err := decompress(resp.Body, resp.Header.Get("Content-Encoding"))
	if err != nil {
		return errorBody{}
	}
	raw, _ := io.ReadAll(io.LimitReader(plain, maxErrorBody)) // a part of an object is not JSON
	var members map[string]any                                // a struct would match names in any case
	if json.Unmarshal(raw, &members) != nil {
		return errorBody{}
	}
	body.message, _ = members["message"].(string)
	body.fromAPI = members["message"] != nil || members["statusCode"] != nil
	return body
}

// describeRedirect says where a redirect leads to, and what to do about it. Only one
// that keeps the path is worth following by hand: whoever enters the URL of a login
// page sends the key there.
func describeRedirect(resp *http.Response) (detail, advice string) {
	const refusal = "redirects are not followed, so that the API key goes nowhere else; "
	to, err := resp.Location()
	if err != nil {
		return "", refusal + "the response does not say where to: check the URL"
	}
	from := resp.Request.URL
	detail = "to " + (&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}).String()
	switch {
	case to.Path != from.Path:
		return detail, refusal + "most likely a login stands in front of the control plane: use a URL that the exporter reaches without one"
	case to.Hostname() == from.Hostname() && from.Scheme == "http" && to.Scheme == "https":
		return detail, refusal + "the URL should start with https://"
	case to.Host == from.Host:
		return detail, refusal + "it leads to the same path again: check what stands in front of the control plane"
	}
	return detail, refusal + "the control plane may have moved: if the host that the log names is its new one, use that in the URL"
}

// pageError returns the Error for a response of status 200 that is not a page.
func (c *Client) pageError(resp *http.Response, err error, pr pageRequest, secrets []string) *Error {
	e := &Error{Status: resp.StatusCode, err: err}
	switch {
	case errors.Is(err, errTooManyItems) && pr.offset == 0:
		return c.tooManyTokens()
	case errors.Is(err, errTooManyItems):
		e.Reason = ReasonTooLarge
		e.Summary = fmt.Sprintf("a page has more than %d items, and %d were asked for", pr.maxItems, c.cfg.PageSize)
		e.Advice = "find out why the control plane disregards the limit"
	case errors.Is(err, errBodyTooLarge):
		e.Reason = ReasonTooLarge
		e.Summary = fmt.Sprintf("a page of %d items is larger than %d MiB", c.cfg.PageSize, maxBody>>20)
		e.Advice = "lower --truefoundry.page-size"
	default:
		e.Reason = ReasonBadResponse
		e.Summary = "the response is not a list of tokens"
		e.Detail = detail(cmp.Or(resp.Header.Get("Content-Type"), "no content type")+": "+err.Error(), secrets...)
		e.Advice = "check that the URL and the API prefix lead to the control plane's API"
	}
	return e
}

// tooManyTokens returns the Error for a list that is longer than allowed.
func (c *Client) tooManyTokens() *Error {
	return &Error{
		Reason:  ReasonTooLarge,
		Summary: fmt.Sprintf("the list has more than %d items", c.cfg.MaxTokens),
		Advice:  "raise --truefoundry.max-tokens if that many tokens are expected; else find out why the list is so long",
	}
}
