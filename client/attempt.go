package client

import (
	"cmp"
	"context"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// attempt records how far a request got and which headers were sent with it. The
// transport calls it concurrently.
type attempt struct {
	mu sync.Mutex
	// headers are the values of the header fields that were sent and may be secret.
	headers []string
	// address is the host and port of the connection: those of the control plane or of
	// a proxy.
	address string
	// connected is true once there is a connection, and responded once the first byte
	// of a response has arrived. A transport that replaces a dead connection resets
	// connected.
	connected, responded bool
}

// trace returns a context that makes the transport report to the attempt.
func (a *attempt) trace(ctx context.Context) context.Context {
	locked := func(f func()) {
		a.mu.Lock()
		defer a.mu.Unlock()
		f()
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(address string) { locked(func() { a.address, a.connected = address, false }) },
		GotConn:              func(httptrace.GotConnInfo) { locked(func() { a.connected = true }) },
		GotFirstResponseByte: func() { locked(func() { a.responded = true }) },
		WroteHeaderField:     func(name string, values []string) { locked(func() { a.addHeader(name, values) }) },
	})
}

// publicHeaders are the header fields that never contain secrets.
var publicHeaders = []string{"host", "user-agent", "accept", "accept-encoding", "connection"}

// addHeader records a header field that was sent. Besides the API key, the values of
// http_headers may be secrets.
func (a *attempt) addHeader(name string, values []string) {
	if !strings.HasPrefix(name, ":") && !slices.Contains(publicHeaders, strings.ToLower(name)) {
		a.headers = append(a.headers, values...)
	}
}

// secrets returns the strings to redact, longest first.
func (a *attempt) secrets(credential Credential) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	secrets := append(slices.Clone(a.headers), credential.secret)
	for _, value := range a.headers {
		if _, credentials, ok := strings.Cut(value, " "); ok { // after a scheme such as Bearer
			secrets = append(secrets, credentials)
		}
	}
	for _, secret := range secrets { // net/http quotes invalid responses
		secrets = append(secrets, strings.Trim(strconv.Quote(secret), `"`))
	}
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return secrets
}

// transportError returns the Error for a request without a complete response.
func (a *attempt) transportError(ctx context.Context, err error, credential Credential) *Error {
	failure := TransportError(ctx, err, a.secrets(credential)...)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case failure.Reason != ReasonTimeout || a.responded || a.address == "":
	case !a.connected:
		failure.Summary = "no connection to " + a.address
		failure.Advice = "check the firewall, the NetworkPolicy, the proxy and the address between the exporter and the control plane"
	case ctx.Err() != nil:
		failure.Summary = "no response from " + a.address + " within the scrape's deadline"
		failure.Advice = "look at the logs of the control plane, and of what is between it and the exporter"
	}
	return failure
}

// remoteAddress returns the host and port of the connection.
func (a *attempt) remoteAddress() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.address
}
