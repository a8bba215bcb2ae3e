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

// Reason is the class of a failure. There is a fixed set of reasons, so that they can be
// label values.
type Reason string

// Reasons for failed listings.
const (
	ReasonCredentials  Reason = "credentials"  // the key is missing, unreadable, empty or malformed; no request was sent
	ReasonUnauthorized Reason = "unauthorized" // 401 from the API
	ReasonForbidden    Reason = "forbidden"    // 403 from the API
	ReasonIntermediary Reason = "intermediary" // 401 or 403 from anything else, or any 407
	ReasonRateLimited  Reason = "rate_limited" // 429, or a Retry-After still in effect
	ReasonClientError  Reason = "client_error" // any other 4xx
	ReasonServerError  Reason = "server_error" // 5xx
	ReasonRedirect     Reason = "redirect"     // 3xx
	ReasonTimeout      Reason = "timeout"      // the deadline or a timeout of the transport has passed
	ReasonConnection   Reason = "connection"   // refused or reset, or a failure of DNS or of a proxy
	ReasonTLS          Reason = "tls"          // no trusted TLS connection
	ReasonBadResponse  Reason = "bad_response" // not the expected JSON
	ReasonTooLarge     Reason = "too_large"    // a response over the size limit, or more than Config.MaxTokens
	ReasonIncomplete   Reason = "incomplete"   // the end of the list was not found
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
	// Status is the HTTP status of the response, or 0 if there was none.
	Status int
	// Summary describes the failure, and Advice what to do about it. They contain no
	// text from a server.
	Summary, Advice string
	// Detail is the message of a server or of the network stack, for logs. It is one
	// line of at most 200 characters, in which secrets are redacted. It may be empty.
	Detail string

	// retryAfter is the wait that the server asked for.
	retryAfter time.Duration
	// temporary is true if a retry may succeed.
	temporary bool
	// deadlineExceeded is true if the listing ended at its deadline.
	deadlineExceeded bool
	err              error
}

// Error returns Summary, Detail and Advice as one line, for logs.
func (e *Error) Error() string {
	text := e.Summary
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text + ": " + e.Advice
}

// Unwrap returns the underlying error, or nil.
func (e *Error) Unwrap() error { return e.err }

// Canceled reports whether the listing was cancelled, which is not a failure.
func (e *Error) Canceled() bool { return e.Reason == "" }

// isTemporary reports whether a retry may succeed.
func (e *Error) isTemporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return e.temporary || e.Reason == ReasonConnection
}

// lessSpecificThan reports whether e is only an exceeded deadline, and other is a failure
// of another kind. other may be nil.
func (e *Error) lessSpecificThan(other *Error) bool {
	return e.deadlineExceeded && other != nil && !other.deadlineExceeded && !other.Canceled()
}

// orCause returns the Error of a retry: previous, the error of the request before it, if
// that is more specific, and e otherwise. previous may be nil.
func (e *Error) orCause(previous *Error) *Error {
	if !e.lessSpecificThan(previous) {
		return e
	}
	cause := *previous
	cause.Summary += ", and the scrape's deadline passed before a retry succeeded"
	return &cause
}

// ContextError returns the Error for a listing whose context ended. It is Canceled unless
// the deadline was exceeded.
func ContextError(ctx context.Context) *Error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) {
		return &Error{
			Reason:           ReasonTimeout,
			Summary:          "the list did not arrive within the scrape's deadline",
			Advice:           "raise scrape_timeout and --truefoundry.timeout, or find out why the control plane is slow",
			err:              cause,
			deadlineExceeded: true,
		}
	}
	return &Error{
		Summary: "the listing was cancelled because no scrape was waiting for it any more",
		Advice:  "raise the scraper's timeout, unless a person or a restart ended the scrape",
		err:     cause,
	}
}

// TransportError returns the Error for a request without a complete response. The
// secrets are redacted in its Detail. If ctx has ended, TransportError returns its
// ContextError. If err wraps an *Error, that is returned.
func TransportError(ctx context.Context, err error, secrets ...string) *Error {
	if ctx.Err() != nil {
		return ContextError(ctx)
	}
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure
	}
	failure := &Error{err: err}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // omits the URL, which may contain a proxy's password
	}
	failure.Detail = detail(err.Error(), secrets...)
	op, isOp := errors.AsType[*net.OpError](err)
	switch {
	case isOp && op.Op == "proxyconnect" && isTLS(err):
		failure.Reason = ReasonConnection
		failure.Summary = "no trusted TLS connection to the proxy: " + describeTLS(err)
		failure.Advice = "check the proxy's URL: if the proxy speaks plain HTTP, it should start with http://"
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

// isTLS reports whether a TLS handshake failed.
func isTLS(err error) bool { return describeTLS(err) != "" }

// describeTLS describes a failed TLS handshake. It returns an empty string for other
// errors.
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
	// TLS alerts have no exported type, but they are reported with these operations.
	case errors.As(err, &op) && op.Op == "remote error":
		return "the server ended the handshake"
	case errors.As(err, &op) && op.Op == "local error":
		return "the handshake failed"
	}
	return ""
}

// isTimeout reports whether a connection timed out. A timeout of a DNS lookup is not
// included: it is reported as a failed connection.
func isTimeout(err error) bool {
	var (
		dns     *net.DNSError
		timeout net.Error
	)
	return !errors.As(err, &dns) && errors.As(err, &timeout) && timeout.Timeout()
}

// describeConnection describes a failed connection.
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
	// maxDetail is the maximum length of Error.Detail, in characters.
	maxDetail = 200
	// redacted replaces a secret.
	redacted = "<redacted>"
	// minSecret is the minimum length of a redacted secret, in bytes. Shorter texts
	// occur in too many words.
	minSecret = 4
)

// detail returns text as one line of limited length, with the secrets redacted.
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

// oneLine replaces sequences of white space and unprintable characters with a space.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "\uFFFD"), func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
}
