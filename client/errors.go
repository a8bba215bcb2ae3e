package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
	"unicode"
)

// Reason is the class of a failed listing, from a fixed set that is fit for a
// label.
type Reason string

// The reasons for which listings fail.
const (
	ReasonCredentials  Reason = "credentials"  // the key is missing, unreadable, empty or malformed; nothing was sent
	ReasonUnauthorized Reason = "unauthorized" // 401 from the API
	ReasonForbidden    Reason = "forbidden"    // 403 from the API
	ReasonIntermediary Reason = "intermediary" // 401 or 403 from something else, and every 407
	ReasonRateLimited  Reason = "rate_limited" // 429, or a Retry-After still in effect
	ReasonClientError  Reason = "client_error" // any other 4xx
	ReasonServerError  Reason = "server_error" // 5xx
	ReasonRedirect     Reason = "redirect"     // 3xx
	ReasonTimeout      Reason = "timeout"      // the deadline passed
	ReasonConnection   Reason = "connection"   // refused, reset, DNS, proxy
	ReasonTLS          Reason = "tls"          // no trusted connection
	ReasonBadResponse  Reason = "bad_response" // not the JSON that was expected
	ReasonTooLarge     Reason = "too_large"    // a response over the size limit, or more than Config.MaxTokens
	ReasonIncomplete   Reason = "incomplete"   // the end of the list could not be found
)

// Reasons returns every Reason.
func Reasons() []Reason {
	return []Reason{
		ReasonCredentials, ReasonUnauthorized, ReasonForbidden, ReasonIntermediary, ReasonRateLimited,
		ReasonClientError, ReasonServerError, ReasonRedirect, ReasonTimeout, ReasonConnection, ReasonTLS,
		ReasonBadResponse, ReasonTooLarge, ReasonIncomplete,
	}
}

// Error describes a failed listing.
type Error struct {
	// Reason is the class of the failure. It is empty if the listing was cancelled.
	Reason Reason
	// Status is the HTTP status of the response, 0 if there was none.
	Status int
	// Summary says what happened and Advice what to do about it. Both are the
	// exporter's own words: nothing that a server sent is in them.
	Summary, Advice string
	// Detail is what a server or the network stack said, for logs: one line of at
	// most 200 characters in which what was sent is redacted. It may be empty.
	Detail string

	// retryAfter is how long the server asked to wait.
	retryAfter time.Duration
	// temporary is true if the same request may succeed a moment later.
	temporary bool
	// late is true if the listing ended at its deadline.
	late bool
	err  error
}

// Error returns everything on one line, for logs.
func (e *Error) Error() string {
	text := e.Summary
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text + ": " + e.Advice
}

// Unwrap returns the cause, if there is one.
func (e *Error) Unwrap() error { return e.err }

// Canceled reports whether the listing ended because nobody waits for it any more,
// which is not a failure.
func (e *Error) Canceled() bool { return e.Reason == "" }

// isTemporary reports whether the same request may succeed a moment later.
func (e *Error) isTemporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return e.temporary || e.Reason == ReasonConnection
}

// saysLessThan reports whether e only says that time was up, and the other failure,
// which may be nil, says what was wrong.
func (e *Error) saysLessThan(other *Error) bool {
	return e.late && other != nil && !other.late && !other.Canceled()
}

// orCause returns the failure of a retry: e, or the failure that made the retry
// necessary if e only says that time was up.
func (e *Error) orCause(previous *Error) *Error {
	if !e.saysLessThan(previous) {
		return e
	}
	cause := *previous
	cause.Summary += ", and the scrape's deadline passed before a retry succeeded"
	return &cause
}

// ContextError returns the Error for a listing that ended because ctx did: its
// deadline passed, or it was cancelled.
func ContextError(ctx context.Context) *Error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) {
		return &Error{
			Reason:  ReasonTimeout,
			Summary: "the list did not arrive within the scrape's deadline",
			Advice:  "raise scrape_timeout and --truefoundry.timeout, or find out why the control plane is slow",
			late:    true,
			err:     cause,
		}
	}
	return &Error{
		Summary: "the listing was cancelled because nobody waits for it any more",
		Advice:  "nothing to do if that was a person or a restart; else raise the scraper's timeout",
		err:     cause,
	}
}

// TransportError returns the Error for a request without a complete response. The
// secrets are redacted in its Detail. If err contains an *Error, that is returned.
func TransportError(ctx context.Context, err error, secrets ...string) *Error {
	if ctx.Err() != nil {
		return ContextError(ctx)
	}
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure
	}
	failure := &Error{err: err}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // without the URL, which may contain the password of a proxy
	}
	failure.Detail = detail(err.Error(), secrets...)
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case isOp && op.Op == "proxyconnect" && isTLS(err):
		failure.Reason = ReasonConnection
		failure.Summary = "no trusted TLS connection to the proxy: " + describeTLS(err)
		failure.Advice = "check the proxy's URL: if the proxy is to be reached by plain HTTP, it begins with http://"
	case isTLS(err):
		failure.Reason = ReasonTLS
		failure.Summary = "no trusted TLS connection: " + describeTLS(err)
		failure.Advice = "check the control plane's certificate, the CA and the URL's scheme"
	case isTimeout(err):
		failure.Reason, failure.temporary = ReasonTimeout, isOp && op.Op == "dial"
		failure.Summary = "the connection timed out"
		failure.Advice = "check the network between the exporter and the control plane"
	default:
		failure.Reason = ReasonConnection
		failure.Summary = "the connection failed: " + describeConnection(err)
		failure.Advice = "check the URL, DNS, the proxy, and that the control plane is up"
	}
	return failure
}

func isTLS(err error) bool { return describeTLS(err) != "" }

// describeTLS returns the cause of a failed handshake, empty if err is not one.
func describeTLS(err error) string {
	var (
		record       tls.RecordHeaderError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
		verification *tls.CertificateVerificationError
		op           *net.OpError
	)
	switch {
	case errors.As(err, &record):
		return "the server does not speak TLS"
	case errors.As(err, &authority):
		return "the certificate is signed by an unknown authority"
	case errors.As(err, &hostname):
		return "the certificate is for another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate has expired or is not valid yet"
	case errors.As(err, &invalid), errors.As(err, &verification):
		return "the certificate is not valid"
	// A TLS alert has no exported type; these are the operations that report one.
	case errors.As(err, &op) && op.Op == "remote error":
		return "the server ended the handshake"
	case errors.As(err, &op) && op.Op == "local error":
		return "the handshake failed"
	}
	return ""
}

// isTimeout reports whether a connection timed out. A slow name server is a
// connection that failed.
func isTimeout(err error) bool {
	var (
		dns     *net.DNSError
		timeout net.Error
	)
	return !errors.As(err, &dns) && errors.As(err, &timeout) && timeout.Timeout()
}

// describeConnection returns why a connection failed.
func describeConnection(err error) string {
	var (
		dns *net.DNSError
		op  *net.OpError
	)
	switch {
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "the proxy cannot be reached"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the host name has no address"
	case errors.As(err, &dns):
		return "the host name could not be looked up"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it was closed before the response was complete"
	case errors.As(err, &op) && op.Op == "dial":
		return "no connection could be made"
	}
	return "the response is not valid HTTP"
}

const (
	// maxDetail bounds the Detail of an Error, in characters.
	maxDetail = 200
	// redacted replaces a secret.
	redacted = "<redacted>"
	// minSecret is the length below which a secret is not redacted, in bytes: it
	// would be found in too many other words.
	minSecret = 4
)

// detail returns foreign text as one line of limited length, without the secrets.
func detail(text string, secrets ...string) string {
	for _, secret := range secrets {
		if len(secret) >= minSecret {
			text = strings.ReplaceAll(text, secret, redacted)
		}
	}
	text = oneLine(text)
	if runes := []rune(text); len(runes) > maxDetail {
		return string(runes[:maxDetail-1]) + "…"
	}
	return text
}

// oneLine replaces white space and unprintable characters by single blanks.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
}
