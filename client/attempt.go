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

// attempt records how far a request got, and what it was sent with. The transport
// reports to it concurrently.
type attempt struct {
	mu      sync.Mutex
	secrets []string
	// address is the host and port that the transport connects to: those of the
	// control plane, or of a proxy.
	address string
	// connected is true once there is a connection, and responded once a response has
	// begun. A transport that gives up a connection and makes another one starts again.
	connected, responded bool
}

// trace returns a context that makes the transport report to the attempt.
func (a *attempt) trace(ctx context.Context) context.Context {
	report := func(f func()) {
		a.mu.Lock()
		defer a.mu.Unlock()
		f()
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:              func(address string) { report(func() { a.address, a.connected = address, false }) },
		GotConn:              func(httptrace.GotConnInfo) { report(func() { a.connected = true }) },
		GotFirstResponseByte: func() { report(func() { a.responded = true }) },
		WroteHeaderField:     func(name string, values []string) { report(func() { a.addHeader(name, values) }) },
	})
}

// harmlessHeaders are those that have no secrets in them.
var harmlessHeaders = []string{"host", "user-agent", "accept", "accept-encoding", "connection"}

// addHeader records a header field that was sent, whoever added it: values of
// http_headers may be secrets, too.
func (a *attempt) addHeader(name string, values []string) {
	if !strings.HasPrefix(name, ":") && !slices.Contains(harmlessHeaders, strings.ToLower(name)) {
		a.secrets = append(a.secrets, values...)
	}
}

// sent returns everything that is to be redacted, longer texts first.
func (a *attempt) sent(credential Credential) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	secrets := append(slices.Clone(a.secrets), credential.secret)
	for _, secret := range a.secrets {
		if _, credentials, ok := strings.Cut(secret, " "); ok { // behind a scheme
			secrets = append(secrets, credentials)
		}
	}
	for _, secret := range secrets { // net/http quotes what is not HTTP
		secrets = append(secrets, strings.Trim(strconv.Quote(secret), `"`))
	}
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return secrets
}

// transportError returns the Error for a request without a complete response.
func (a *attempt) transportError(ctx context.Context, err error, credential Credential) *Error {
	failure := TransportError(ctx, err, a.sent(credential)...)
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

// peer returns the host and port that the transport has connected to.
func (a *attempt) peer() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.address
}
