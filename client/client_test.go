package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// apiKey is the secret that must not appear in errors.
const apiKey = "tfy_va_test_5ecret"

// newClient returns a client of the control plane at baseURL. Its connections are closed at
// the end of the test.
func newClient(t testing.TB, baseURL string, configure ...func(*client.Config)) *client.Client {
	t.Helper()
	u, err := client.ParseURL(baseURL)
	if err != nil {
		t.Fatal(err)
	}
	cfg := client.Config{
		URL:         u,
		APIPrefix:   client.DefaultAPIPrefix,
		Credentials: client.StaticKey(apiKey, "inline"),
		PageSize:    client.MaxPageSize,
		Limiter:     client.NewLimiter(4),
		Transport:   &http.Transport{},
		UserAgent:   "truefoundry_exporter/test",
		Now:         time.Now,
		Trace:       client.Trace{Request: func(int, time.Duration) {}, Retry: func() {}},
	}
	for _, f := range configure {
		f(&cfg)
	}
	if transport, ok := cfg.Transport.(*http.Transport); ok {
		t.Cleanup(transport.CloseIdleConnections)
	}
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve starts a server and returns its URL.
func serve(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// onePage responds with body to a request for the first page, and with an empty page to
// others.
func onePage(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.FormValue("offset") == "0" {
			fmt.Fprint(w, body)
		} else {
			fmt.Fprint(w, `{"data":[]}`)
		}
	}
}

// list gets a credential and lists the personal access tokens.
func list(ctx context.Context, c *client.Client) (*client.Listing, error) {
	key, err := c.Credential(ctx)
	if err != nil {
		return nil, err
	}
	return c.List(ctx, key, client.PersonalAccessToken)
}

// listPage lists a control plane with a single page.
func listPage(t testing.TB, body string) (*client.Listing, error) {
	t.Helper()
	return list(t.Context(), newClient(t, serve(t, onePage(body))))
}

// wantError fails the test unless err is a complete *client.Error with that reason, on one
// line of limited length, without the API key.
func wantError(t testing.TB, err error, reason client.Reason) *client.Error {
	t.Helper()
	failure := (*client.Error)(nil)
	if !errors.As(err, &failure) {
		t.Fatalf("error is %T (%v), want a *client.Error", err, err)
	}
	if failure.Reason != reason {
		t.Errorf("reason is %s, want %s (%v)", failure.Reason, reason, err)
	}
	if failure.Summary == "" || failure.Advice == "" {
		t.Errorf("%#v has no summary or no advice", failure)
	}
	text := err.Error()
	if strings.ContainsAny(text, "\r\n\t\x00") {
		t.Errorf("error is not on one line: %q", text)
	}
	if utf8.RuneCountInString(failure.Detail) > 200 || len(failure.Summary)+len(failure.Advice) > 400 {
		t.Errorf("error has %d bytes: %q", len(text), text)
	}
	if strings.Contains(text, apiKey) {
		t.Errorf("error contains the API key: %s", text)
	}
	return failure
}

// wantCanceled fails the test unless err is a *client.Error that is Canceled.
func wantCanceled(t testing.TB, err error) {
	t.Helper()
	if e := wantError(t, err, ""); !e.Canceled() {
		t.Errorf("%v is not cancelled", err)
	}
}

// wantText fails the test unless text contains all the parts.
func wantText(t testing.TB, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not contain %q", text, part)
		}
	}
}

// wantEqual fails the test unless got and want are deeply equal.
func wantEqual(t testing.TB, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %s\nwant %s", format(got), format(want))
	}
}

// format prints v with the values of its pointers.
func format(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%#v", v)
	}
	return string(text)
}

func TestRequestsAreForListEndpoints(t *testing.T) {
	for _, tc := range []struct {
		name, path, prefix string
		kind               client.Kind
		want               string
	}{
		{"personal access tokens", "", "/api/svc", client.PersonalAccessToken, "/api/svc/v1/personal-access-tokens"},
		{"virtual accounts", "", "/api/svc", client.VirtualAccount, "/api/svc/v1/virtual-accounts"},
		{"a path in the URL is kept", "/tfy/eu", "/api/svc", client.PersonalAccessToken, "/tfy/eu/api/svc/v1/personal-access-tokens"},
		{"extra slashes are removed", "/tfy//", "/api/svc/", client.PersonalAccessToken, "/tfy/api/svc/v1/personal-access-tokens"},
		{"no API prefix, as inside a cluster", "", "/", client.PersonalAccessToken, "/v1/personal-access-tokens"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				got = append(got, r.Method, r.URL.Path, r.URL.RawQuery,
					r.Header.Get("Authorization"), r.Header.Get("Accept"), r.Header.Get("Accept-Encoding"), r.UserAgent())
				fmt.Fprint(w, `{"data":[]}`)
			})
			c := newClient(t, url+tc.path, func(cfg *client.Config) { cfg.APIPrefix, cfg.PageSize = tc.prefix, 7 })
			key, err := c.Credential(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.List(t.Context(), key, tc.kind); err != nil {
				t.Fatal(err)
			}
			wantEqual(t, got, []string{
				"GET", tc.want, "limit=7&offset=0",
				"Bearer " + apiKey, "application/json", "gzip", "truefoundry_exporter/test",
			})
		})
	}
}

func TestParseURL(t *testing.T) {
	for _, tc := range []struct{ text, want, controlPlane string }{
		{"https://acme.truefoundry.cloud", "https://acme.truefoundry.cloud", "acme.truefoundry.cloud"},
		{"https://acme.truefoundry.cloud/", "https://acme.truefoundry.cloud", "acme.truefoundry.cloud"},
		{"HTTPS://acme.truefoundry.cloud", "https://acme.truefoundry.cloud", "acme.truefoundry.cloud"},
		{"http://tfy-servicefoundry-server:3000", "http://tfy-servicefoundry-server:3000", "tfy-servicefoundry-server:3000"},
		{"https://tools.example/tfy/eu//", "https://tools.example/tfy/eu", "tools.example/tfy/eu"},
		{"https://tools.example/t%20f", "https://tools.example/t%20f", "tools.example/t%20f"},
		{"https://[2001:db8::1]:8443/tfy", "https://[2001:db8::1]:8443/tfy", "[2001:db8::1]:8443/tfy"},
		{"https://tools.example#", "https://tools.example", "tools.example"},
		{"http://[fe80::1%25eth0]:3000", "http://[fe80::1%25eth0]:3000", "[fe80::1%eth0]:3000"},
		{"http://my_service.acme-1:3000", "http://my_service.acme-1:3000", "my_service.acme-1:3000"},
		{"https://über.example", "https://%C3%BCber.example", "über.example"},
	} {
		u, err := client.ParseURL(tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		wantEqual(t, u.String(), tc.want)
		wantEqual(t, client.ControlPlane(u), tc.controlPlane)
	}
}

func TestParseURLRejectsInvalidURLs(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", "must be absolute"},
		{"acme.truefoundry.cloud", "must be absolute"},
		{"acme.truefoundry.cloud/tfy", "must be absolute"},
		{"localhost:3000", "must be absolute"},
		{"10.0.0.1:3000", "is not a URL"},
		{"//acme.truefoundry.cloud", "must be absolute"},
		{"/tfy", "must be absolute"},
		{"ftp://acme.truefoundry.cloud", "must be absolute"},
		{"https://", "must be absolute"},
		{"https://:443", "must be absolute"},
		{"https:acme.truefoundry.cloud", "must be absolute"},
		{" https://acme.truefoundry.cloud", "is not a URL"},
		{"https://acme.truefoundry.cloud\n", "is not a URL"},
		{"https://acme truefoundry cloud", "is not a URL"},
		{"https://acme.truefoundry.cloud:port", "is not a URL"},
		{"https://%ff/", "must be absolute"},
		{"https://<org>.truefoundry.cloud", "a character in its host"},
		{`https://"acme.truefoundry.cloud"`, "a character in its host"},
		{"https://$ORG.truefoundry.cloud", "a character in its host"},
		{"https://tools.example/?", "must not have a query"},
		{"https://tools.example/?key=s3cret", "must not have a query"},
		{"https://tools.example/#s3cret", "must not have a query or a fragment"},
		{"https://admin:s3cret@tools.example", "must not contain a user or a password"},
		{"https://s3cret@tools.example/tfy", "must not contain a user or a password"},
		{"https://admin:s3cret@", "must be absolute"},
		{"//admin:s3cret@tools.example", "must be absolute"},
		{"https://admin:s3cret%zz@tools.example", "is not a URL"},
		{"https://admin:s3cret@tools.example:port", "is not a URL"},
		{"https://admin:s3cret@[::1", "is not a URL"},
		{"admin:s3cret@tools.example", "must be absolute"},
		{"https:admin:s3cret@tools.example", "must be absolute"},
	} {
		u, err := client.ParseURL(tc.text)
		if err == nil {
			t.Errorf("%q is accepted as %s", tc.text, u)
			continue
		}
		wantText(t, err.Error(), tc.want)
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error contains credentials: %v", tc.text, err)
		}
	}
}

func TestParseAPIPrefix(t *testing.T) {
	for text, want := range map[string]string{
		"": "/", "/": "/", "/api/svc": "/api/svc", "/api/svc/": "/api/svc", "/a-b/c_d.e~f": "/a-b/c_d.e~f",
	} {
		if got, err := client.ParseAPIPrefix(text); err != nil || got != want {
			t.Errorf("%q is %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		"api", "../x", "/..", "/../x", "/a/../b", "/./a", "//a", "/a//b", "/a?b", "/a#b", "/a%zz", "/a%2Fb", "/a b", "/a\n", "/ä", `/a\b`,
	} {
		if got, err := client.ParseAPIPrefix(text); err == nil {
			t.Errorf("%q is accepted as %q", text, got)
		}
	}
}

func TestReasonsAndFieldsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range client.Reasons() {
		if seen[string(r)] {
			t.Errorf("reason %s occurs twice", r)
		}
		seen[string(r)] = true
	}
	for _, f := range client.Fields() {
		if seen[string(f)] {
			t.Errorf("field %s occurs twice", f)
		}
		seen[string(f)] = true
	}
}
