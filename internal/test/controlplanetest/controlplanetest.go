// Package controlplanetest serves the fake control planes of fakecontrolplane on loopback,
// with tokens and faults that a test chooses.
package controlplanetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/fakecontrolplane"
)

// Key is the API key that a ControlPlane accepts. It is a JWT with the payload
// {"exp":1790000000}.
const Key = "e30.eyJleHAiOjE3OTAwMDAwMDB9.c2ln"

// Fault is a middleware that changes the behaviour of a control plane.
type Fault func(next http.Handler) http.Handler

// ControlPlane is a fake control plane that records its requests.
type ControlPlane struct {
	*fakecontrolplane.Server
	URL string

	mu       sync.Mutex
	requests []string
}

// Start starts a control plane whose personal access tokens are returned by items for each
// request. The first of the faults is the outermost. The test fails if a request is
// anything but a list request.
func Start(t testing.TB, items func() []any, faults ...Fault) *ControlPlane {
	t.Helper()
	cp := New(t, items)
	cp.Serve(t, faults...)
	return cp
}

// StartKinds is like Start for an API key and items of both kinds.
func StartKinds(t testing.TB, key string, personal, virtual []any, faults ...Fault) *ControlPlane {
	t.Helper()
	cp := New(t, Always(personal...))
	cp.Key = key
	personalItems := cp.Items
	cp.Items = func(endpoint string) []any {
		if endpoint == fakecontrolplane.VirtualAccounts {
			return virtual
		}
		return personalItems(endpoint)
	}
	cp.Serve(t, faults...)
	return cp
}

// Serve serves the control plane with faults until the test ends.
func (cp *ControlPlane) Serve(t testing.TB, faults ...Fault) {
	t.Helper()
	server := httptest.NewServer(cp.With(faults...))
	t.Cleanup(server.Close)
	cp.URL = server.URL
}

// New returns a control plane that is not served yet.
func New(t testing.TB, items func() []any) *ControlPlane {
	t.Helper()
	cp := &ControlPlane{Server: &fakecontrolplane.Server{
		Key: Key,
		Items: func(endpoint string) []any {
			if endpoint != fakecontrolplane.PersonalAccessTokens {
				return nil
			}
			return items()
		},
	}}
	t.Cleanup(func() {
		for _, request := range cp.Requests() {
			if !listRequest.MatchString(request) {
				t.Errorf("got a request that is not a list request: %s", request)
			}
		}
	})
	return cp
}

// listRequest matches list requests. Other requests may create tokens.
var listRequest = regexp.MustCompile(`^GET ` + fakecontrolplane.Prefix + `/v1/(personal-access-tokens|virtual-accounts)\?limit=\d+&offset=\d+$`)

// ServeHTTP implements http.Handler.
func (cp *ControlPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) { cp.With().ServeHTTP(w, r) }

// Requests returns the requests so far in the form "GET /path?query".
func (cp *ControlPlane) Requests() []string {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	return slices.Clone(cp.requests)
}

// With returns the handler of the control plane with faults.
func (cp *ControlPlane) With(faults ...Fault) http.Handler {
	var handler http.Handler = cp.Server
	for _, fault := range slices.Backward(faults) {
		handler = fault(handler)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cp.mu.Lock()
		cp.requests = append(cp.requests, r.Method+" "+r.URL.RequestURI())
		cp.mu.Unlock()
		handler.ServeHTTP(w, r)
	})
}

// Always returns a function that always returns the same items.
func Always(items ...any) func() []any { return func() []any { return items } }

// Issued is the time at which the tokens of Tokens were issued.
var Issued = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Tokens returns n healthy tokens with the ids t0000, t0001, ….
func Tokens(n int) []any {
	items := make([]any, n)
	for i := range items {
		items[i] = Token(i)
	}
	return items
}

// Token returns a healthy token with the number i.
func Token(i int) fakecontrolplane.Token {
	id := fmt.Sprintf("t%04d", i)
	expiry, expired := Issued.AddDate(0, 0, 90), false
	owner := fakecontrolplane.Subject{ID: "user-1", Type: "user", Slug: "ci@acme.example", DisplayName: "ci"}
	return fakecontrolplane.Token{
		ID: id, Name: "token-" + id, Type: "personal-access-token", TenantName: "acme", CreatedBySubject: owner,
		CreatedAt: Issued, UpdatedAt: Issued, LastAccessedAt: &Issued, IsExpired: &expired, JWTID: id + "-1",
		JWTs: []fakecontrolplane.JWT{{
			ID: id + "-1", Expiry: &expiry, CreatedAt: Issued, UpdatedAt: Issued,
			SubjectType: owner.Type, SubjectID: owner.ID, TokenType: "jwt",
		}},
		Manifest: &fakecontrolplane.Manifest{Name: "token-" + id, Type: "pat", OwnedBy: &fakecontrolplane.OwnedBy{Team: "platform"}},
	}
}
