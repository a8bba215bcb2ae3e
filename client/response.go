package client

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	errBodyTooLarge = errors.New("the response is too large")
	errTooManyItems = errors.New("the page has too many items")
	errEmpty        = errors.New("the response is empty")
)

// statusError returns the Error for a response whose status is not OK.
func (c *Client) statusError(resp *http.Response, a *attempt, credential Credential) *Error {
	if resp.StatusCode == http.StatusUnauthorized {
		c.cfg.Credentials.Refused(credential)
	}
	e := &Error{
		Status:     resp.StatusCode,
		Summary:    statusText(resp.StatusCode),
		retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), c.cfg.Now()),
	}
	message, fromAPI := readErrorBody(resp)
	switch {
	case resp.StatusCode/100 == 3:
		e.Reason = ReasonRedirect
		var location string
		location, e.Advice = describeRedirect(resp)
		message = join(location, message)
	case fromAPI && resp.StatusCode != http.StatusProxyAuthRequired:
		e.Reason, e.Advice = classifyAPIError(resp.StatusCode)
	default:
		e.Reason, e.Advice = c.classifyIntermediaryError(resp.StatusCode, credential)
		e.Summary += ", which did not come from the API"
		if e.Reason == ReasonIntermediary && resp.StatusCode == http.StatusProxyAuthRequired {
			e.Summary = "the proxy " + a.remoteAddress() + " refused: " + statusText(resp.StatusCode)
		}
	}
	e.Detail = detail(message, a.secrets(credential)...)
	return e
}

// statusText returns the status code and its standard text, and not the server's text.
func statusText(code int) string {
	return strings.TrimSpace(strconv.Itoa(code) + " " + http.StatusText(code))
}

// classifyAPIError returns the reason and the advice for an error response of the API.
func classifyAPIError(code int) (reason Reason, advice string) {
	switch {
	case code == http.StatusUnauthorized:
		return ReasonUnauthorized, "the API key is not valid here, or no longer: check that it is this control plane's, or replace it"
	case code == http.StatusForbidden:
		return ReasonForbidden, "the API key may not list these tokens: use a key whose owner may list them"
	case code == http.StatusTooManyRequests:
		return ReasonRateLimited, "scrape less often, or lower --truefoundry.max-concurrency"
	case code == http.StatusBadRequest || code == http.StatusUnprocessableEntity:
		return ReasonClientError, "lower --truefoundry.page-size, which this control plane may limit; then check the API prefix"
	case code >= 500:
		return ReasonServerError, "look at the control plane's logs"
	case code >= 400:
		return ReasonClientError, "check the URL and the API prefix"
	}
	return ReasonBadResponse, "check that the URL leads to the control plane's API"
}

// maxUsualKey is the length of a key, in bytes, above which proxies may reject the request
// header as too large.
const maxUsualKey = 3000

// classifyIntermediaryError returns the reason and the advice for an error response that is not
// from the API, but for example from a proxy.
func (c *Client) classifyIntermediaryError(code int, credential Credential) (reason Reason, advice string) {
	switch {
	case code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusProxyAuthRequired:
		return ReasonIntermediary, adviceIntermediary
	case code == http.StatusTooManyRequests:
		return ReasonRateLimited, "scrape less often, or lower --truefoundry.max-concurrency"
	case code == http.StatusRequestTimeout:
		return ReasonClientError, "something in front of the control plane gave up waiting for the request: check its logs and the network"
	case code == http.StatusRequestHeaderFieldsTooLarge, code == http.StatusBadRequest && len(credential.secret) > maxUsualKey:
		advice = fmt.Sprintf("most likely the API key, which has %d bytes, is too large for what is in front of the control plane: allow larger headers there", len(credential.secret))
		if code == http.StatusBadRequest && c.cfg.URL.Scheme == "http" {
			advice += "; or the port expects TLS: then the URL should start with https://"
		}
		return ReasonClientError, advice
	case code == http.StatusBadRequest && c.cfg.URL.Scheme == "http":
		return ReasonClientError, "most likely the port expects TLS: the URL should start with https://"
	case code == http.StatusBadRequest:
		return ReasonClientError, "most likely a client certificate is missing or refused: check tls_config; or a header is too large for what is in front of the control plane"
	case code == http.StatusBadGateway, code == http.StatusServiceUnavailable, code == http.StatusGatewayTimeout:
		return ReasonServerError, "something in front of the control plane cannot reach it: check that the control plane is up, and the logs of the proxy or load balancer"
	case code >= 500:
		return ReasonServerError, "look at the logs of the control plane, and of what is in front of it"
	case code >= 400:
		return ReasonClientError, "check the URL and the API prefix, which lead to something other than the control plane's API"
	}
	return ReasonBadResponse, "check that the URL leads to the control plane's API"
}

// adviceIntermediary is the advice for ReasonIntermediary.
const adviceIntermediary = "find out what stands between the exporter and the control plane (a proxy, a gateway, a firewall) " +
	"and give it the credentials it wants; the API key is not the problem"

// ProxyError returns the Error for a proxy that refused a CONNECT request. proxy is its
// host and port. The secrets are redacted in the Detail.
func ProxyError(proxy string, resp *http.Response, secrets ...string) *Error {
	e := &Error{
		Reason:  ReasonConnection,
		Status:  resp.StatusCode,
		Summary: "the proxy " + proxy + " refused: " + statusText(resp.StatusCode),
		Detail:  detail(identify(resp.Header, ""), secrets...),
		Advice:  "check the proxy, and that it may and can reach the control plane",
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		e.Reason, e.Advice = ReasonIntermediary, adviceIntermediary
	}
	return e
}

// readErrorBody returns the message of an error response. Error responses of the API are
// JSON objects with a message, a statusCode or both. For other responses, readErrorBody
// returns a description of the sender.
func readErrorBody(resp *http.Response) (message string, fromAPI bool) {
	var raw []byte
	if body, err := decompress(resp.Body, resp.Header.Get("Content-Encoding")); err == nil {
		raw, _ = io.ReadAll(io.LimitReader(body, maxErrorBody)) // a truncated object is not valid JSON
	}
	var members map[string]any // a struct would ignore the case of names
	if json.Unmarshal(bytes.TrimPrefix(raw, byteOrderMark), &members) == nil && (members["message"] != nil || members["statusCode"] != nil) {
		switch m := members["message"].(type) {
		case string:
			message = m
		case []any: // from the validation of the request
			var texts []string
			for _, text := range m {
				texts = append(texts, fmt.Sprint(text))
			}
			message = strings.Join(texts, "; ")
		}
		return message, true
	}
	return identify(resp.Header, htmlTitle(raw)), false
}

// identify describes the sender of a response that is not from the API.
func identify(header http.Header, title string) string {
	var parts []string
	if server := header.Get("Server"); server != "" {
		parts = append(parts, "server "+server)
	}
	if title != "" {
		parts = append(parts, "title "+strconv.Quote(title))
	}
	for _, name := range []string{"WWW-Authenticate", "Proxy-Authenticate"} {
		for _, challenge := range header.Values(name) {
			scheme, _, _ := strings.Cut(challenge, " ")
			parts = append(parts, "wants "+scheme)
		}
	}
	return join(parts...)
}

// join returns the parts that are not empty, with commas between them.
func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), ", ")
}

// titlePattern matches the title of an HTML page.
var titlePattern = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)

// htmlTitle returns the title of an HTML page, or an empty string if it has none.
func htmlTitle(body []byte) string {
	title := titlePattern.FindSubmatch(body)
	if title == nil {
		return ""
	}
	return oneLine(html.UnescapeString(string(title[1])))
}

// isHTML reports whether a body that should be JSON starts like HTML or XML.
func isHTML(start []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(start), []byte("<")) }

// htmlError is returned for an HTML page.
type htmlError struct{ title string }

// Error implements error.
func (*htmlError) Error() string { return "it is HTML" }

// describeRedirect describes the target of a redirect, and what to do about it. It only
// suggests a target with the same path: with the URL of a login page, the exporter would
// send the key there.
func describeRedirect(resp *http.Response) (detail, advice string) {
	const refusal = "redirects are not followed, so that the API key goes nowhere else; "
	target, err := resp.Location()
	if err != nil {
		return "", refusal + "the response does not say where to: check the URL"
	}
	requested := resp.Request.URL
	detail = "to " + (&url.URL{Scheme: target.Scheme, Host: target.Host, Path: target.Path}).String()
	switch {
	case target.Path != requested.Path:
		return detail, refusal + "most likely a login stands in front of the control plane: use a URL that the exporter reaches without one"
	case target.Hostname() == requested.Hostname() && requested.Scheme == "http" && target.Scheme == "https":
		return detail, refusal + "the URL should start with https://"
	case target.Host == requested.Host:
		return detail, refusal + "it leads to the same path again: check what stands in front of the control plane"
	}
	return detail, refusal + "the control plane may have moved: if the host that the log names is its new one, use that in the URL"
}

// pageError returns the Error for a response with status OK that is not a valid page.
func (c *Client) pageError(resp *http.Response, err error, pr pageRequest, secrets []string) *Error {
	e := &Error{Status: resp.StatusCode, err: err}
	var notJSON *htmlError
	switch {
	case errors.Is(err, errTooManyItems) && pr.offset == 0:
		return c.tooManyTokens()
	case errors.Is(err, errTooManyItems):
		e.Reason = ReasonTooLarge
		e.Summary = fmt.Sprintf("a page has more than %d items, and %d were requested", pr.maxItems, c.cfg.PageSize)
		e.Advice = "find out why the control plane ignores the page size"
	case errors.Is(err, errBodyTooLarge):
		e.Reason = ReasonTooLarge
		e.Summary = fmt.Sprintf("a page of %d items is larger than %d MiB", c.cfg.PageSize, maxBody>>20)
		e.Advice = "lower --truefoundry.page-size"
	case errors.Is(err, errEmpty):
		e.Reason = ReasonBadResponse
		e.Summary = "the response is empty instead of a list of tokens"
		e.Detail = detail(identify(resp.Header, ""), secrets...)
		e.Advice = "check that the URL and the API prefix lead to the control plane's API, and what is in front of it"
	case errors.As(err, &notJSON):
		e.Reason = ReasonBadResponse
		e.Summary = "the response is an HTML page instead of a list of tokens"
		e.Detail = detail(identify(resp.Header, notJSON.title), secrets...)
		e.Advice = "check the API prefix: below a wrong one, the control plane responds with its user interface; or a login stands in front of it"
	default:
		e.Reason = ReasonBadResponse
		e.Summary = "the response is not a list of tokens"
		content := cmp.Or(resp.Header.Get("Content-Type"), "no content type") + ": " + err.Error()
		e.Detail = detail(join(identify(resp.Header, ""), content), secrets...)
		e.Advice = "check that the URL and the API prefix lead to the control plane's API"
	}
	return e
}

// tooManyTokens returns the Error for a list with more than MaxTokens items.
func (c *Client) tooManyTokens() *Error {
	return &Error{
		Reason:  ReasonTooLarge,
		Summary: fmt.Sprintf("the list has more than %d items", c.cfg.MaxTokens),
		Advice:  "raise --truefoundry.max-tokens if that many tokens are expected; otherwise find out why the list is so long",
	}
}
