// Package controlplanetest serves control planes on loopback for tests.
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

// Key is the API key that a ControlPlane accepts: a JWT that says
// {"exp":1790000000}.
const Key = "e30.eyJleHAiOjE3OTAwMDAwMDB9.c2ln"

// Fault changes how a control plane answers.
type Fault func(next http.Handler) http.Handler

// ControlPlane is a control plane that serves until its test ends.
type ControlPlane struct {
	*fakecontrolplane.Server
	URL string

	mu       sync.Mutex
	requests []string
}

// Start serves the personal access tokens that items returns for each request,
// with the first of the faults outermost. The test fails if anything but the
// lists was asked for.
func Start(t testing.TB, items func() []any, faults ...Fault) *ControlPlane {
	t.Helper()
	cp := New(t, items)
	cp.Serve(t, faults...)
	return cp
}

// StartKinds serves the items of both kinds to those who have the key, with the
// first of the faults outermost. The test fails if anything but the lists was
// asked for.
func StartKinds(t testing.TB, key string, personal, virtual []any, faults ...Fault) *ControlPlane {
	t.Helper()
	cp := New(t, Always(personal...))
	cp.Key = key
	ofPersonal := cp.Items
	cp.Items = func(endpoint string) []any {
		if endpoint == fakecontrolplane.VirtualAccounts {
			return virtual
		}
		return ofPersonal(endpoint)
	}
	cp.Serve(t, faults...)
	return cp
}

// Serve serves cp until the test ends, behind the faults.
func (cp *ControlPlane) Serve(t testing.TB, faults ...Fault) {
	t.Helper()
	server := httptest.NewServer(cp.With(faults...))
	t.Cleanup(server.Close)
	cp.URL = server.URL
}

// New returns a control plane that serves nowhere yet.
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
			if !lists.MatchString(request) {
				t.Errorf("asked for something else than a list: %s", request)
			}
		}
	})
	return cp
}

// lists are the requests that list. Others may create tokens.
var lists = regexp.MustCompile(`^GET ` + fakecontrolplane.Prefix + `/v1/(personal-access-tokens|virtual-accounts)\?limit=\d+&offset=\d+$`)

// ServeHTTP implements http.Handler.
func (cp *ControlPlane) ServeHTTP(w http.ResponseWriter, r *http.Request) { cp.With().ServeHTTP(w, r) }

// Requests returns the requests so far, as "GET /path?query".
func (cp *ControlPlane) Requests() []string {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	return slices.Clone(cp.requests)
}

// With returns the handler of the control plane behind the faults.
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

// Always returns the same items for each request.
func Always(items ...any) func() []any { return func() []any { return items } }

// Issued is when the tokens of Tokens were issued.
var Issued = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Tokens returns n healthy tokens with the ids t0000, t0001, ….
func Tokens(n int) []any {
	items := make([]any, n)
	for i := range items {
		items[i] = Token(i)
	}
	return items
}

// Token returns the healthy token number i.
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
