package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Reason is why a listing failed: one of a fixed set, fit for a label.
type Reason string

// The reasons for which a listing fails.
const (
	ReasonCredentials  Reason = "credentials"  // the key is missing, unreadable, empty or malformed; nothing was sent
	ReasonUnauthorized Reason = "unauthorized" // the API's own 401
	ReasonForbidden    Reason = "forbidden"    // the API's own 403
	ReasonIntermediary Reason = "intermediary" // any other 401 or 403, and every 407: something in between wants something
	ReasonRateLimited  Reason = "rate_limited" // 429, or still within a Retry-After
	ReasonClientError  Reason = "client_error" // any other 4xx
	ReasonServerError  Reason = "server_error" // 5xx
	ReasonRedirect     Reason = "redirect"     // 3xx
	ReasonTimeout      Reason = "timeout"      // the deadline passed
	ReasonConnection   Reason = "connection"   // refused, reset, DNS, proxy
	ReasonTLS          Reason = "tls"          // no trusted connection
	ReasonBadResponse  Reason = "bad_response" // not the JSON that was promised
	ReasonTooLarge     Reason = "too_large"    // a page over the size limit
	ReasonIncomplete   Reason = "incomplete"   // the end of the list could not be proven
)

// Reasons returns every Reason.
func Reasons() []Reason {
	return []Reason{
		ReasonCredentials, ReasonUnauthorized, ReasonForbidden, ReasonIntermediary, ReasonRateLimited,
		ReasonClientError, ReasonServerError, ReasonRedirect, ReasonTimeout, ReasonConnection, ReasonTLS,
		ReasonBadResponse, ReasonTooLarge, ReasonIncomplete,
	}
}

// Error is a failed listing. Its text is one line and never holds the API key
// or a URL with credentials.
type Error struct {
	// Reason is the class of the failure, empty where the listing was cancelled.
	Reason Reason
	// Status is the HTTP status, 0 where no answer came.
	Status int
	// What is what happened, with the server's own message where it gave one.
	What string
	// Advice is what to do about it.
	Advice string

	// retryAfter is what the server asked to wait.
	retryAfter time.Duration
	err        error
}

// Error returns what happened and what to do about it.
func (e *Error) Error() string { return e.What + ": " + e.Advice }

// Unwrap returns the cause, where there is one.
func (e *Error) Unwrap() error { return e.err }

// Canceled tells whether the listing ended because nobody waits for it any more,
// which is no failure.
func (e *Error) Canceled() bool { return e.Reason == "" }

// clean makes the text fit for a log line, since parts of it are somebody
// else's, who may even have repeated the secrets.
func (e *Error) clean(secrets ...string) {
	for _, text := range []*string{&e.What, &e.Advice} {
		*text = oneLine(Conceal(cut(*text, maxErrorBody), secrets...))
	}
}

// temporary tells whether the same request may work a moment later.
func (e *Error) temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return e.Reason == ReasonConnection
}

// StoppedError returns the Error of a listing that ended because ctx did:
// its deadline passed, or it was cancelled.
func StoppedError(ctx context.Context) *Error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) {
		return &Error{
			Reason: ReasonTimeout,
			What:   "the list did not arrive within the scrape's deadline",
			Advice: "raise scrape_timeout and --truefoundry.timeout, or find out why the control plane is slow",
			err:    cause,
		}
	}
	return &Error{
		What:   "everybody who waited for the list left before it had arrived",
		Advice: "nothing to do if that was a person or a restart; else raise the scraper's timeout",
		err:    cause,
	}
}

// TransportError returns the Error for err, which came instead of an answer or
// while its body was read. Where err is an *Error already, that is returned.
func TransportError(ctx context.Context, err error) *Error {
	if ctx.Err() != nil {
		return StoppedError(ctx)
	}
	if failure := (*Error)(nil); errors.As(err, &failure) {
		return failure // the Transport knows better
	}
	// url.Error would repeat the URL of a proxy.
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	switch {
	case isProxyRefusal(err):
		return &Error{
			Reason: ReasonIntermediary,
			What:   "the proxy does not connect to the control plane: " + err.Error(),
			Advice: adviceIntermediary,
			err:    err,
		}
	case isTLS(err):
		return &Error{
			Reason: ReasonTLS,
			What:   "no trusted TLS connection: " + err.Error(),
			Advice: "check the control plane's certificate, the CA and the URL's scheme",
			err:    err,
		}
	case isTimeout(err):
		return &Error{
			Reason: ReasonTimeout,
			What:   "the connection timed out: " + err.Error(),
			Advice: "check the network between the exporter and the control plane",
			err:    err,
		}
	}
	return &Error{
		Reason: ReasonConnection,
		What:   "the connection failed: " + err.Error(),
		Advice: "check the URL, DNS, the proxy, and that the control plane is up",
		err:    err,
	}
}

// quoted is how net/http repeats what is no answer.
var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// transportError is TransportError for a Client that may be Discreet.
func (c *Client) transportError(ctx context.Context, err error) *Error {
	failure := TransportError(ctx, err)
	if c.cfg.Discreet {
		failure.What = quoted.ReplaceAllString(failure.What, "…")
	}
	return failure
}

// adviceIntermediary is what to do about a 401, 403 or 407 that is not the API's.
const adviceIntermediary = "find out what stands between the exporter and the control plane (a proxy, a gateway, a firewall) and give it the credentials it wants"

// isProxyRefusal tells whether a proxy answered CONNECT with 401, 403 or 407. Of
// such an answer net/http returns nothing but the text of its status.
func isProxyRefusal(err error) bool {
	switch err.Error() {
	case http.StatusText(http.StatusUnauthorized), http.StatusText(http.StatusForbidden), http.StatusText(http.StatusProxyAuthRequired):
		return true
	}
	return false
}

func isTLS(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
		op           *net.OpError
	)
	return errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &authority) ||
		errors.As(err, &hostname) || errors.As(err, &invalid) ||
		// A TLS alert has no exported type; these are the operations it stands in.
		errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// isTimeout leaves slow name servers to ReasonConnection.
func isTimeout(err error) bool {
	var (
		dns     *net.DNSError
		timeout net.Error
	)
	return !errors.As(err, &dns) && errors.As(err, &timeout) && timeout.Timeout()
}

// maxLine bounds the two parts of an error's text, in bytes.
const maxLine = 400

// oneLine takes control characters out of text, and cuts it.
func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
	if short := cut(text, maxLine); short != text {
		return short + "…"
	}
	return text
}
