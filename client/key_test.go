package client_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// keyFile returns the path of a new file that holds text.
func keyFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "api-key")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// keyRecorder serves an empty list and returns the Authorization headers that
// came.
func keyRecorder(t *testing.T, path string) (c *client.Client, sent func() []string) {
	t.Helper()
	var headers []string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		headers = append(headers, r.Header.Get("Authorization"))
		fmt.Fprint(w, `{"data":[]}`)
	})
	c = newClient(t, url, func(cfg *client.Config) { cfg.APIKey = config.NewFileSecret(path) })
	return c, func() []string { return headers }
}

func TestARotatedKeyFileIsUsedByTheNextListing(t *testing.T) {
	path := keyFile(t, "first\n")
	c, sent := keyRecorder(t, path)
	for _, text := range []string{"first\n", "second", "\n third\r\n\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := list(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	wantEqual(t, sent(), []string{"Bearer first", "Bearer second", "Bearer third"})
}

func TestWithoutAUsableKeyNothingIsSent(t *testing.T) {
	for _, tc := range []struct{ name, path, want string }{
		{"no file", filepath.Join(t.TempDir(), "none"), "no such file"},
		{"a directory", t.TempDir(), "is a directory"},
		{"an empty file", keyFile(t, ""), "it is empty"},
		{"a file of blanks", keyFile(t, " \n\t\n"), "it is empty"},
		{"a blank inside", keyFile(t, "tfy s3cret"), "a blank"},
		{"two lines", keyFile(t, "tfy\ns3cret\n"), "a blank"},
		{"a header to smuggle in", keyFile(t, "tfy\r\nX-S3cret: s3cret"), "a blank"},
		{"NUL inside", keyFile(t, "tfy\x00s3cret"), "a control character"},
		{"a byte order mark", keyFile(t, "\ufefftfy_s3cret"), "beyond ASCII"},
		{"invalid UTF-8", keyFile(t, "tfy_s3cret\xff"), "beyond ASCII"},
		{"DEL at the end", keyFile(t, "tfy_s3cret\x7f"), "a control character"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, sent := keyRecorder(t, tc.path)
			_, err := list(t.Context(), c)
			e := wantError(t, err, client.ReasonCredentials)
			wantEqual(t, e.Status, 0)
			wantText(t, err.Error(), "file "+tc.path, tc.want)
			if strings.Count(err.Error(), tc.path) != 1 {
				t.Errorf("the path stands there more than once: %v", err)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error shows the key: %v", err)
			}
			if len(sent()) > 0 {
				t.Errorf("sent %q", sent())
			}
		})
	}
}

func TestAKeyFileThatComesLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api-key")
	c, sent := keyRecorder(t, path)
	_, err := list(t.Context(), c)
	wantError(t, err, client.ReasonCredentials)
	if err := os.WriteFile(path, []byte("tfy"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := list(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, sent(), []string{"Bearer tfy"})
}

// keyOf reads secret as an API key.
func keyOf(t *testing.T, secret string) client.Key {
	t.Helper()
	c := newClient(t, "http://acme.example", func(cfg *client.Config) { cfg.APIKey = config.NewInlineSecret(secret) })
	key, err := c.Key(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// jwtOf returns a JWT with these claims.
func jwtOf(claims string) string {
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestKeyExpiry(t *testing.T) {
	for _, tc := range []struct{ name, secret, want string }{
		{"a whole number", jwtOf(`{"sub":"ada","exp":1790000000}`), "2026-09-21T14:13:20Z"},
		{"a fraction", jwtOf(`{"exp":1790000000.5}`), "2026-09-21T14:13:20.5Z"},
		{"an exponent", jwtOf(`{"exp":1.79e9}`), "2026-09-21T14:13:20Z"},
		{"text beyond ASCII beside it", jwtOf(`{"name":"Ada 🔑??>>","exp":1790000000}`), "2026-09-21T14:13:20Z"},
		{"the first that is believed", jwtOf(`{"exp":946684800}`), "2000-01-01T00:00:00Z"},
		{"the last that is believed", jwtOf(`{"exp":253402300799}`), "9999-12-31T23:59:59Z"},
		{"before 2000", jwtOf(`{"exp":946684799}`), ""},
		{"after 9999", jwtOf(`{"exp":253402300800}`), ""},
		{"milliseconds", jwtOf(`{"exp":1790000000000}`), ""},
		{"absent", jwtOf(`{"sub":"ada"}`), ""},
		{"null", jwtOf(`{"exp":null}`), ""},
		{"zero", jwtOf(`{"exp":0}`), ""},
		{"negative", jwtOf(`{"exp":-1790000000}`), ""},
		{"huge", jwtOf(`{"exp":1e300}`), ""},
		{"beyond a float", jwtOf(`{"exp":1e999}`), ""},
		{"text", jwtOf(`{"exp":"1790000000"}`), ""},
		{"claims that are no object", jwtOf(`[1790000000]`), ""},
		{"claims that are no JSON", jwtOf(`exp=1790000000`), ""},
		{"claims that are no base64", "e30.***.c2ln", ""},
		{"claims that are empty", "e30..c2ln", ""},
		{"two parts", "e30.eyJleHAiOjE3OTAwMDAwMDB9", ""},
		{"five parts, as of an encrypted JWT", "e30.eyJleHAiOjE3OTAwMDAwMDB9.a.b.c", ""},
		{"opaque", "tfy_va_ci_5ecret", ""},
		{"nothing but dots", "..", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			want := time.Time{}
			if tc.want != "" {
				want = at(tc.want)
			}
			wantEqual(t, keyOf(t, tc.secret).Expiry, want)
		})
	}
}

func TestAKeyNeverShowsItsSecret(t *testing.T) {
	key := keyOf(t, apiKey)
	for _, v := range []any{key, &key, []client.Key{key}, map[string]client.Key{"k": key}, struct{ K client.Key }{key}} {
		for _, format := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%d"} {
			text := fmt.Sprintf(format, v)
			if strings.Contains(text, apiKey) || strings.Contains(text, fmt.Sprintf("%x", apiKey)) {
				t.Errorf("%s of %T shows the secret: %s", format, v, text)
			}
		}
	}
	wantEqual(t, key.String(), "<secret>")
}

func TestAPasswordIsSentAndNotRepeated(t *testing.T) {
	secret := base64.StdEncoding.EncodeToString([]byte("ada:s3cret"))
	var sent string
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		sent = r.Header.Get("Authorization")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"message":"%s, the password s3cret is wrong"}`, sent)
	})
	c := newClient(t, url, func(cfg *client.Config) {
		cfg.APIKey, cfg.Scheme = config.NewInlineSecret(secret), client.SchemeBasic
	})
	_, err := list(t.Context(), c)
	wantError(t, err, client.ReasonUnauthorized)
	wantEqual(t, sent, "Basic "+secret)
	wantText(t, err.Error(), "the password <secret> is wrong")
	if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), secret) {
		t.Errorf("the error shows the password: %v", err)
	}
}

func TestTheEndOfAKeyThatIsRenewedIsOfNoInterest(t *testing.T) {
	c := newClient(t, "http://acme.example", func(cfg *client.Config) {
		cfg.APIKey, cfg.Renewed = config.NewInlineSecret(jwtOf(`{"exp":1790000000}`)), true
	})
	if key, err := c.Key(t.Context()); err != nil || !key.Expiry.IsZero() {
		t.Errorf("got %v, %v", key.Expiry, err)
	}
}

// refusing is a place of keys that gives none.
type refusing struct{ config.SecretReader }

func (refusing) Fetch(context.Context) (string, error) {
	return "", &client.Error{Reason: client.ReasonConnection, What: "nobody\nthere", Advice: "wait"}
}

func TestWhoGivesTheKeyMaySayWhyNot(t *testing.T) {
	c := newClient(t, "http://acme.example", func(cfg *client.Config) { cfg.APIKey = refusing{} })
	_, err := list(t.Context(), c)
	wantError(t, err, client.ReasonConnection)
	wantEqual(t, err.Error(), "nobody there: wait")
}
