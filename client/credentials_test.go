package client_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// fakeCredentials are client.Credentials that call functions of a test.
type fakeCredentials struct {
	get     func(ctx context.Context) (client.Credential, error)
	refused func(client.Credential)
}

// Credential implements client.Credentials.
func (s fakeCredentials) Credential(ctx context.Context) (client.Credential, error) {
	return s.get(ctx)
}

// Refused implements client.Credentials.
func (s fakeCredentials) Refused(c client.Credential) {
	if s.refused != nil {
		s.refused(c)
	}
}

// String implements client.Credentials.
func (fakeCredentials) String() string { return "file /run/key" }

func TestEachListingGetsACredential(t *testing.T) {
	var sent []string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		sent = append(sent, r.Header.Get("Authorization"))
		fmt.Fprint(w, `{"data":[]}`)
	})
	keys := []string{"first", "second"}
	c := newClient(t, url, func(cfg *client.Config) {
		cfg.Credentials = fakeCredentials{get: func(context.Context) (client.Credential, error) {
			key := keys[0]
			keys = keys[1:]
			return client.APIKey(key)
		}}
	})
	for range 2 {
		if _, err := list(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	wantEqual(t, sent, []string{"Bearer first", "Bearer second"})
}

func TestNothingIsSentWithoutAValidKey(t *testing.T) {
	for _, tc := range []struct{ name, key, want string }{
		{"empty", "", "it is empty"},
		{"a space inside", "tfy s3cret", "a blank"},
		{"two lines", "tfy\ns3cret", "a blank"},
		{"an injected header", "tfy\r\nX-S3cret: s3cret", "a blank"},
		{"NUL inside", "tfy\x00s3cret", "a control character"},
		{"a byte order mark", "\ufefftfy_s3cret", "beyond ASCII"},
		{"invalid UTF-8", "tfy_s3cret\xff", "beyond ASCII"},
		{"DEL at the end", "tfy_s3cret\x7f", "a control character"},
		{"a scheme before the key", "Bearer s3cret", "which is added"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
			_, err := list(t.Context(), newClient(t, url, func(cfg *client.Config) { cfg.Credentials = client.StaticKey(tc.key, "TFY_API_KEY") }))
			e := wantError(t, err, client.ReasonCredentials)
			wantEqual(t, e.Status, 0)
			wantText(t, err.Error(), "no usable API key in TFY_API_KEY: ", tc.want, ": put only the key there")
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

func TestAFileIsNamedOnce(t *testing.T) {
	c := newClient(t, "http://acme.example", func(cfg *client.Config) {
		cfg.Credentials = fakeCredentials{get: func(context.Context) (client.Credential, error) {
			return client.Credential{}, &fs.PathError{Op: "open", Path: "/run/key", Err: fs.ErrNotExist}
		}}
	})
	_, err := list(t.Context(), c)
	wantError(t, err, client.ReasonCredentials)
	wantEqual(t, err.Error(), "no usable API key in file /run/key: file does not exist: put only the key there")
}

// newKey returns the credential for an API key.
func newKey(t *testing.T, text string) client.Credential {
	t.Helper()
	credential, err := client.APIKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// newJWT returns a JWT with these claims.
func newJWT(claims string) string {
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestExpiryOfAKey(t *testing.T) {
	for _, tc := range []struct{ name, secret, want string }{
		{"a whole number", newJWT(`{"sub":"ada","exp":1790000000}`), "2026-09-21T14:13:20Z"},
		{"a fraction", newJWT(`{"exp":1790000000.5}`), "2026-09-21T14:13:20.5Z"},
		{"an exponent", newJWT(`{"exp":1.79e9}`), "2026-09-21T14:13:20Z"},
		{"other claims that are not ASCII", newJWT(`{"name":"Ada 🔑??>>","exp":1790000000}`), "2026-09-21T14:13:20Z"},
		{"the first valid time", newJWT(`{"exp":946684800}`), "2000-01-01T00:00:00Z"},
		{"the last valid time", newJWT(`{"exp":253402300799}`), "9999-12-31T23:59:59Z"},
		{"before 2000", newJWT(`{"exp":946684799}`), ""},
		{"after 9999", newJWT(`{"exp":253402300800}`), ""},
		{"milliseconds", newJWT(`{"exp":1790000000000}`), ""},
		{"absent", newJWT(`{"sub":"ada"}`), ""},
		{"null", newJWT(`{"exp":null}`), ""},
		{"zero", newJWT(`{"exp":0}`), ""},
		{"negative", newJWT(`{"exp":-1790000000}`), ""},
		{"huge", newJWT(`{"exp":1e300}`), ""},
		{"too large for a float", newJWT(`{"exp":1e999}`), ""},
		{"a string", newJWT(`{"exp":"1790000000"}`), ""},
		{"claims that are not an object", newJWT(`[1790000000]`), ""},
		{"claims that are not JSON", newJWT(`exp=1790000000`), ""},
		{"claims that are not base64", "e30.***.c2ln", ""},
		{"claims that are empty", "e30..c2ln", ""},
		{"two parts", "e30.eyJleHAiOjE3OTAwMDAwMDB9", ""},
		{"five parts, like an encrypted JWT", "e30.eyJleHAiOjE3OTAwMDAwMDB9.a.b.c", ""},
		{"an opaque key", "tfy_va_ci_5ecret", ""},
		{"only dots", "..", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := time.Time{}
			if tc.want != "" {
				want = at(tc.want)
			}
			wantEqual(t, newKey(t, tc.secret).Expiry, want)
		})
	}
}

func TestAnAccessTokenHasNoExpiry(t *testing.T) {
	credential, err := client.AccessToken(newJWT(`{"exp":1790000000}`))
	if err != nil || !credential.Expiry.IsZero() {
		t.Errorf("got %v, %v", credential.Expiry, err)
	}
}

func TestCredentialsDoNotPrintTheirSecret(t *testing.T) {
	key, static := newKey(t, apiKey), client.StaticKey(apiKey, "inline")
	for _, v := range []any{
		key, &key,
		[]client.Credential{key},
		map[string]client.Credential{"k": key},
		struct{ K client.Credential }{key},
		static,
		[]client.Credentials{static},
		struct{ K client.Credentials }{static},
		client.Config{Credentials: static},
	} {
		for _, format := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%d"} {
			text := fmt.Sprintf(format, v)
			if strings.Contains(text, apiKey) || strings.Contains(text, fmt.Sprintf("%x", apiKey)) {
				t.Errorf("%s of %T contains the secret: %s", format, v, text)
			}
		}
	}
	wantEqual(t, key.String(), "<redacted>")
}

func TestAnErrorOfTheCredentialsFailsTheListing(t *testing.T) {
	c := newClient(t, "http://acme.example", func(cfg *client.Config) {
		cfg.Credentials = fakeCredentials{get: func(context.Context) (client.Credential, error) {
			return client.Credential{}, fmt.Errorf("wrapped: %w", &client.Error{Reason: client.ReasonConnection, Summary: "the login failed", Advice: "wait"})
		}}
	})
	_, err := list(t.Context(), c)
	wantError(t, err, client.ReasonConnection)
	wantEqual(t, err.Error(), "the login failed: wait")
}

// Refused gets the credential that was sent, because there may be a new one by then.
func TestRefusedIsCalledAfterA401(t *testing.T) {
	for status, want := range map[int]int32{401: 1, 403: 0, 407: 0, 500: 0, 200: 0} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			var refused atomic.Int32
			c := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				fmt.Fprint(w, `{"data":[]}`)
			}), func(cfg *client.Config) {
				cfg.Credentials = fakeCredentials{
					get: func(context.Context) (client.Credential, error) { return client.APIKey(apiKey) },
					refused: func(c client.Credential) {
						if c == newKey(t, apiKey) {
							refused.Add(1)
						}
					},
				}
			})
			_, err := list(t.Context(), c)
			if (err == nil) != (status == 200) {
				t.Error(err)
			}
			wantEqual(t, refused.Load(), want)
		})
	}
}

func TestInvalidConfigs(t *testing.T) {
	u, err := client.ParseURL("https://acme.truefoundry.cloud")
	if err != nil {
		t.Fatal(err)
	}
	key := client.StaticKey(apiKey, "inline")
	for _, tc := range []struct {
		name string
		cfg  client.Config
		want string
	}{
		{"everything", client.Config{}, "the client needs the URL of a control plane"},
		{"the credentials", client.Config{URL: u}, "the client needs credentials"},
		{"a page size that is too large", client.Config{URL: u, Credentials: key, PageSize: 1001}, "the page size is 1001 and must be 1 to 1000"},
		{"a page size that is negative", client.Config{URL: u, Credentials: key, PageSize: -1}, "the page size is -1 and must be 1 to 1000"},
		{"a negative number of tokens", client.Config{URL: u, Credentials: key, MaxTokens: -1}, "the maximum number of tokens is -1 and must be positive"},
	} {
		if c, err := client.New(tc.cfg); err == nil || err.Error() != tc.want || c != nil {
			t.Errorf("%s: got %v, want %s", tc.name, err, tc.want)
		}
	}
}

func TestConfigDefaults(t *testing.T) {
	var requested string
	u, err := client.ParseURL(serve(t, func(w http.ResponseWriter, r *http.Request) {
		requested = r.URL.String() + " " + r.UserAgent()
		fmt.Fprint(w, `{"data":[]}`)
	}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{URL: u, Credentials: client.StaticKey(apiKey, "inline")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := list(ctx, c); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, requested, "/api/svc/v1/personal-access-tokens?limit=1000&offset=0 truefoundry_exporter")
}
