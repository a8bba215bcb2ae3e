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

// attempt records what a request was sent with. The transport calls it
// concurrently.
type attempt struct {
	mu      sync.Mutex
	secrets []string
}

// trace returns a context that makes the transport report to the attempt.
func (a *attempt) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: a.wroteHeader})
}

// harmlessHeaders are those that have no secrets in them.
var harmlessHeaders = []string{"host", "user-agent", "accept", "accept-encoding", "connection"}

// wroteHeader records a header field that was sent, whoever added it: values of
// http_headers may be secrets, too.
func (a *attempt) wroteHeader(name string, values []string) {
	if strings.HasPrefix(name, ":") || slices.Contains(harmlessHeaders, strings.ToLower(name)) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.secrets = append(a.secrets, values...)
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
