package client_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
)

// status responds with a status, a body, and pairs of header names and values. Its
// Retry-After is after any deadline, so that the client does not retry.
func status(code int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "86400")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

// failure lists a control plane with this handler and returns the error.
func failure(t *testing.T, handler http.HandlerFunc, reason client.Reason) *client.Error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := list(ctx, newClient(t, serve(t, handler)))
	if l != nil {
		t.Errorf("there is a listing besides the error: %s", format(l))
	}
	return wantError(t, err, reason)
}

func TestErrorsByStatus(t *testing.T) {
	const notFromAPI = ", which did not come from the API"
	for _, tc := range []struct {
		status      int
		text        string
		api, other  client.Reason // for an error of the API and for other errors
		adviceAPI   string
		adviceOther string
	}{
		{201, "201 Created", client.ReasonBadResponse, client.ReasonBadResponse, "check that the URL", "check that the URL"},
		{206, "206 Partial Content", client.ReasonBadResponse, client.ReasonBadResponse, "check that the URL", "check that the URL"},
		{400, "400 Bad Request", client.ReasonClientError, client.ReasonClientError, "--truefoundry.page-size", "should start with https://"},
		{401, "401 Unauthorized", client.ReasonUnauthorized, client.ReasonIntermediary, "replace it", "the API key is not the problem"},
		{403, "403 Forbidden", client.ReasonForbidden, client.ReasonIntermediary, "a key whose owner may", "the API key is not the problem"},
		{404, "404 Not Found", client.ReasonClientError, client.ReasonClientError, "the API prefix", "something other than the control plane's API"},
		{408, "408 Request Timeout", client.ReasonClientError, client.ReasonClientError, "check the URL", "gave up waiting for the request"},
		{409, "409 Conflict", client.ReasonClientError, client.ReasonClientError, "check the URL", "check the URL"},
		{422, "422 Unprocessable Entity", client.ReasonClientError, client.ReasonClientError, "--truefoundry.page-size", "check the URL"},
		{429, "429 Too Many Requests", client.ReasonRateLimited, client.ReasonRateLimited, "--truefoundry.max-concurrency", "--truefoundry.max-concurrency"},
		{431, "431 Request Header Fields Too Large", client.ReasonClientError, client.ReasonClientError, "check the URL", "which has 18 bytes, is too large"},
		{500, "500 Internal Server Error", client.ReasonServerError, client.ReasonServerError, "control plane's logs", "what is in front of it"},
		{501, "501 Not Implemented", client.ReasonServerError, client.ReasonServerError, "control plane's logs", "what is in front of it"},
		{502, "502 Bad Gateway", client.ReasonServerError, client.ReasonServerError, "control plane's logs", "cannot reach it"},
		{503, "503 Service Unavailable", client.ReasonServerError, client.ReasonServerError, "control plane's logs", "cannot reach it"},
		{504, "504 Gateway Timeout", client.ReasonServerError, client.ReasonServerError, "control plane's logs", "cannot reach it"},
		{599, "599", client.ReasonServerError, client.ReasonServerError, "control plane's logs", "what is in front of it"},
	} {
		t.Run(tc.text, func(t *testing.T) {
			own := failure(t, status(tc.status, fmt.Sprintf(`{"statusCode":%d,"message":"no"}`, tc.status)), tc.api)
			wantEqual(t, own.Status, tc.status)
			wantEqual(t, own.Summary, tc.text)
			wantEqual(t, own.Detail, "no")
			wantText(t, own.Advice, tc.adviceAPI)
			foreign := failure(t, status(tc.status, "<html><title>No &amp;\nno</title>", "Server", "nginx/1.27"), tc.other)
			wantEqual(t, foreign.Status, tc.status)
			wantEqual(t, foreign.Summary, tc.text+notFromAPI)
			wantEqual(t, foreign.Detail, `server nginx/1.27, title "No & no"`)
			wantText(t, foreign.Advice, tc.adviceOther)
		})
	}
	t.Run("several messages", func(t *testing.T) {
		e := failure(t, status(422, `{"statusCode":422,"message":["limit must not be greater than 500","no offset"]}`), client.ReasonClientError)
		wantEqual(t, e.Detail, "limit must not be greater than 500; no offset")
	})
	t.Run("204 No Content", func(t *testing.T) {
		wantEqual(t, failure(t, status(204, ""), client.ReasonBadResponse).Summary, "204 No Content"+notFromAPI)
	})
	t.Run("304 Not Modified", func(t *testing.T) {
		wantText(t, failure(t, status(304, ""), client.ReasonRedirect).Advice, "does not say where to")
	})
}

// A 407 is always from a proxy, whatever its body.
func TestAProxyThatRequiresCredentials(t *testing.T) {
	for _, body := range []string{"", "<html><title>Access denied</title>", `{"statusCode":407,"message":"no"}`} {
		var requests atomic.Int32
		address := ""
		e := failure(t, func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			address = r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
			w.Header().Add("Proxy-Authenticate", `Basic realm="s3cret"`)
			w.Header().Add("Proxy-Authenticate", "Negotiate")
			w.WriteHeader(http.StatusProxyAuthRequired)
			fmt.Fprint(w, body)
		}, client.ReasonIntermediary)
		wantEqual(t, e.Summary, "the proxy "+address+" refused: 407 Proxy Authentication Required")
		if !strings.HasPrefix(body, "{") {
			wantText(t, e.Detail, "wants Basic, wants Negotiate")
		}
		wantEqual(t, requests.Load(), int32(1))
	}
}

// Text from the response is in the detail and nowhere else.
func TestTheSenderIsADetail(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		header     []string
		want       string
	}{
		{"nothing", "", nil, ""},
		{"a server", "", []string{"Server", "HAProxy"}, "server HAProxy"},
		{"a title", "<HTML><TITLE lang=en> Sign\n in </TITLE>", nil, `title "Sign in"`},
		{"a title in a long page", "<html>" + strings.Repeat(" ", 10_000) + "<title>x</title>", nil, `title "x"`},
		{"a title beyond the limit", "<html>" + strings.Repeat(" ", 20_000) + "<title>x</title>", nil, ""},
		{"a title without an end", "<html><title>x", nil, ""},
		{"a scheme", "", []string{"WWW-Authenticate", `Digest realm="a"`}, "wants Digest"},
		{"everything", "<title>a</title>", []string{"Server", "squid", "WWW-Authenticate", "NTLM"}, `server squid, title "a", wants NTLM`},
		{"the key", "<title>" + apiKey + "</title>", []string{"Server", apiKey, "WWW-Authenticate", apiKey}, `server <redacted>, title "<redacted>", wants <redacted>`},
		{"a long title", "<title>" + strings.Repeat("x", 1000) + "</title>", nil, `title "` + strings.Repeat("x", 192) + "…"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := failure(t, status(http.StatusForbidden, tc.body, tc.header...), client.ReasonIntermediary)
			wantEqual(t, e.Detail, tc.want)
			wantEqual(t, e.Summary, "403 Forbidden, which did not come from the API")
		})
	}
}

func TestA400ThatIsNotFromTheAPI(t *testing.T) {
	respond := status(http.StatusBadRequest, "<title>400 Bad Request</title>")
	server := httptest.NewTLSServer(respond)
	t.Cleanup(server.Close)
	for _, tc := range []struct{ name, url, key, want string }{
		{"over plain HTTP", serve(t, respond), apiKey, "most likely the port expects TLS: the URL should start with https://"},
		{"over plain HTTP, with a key of 6 kB", serve(t, respond), strings.Repeat("k", 6000), "most likely the API key, which has 6000 bytes, is too large for what is in front of the control plane: allow larger headers there; or the port expects TLS"},
		{"over TLS", server.URL, apiKey, "most likely a client certificate is missing or refused: check tls_config"},
		{"over TLS, with a key of 6 kB", server.URL, strings.Repeat("k", 6000), "most likely the API key, which has 6000 bytes, is too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := list(ctx, newClient(t, tc.url, func(cfg *client.Config) {
				cfg.Transport, cfg.Credentials = server.Client().Transport.(*http.Transport).Clone(), client.StaticKey(tc.key, "inline")
			}))
			wantText(t, wantError(t, err, client.ReasonClientError).Advice, tc.want)
		})
	}
}

func TestA200ThatIsNotFromTheAPI(t *testing.T) {
	for _, tc := range []struct{ name, body, summary, detail, advice string }{
		{"HTML", "<!doctype html><html><head><title>TrueFoundry</title>", "the response is an HTML page instead of a list of tokens", `server nginx, title "TrueFoundry"`, "check the API prefix"},
		{"HTML after spaces", " \n\t<html>", "the response is an HTML page instead of a list of tokens", "server nginx", "check the API prefix"},
		{"HTML in gzip", faults.Gzip("<title>x</title>"), "the response is an HTML page instead of a list of tokens", `server nginx, title "x"`, "check the API prefix"},
		{"nothing", "", "the response is empty instead of a list of tokens", "server nginx", "what is in front of it"},
		{"nothing in gzip", faults.Gzip(""), "the response is empty instead of a list of tokens", "server nginx", "what is in front of it"},
		{"text", "OK", "the response is not a list of tokens", "text/plain; charset=utf-8: jsontext: invalid character 'O' at start of value after 0 bytes", "the API prefix"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := []string{"Server", "nginx"}
			if strings.HasPrefix(tc.body, "\x1f\x8b") {
				header = append(header, "Content-Encoding", "gzip")
			}
			e := failure(t, status(http.StatusOK, tc.body, header...), client.ReasonBadResponse)
			wantEqual(t, e.Summary, tc.summary)
			wantText(t, e.Advice, tc.advice)
			if tc.name != "text" {
				wantEqual(t, e.Detail, tc.detail)
			}
		})
	}
}

// Error responses of the API are JSON objects. A new key does not help against others.
func TestRefusalsByTheAPIAndByOthers(t *testing.T) {
	const api, other = true, false
	for _, tc := range []struct {
		name, body string
		from       bool
	}{
		{"the API", `{"statusCode":401,"message":"Unauthorized"}`, api},
		{"the API, with only a message", `{"message":"Unauthorized"}`, api},
		{"the API, with several messages", `{"message":["a","b"]}`, api},
		{"the API, with only a status", `{"statusCode":"401"}`, api},
		{"a page", "<html><body>Sign in</body></html>", other},
		{"nothing", "", other},
		{"a text", "Jwt is expired", other},
		{"JSON that is not an object", `"Unauthorized"`, other},
		{"an array", `[{"message":"Unauthorized"}]`, other},
		{"another object", `{"error":"Unauthorized","Message":"in capitals"}`, other},
		{"empty members", `{"message":null,"statusCode":null}`, other},
		{"a truncated object", `{"statusCode":401,"message":"Unauth`, other},
	} {
		for status, own := range map[int]client.Reason{401: client.ReasonUnauthorized, 403: client.ReasonForbidden, 407: client.ReasonIntermediary} {
			t.Run(fmt.Sprint(tc.name, ", ", status), func(t *testing.T) {
				want := own
				if tc.from == other {
					want = client.ReasonIntermediary
				}
				var requests atomic.Int32
				c := newClient(t, serve(t, func(w http.ResponseWriter, _ *http.Request) {
					requests.Add(1)
					w.WriteHeader(status)
					fmt.Fprint(w, tc.body)
				}))
				_, err := list(t.Context(), c)
				wantEqual(t, wantError(t, err, want).Status, status)
				wantEqual(t, requests.Load(), int32(1))
			})
		}
	}
}

func TestTheSenderOfAForeignResponseIsIdentified(t *testing.T) {
	redirect := failure(t, status(302, "<html><title>302 Found</title>", "Server", "nginx", "Location", "https://sso.example/login"), client.ReasonRedirect)
	wantEqual(t, redirect.Detail, `to https://sso.example/login, server nginx, title "302 Found"`)
	text := failure(t, status(200, "Sign in", "Server", "nginx", "Content-Type", "text/plain"), client.ReasonBadResponse)
	wantText(t, text.Detail, "server nginx, text/plain: ")
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	const (
		path    = "/api/svc/v1/personal-access-tokens"
		login   = "most likely a login stands in front"
		moved   = "if the host that the log names is its new one"
		missing = "the response does not say where to: check the URL"
	)
	for _, tc := range []struct{ name, location, detail, advice string }{
		{"a login page of another host", "https://sso.example/login?next=%2F", "to https://sso.example/login", login},
		{"a login page of the same host", "http://HOST/login", "to http://HOST/login", login},
		{"a path", "/login", "to http://HOST/login", login},
		{"a login page without a scheme", "//sso.example/login", "to http://sso.example/login", login},
		{"https on the same host, with another path", "https://HOST/login", "to https://HOST/login", login},
		{"a root", "https://sso.example", "to https://sso.example", login},
		{"another host, with the same path", "https://new.example" + path + "?limit=1", "to https://new.example" + path, moved},
		{"another port, with the same path", "http://127.0.0.1:1" + path, "to http://127.0.0.1:1" + path, moved},
		{"https on the same host, with the same path", "https://HOST" + path, "to https://HOST" + path, "the URL should start with https://"},
		{"https on another port", "https://127.0.0.1:1" + path, "to https://127.0.0.1:1" + path, "the URL should start with https://"},
		{"itself", path, "to http://HOST" + path, "the same path again"},
		{"a host with credentials", "https://admin:s3cret@sso.example/", "to https://sso.example/", login},
		{"a host that is the key", "https://" + apiKey + ".example/", "to https://<redacted>.example/", login},
		{"nowhere", "", "", missing},
		{"nonsense", "http://[", "", missing},
	} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			t.Run(fmt.Sprint(tc.name, ", ", code), func(t *testing.T) {
				var requests atomic.Int32
				host := ""
				e := failure(t, func(w http.ResponseWriter, r *http.Request) {
					requests.Add(1)
					host = r.Host
					if tc.location != "" {
						w.Header().Set("Location", strings.Replace(tc.location, "HOST", r.Host, 1))
					}
					w.WriteHeader(code)
				}, client.ReasonRedirect)
				wantEqual(t, e.Status, code)
				wantEqual(t, e.Detail, strings.Replace(tc.detail, "HOST", host, 1))
				wantText(t, e.Advice, "redirects are not followed, so that the API key goes nowhere else; ", tc.advice)
				if strings.Contains(e.Advice, ".example") {
					t.Errorf("the advice contains a host from the response: %s", e.Advice)
				}
				wantEqual(t, requests.Load(), int32(1))
			})
		}
	}
}

func TestTheMessageOfTheServerIsADetail(t *testing.T) {
	const code = http.StatusUnprocessableEntity
	message := func(text string) string { return `{"statusCode":422,"code":7,"message":"` + text + `","details":[{}]}` }
	for _, tc := range []struct{ name, body, want string }{
		{"is included", message("limit must be positive"), "limit must be positive"},
		{"is put on one line", message(`a\n\tb\u0000c\u2028d\u001b[31m`), "a b c d [31m"},
		{"is truncated after 200 characters", message(strings.Repeat("x", 10_000)), strings.Repeat("x", 199) + "…"},
		{"is truncated after 200 characters, not bytes", message(strings.Repeat("€", 201)), strings.Repeat("€", 199) + "…"},
		{"is not truncated at 200 characters", message(strings.Repeat("€", 200)), strings.Repeat("€", 200)},
		{"does not contain the API key", message("Bearer " + apiKey + " is not valid, " + apiKey), "<redacted> is not valid, <redacted>"},
		{"does not contain a part of the API key where it is truncated", message(strings.Repeat("x", 195) + apiKey), strings.Repeat("x", 195) + "<red…"},
		{"is left out if it is not a string", `{"message":{"text":"a"}}`, ""},
		{"is left out if it is too long", message(strings.Repeat("x", 20_000)), ""},
		{"is left out if there is none", `{"error":"x"}`, ""},
		{"is left out if it is empty", message(""), ""},
		{"is left out if it is plain text", "upstream connect error", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := failure(t, status(code, tc.body), client.ReasonClientError)
			wantText(t, e.Summary, "422 Unprocessable Entity")
			wantEqual(t, e.Detail, tc.want)
		})
	}
	t.Run("is decompressed", func(t *testing.T) {
		e := failure(t, status(code, faults.Gzip(message("zipped")), "Content-Encoding", "gzip"), client.ReasonClientError)
		wantEqual(t, e.Detail, "zipped")
	})
	t.Run("is left out if it cannot be decompressed", func(t *testing.T) {
		e := failure(t, status(code, message("x"), "Content-Encoding", "gzip"), client.ReasonClientError)
		wantEqual(t, e.Detail, "")
	})
}

// echo responds with the headers of the request: all of them in the body, and the secrets
// in the given header.
func echo(code int, header string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		echoed := fmt.Sprint("everything: ", r.Header)
		if header != "" {
			w.Header().Set(header, r.Header.Get("X-Tenant")+" "+r.Header.Get("Authorization"))
		}
		w.Header().Set("Retry-After", "86400")
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(map[string]string{"message": echoed})
	}
}

// headers is a transport that adds headers to each request, like http_headers.
type headers struct {
	http.RoundTripper
	add map[string]string
}

// RoundTrip implements http.RoundTripper.
func (h headers) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	for name, value := range h.add {
		req.Header.Set(name, value)
	}
	return h.RoundTripper.RoundTrip(req)
}

// Headers added by the transport are redacted, too.
func TestSentHeadersAreRedacted(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a message":      echo(http.StatusTeapot, ""),
		"a content type": echo(http.StatusOK, "Content-Type"),
		"an encoding":    echo(http.StatusOK, "Content-Encoding"),
		"a server":       echo(http.StatusBadGateway, "Server"),
		"a location":     echo(http.StatusFound, "Location"),
		"not HTTP": func(w http.ResponseWriter, r *http.Request) {
			faults.CloseAfter(r.Header.Get("X-Tenant")+r.Header.Get("Authorization"))(nil).ServeHTTP(w, r)
		},
		"a status": func(w http.ResponseWriter, r *http.Request) {
			faults.CloseAfter("HTTP/1.1 "+r.Header.Get("X-Tenant")+"\r\n")(nil).ServeHTTP(w, r)
		},
		"a content length": func(w http.ResponseWriter, r *http.Request) {
			faults.CloseAfter("HTTP/1.1 200 OK\r\nContent-Length: "+r.Header.Get("X-Tenant")+"\r\n\r\n")(nil).ServeHTTP(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := listWithRetries(t, serve(t, handler), func(cfg *client.Config) {
				cfg.Transport = headers{&http.Transport{DisableKeepAlives: true}, map[string]string{"X-Tenant": "tenant-s3cret", "X-Short": "abc"}}
			})
			if err == nil {
				t.Fatal("there is no error")
			}
			if text := err.Error(); strings.Contains(text, "s3cret") || strings.Contains(text, apiKey) {
				t.Errorf("the error contains a secret: %s", text)
			}
			e := (*client.Error)(nil)
			if errors.As(err, &e); !strings.Contains(e.Detail, "<redacted>") {
				t.Errorf("nothing is redacted in %q", e.Detail)
			}
		})
	}
}

func TestContentEncodings(t *testing.T) {
	const page = `{"data":[{"id":"a"}]}`
	compressed := faults.Gzip(page)
	corrupt := []byte(compressed)
	corrupt[len(corrupt)/2] ^= 0xff
	for _, tc := range []struct{ name, encoding, body, want string }{
		{"gzip", "gzip", compressed, ""},
		{"gzip in capitals", "GZIP", compressed, ""},
		{"none", "identity", page, ""},
		{"unknown", "br", page, `content encoding br was not asked for`},
		{"two", "gzip, gzip", compressed, `content encoding gzip, gzip was not asked for`},
		{"gzip that is not compressed", "gzip", page, "gzip: invalid header"},
		{"corrupt gzip", "gzip", string(corrupt), "no content type"},
		{"gzip with a wrong checksum", "gzip", compressed[:len(compressed)-8] + "\x00\x00\x00\x00" + compressed[len(compressed)-4:], "gzip: invalid checksum"},
		{"truncated gzip", "gzip", compressed[:len(compressed)-12], "unexpected EOF"},
		{"gzip truncated in its header", "gzip", compressed[:5], "unexpected EOF"},
		{"gzip with data after it", "gzip", compressed + "and some more", "gzip: invalid header"},
		{"gzip of two parts", "gzip", faults.Gzip(page[:9]) + faults.Gzip(page[9:]), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			handler := func(w http.ResponseWriter, r *http.Request) {
				if r.FormValue("offset") != "0" {
					fmt.Fprint(w, `{"data":[]}`)
					return
				}
				w.Header().Set("Content-Encoding", tc.encoding)
				fmt.Fprint(w, tc.body)
			}
			if tc.want != "" {
				e := failure(t, handler, client.ReasonBadResponse)
				wantText(t, e.Detail, tc.want)
				return
			}
			l, err := list(t.Context(), newClient(t, serve(t, handler)))
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, len(l.Tokens), 1)
		})
	}
}

func TestTheDecompressedBodyIsLimited(t *testing.T) {
	t.Parallel()
	_, err := list(t.Context(), newClient(t, serve(t, faults.GzipBomb(64)(nil).ServeHTTP)))
	e := wantError(t, err, client.ReasonTooLarge)
	wantEqual(t, e.Status, 200)
	wantEqual(t, e.Summary, "a page of 1000 items is larger than 64 MiB")
	wantEqual(t, e.Advice, "lower --truefoundry.page-size")
}

func TestTheDefaultLimitIs100000Items(t *testing.T) {
	t.Parallel()
	_, err := listPage(t, `{"data":[`+strings.Repeat(`{"id":"a"},`, 100_000)+`{"id":"a"}]}`)
	e := wantError(t, err, client.ReasonTooLarge)
	wantEqual(t, e.Error(), "the list has more than 100000 items: raise --truefoundry.max-tokens if that many tokens are expected; otherwise find out why the list is so long")
}

// listWithRetries lists in a synctest bubble, in which the waits before retries take no time.
// Time stands still there while a connection is open, so each response must end its connection.
func listWithRetries(t *testing.T, baseURL string, configure ...func(*client.Config)) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { _, err = list(t.Context(), newClient(t, baseURL, configure...)) })
	return err
}

func TestBrokenConnectionsAreRetriedTwice(t *testing.T) {
	const header = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for _, tc := range []struct {
		name  string
		fault func(text string) controlplanetest.Fault
		text  string
		want  string
	}{
		{"closed before the header", faults.CloseAfter, "", "EOF"},
		{"reset before the header", faults.ResetAfter, "", ""},
		{"closed in the header", faults.CloseAfter, header, "EOF"},
		{"closed in the body", faults.CloseAfter, header + "Content-Length: 100\r\n\r\n{\"data\":[", "unexpected EOF"},
		{"closed after a page that is shorter than announced", faults.CloseAfter, header + "Content-Length: 100\r\n\r\n{\"data\":[]}", "unexpected EOF"},
		{"reset in the body", faults.ResetAfter, header + "Content-Length: 100\r\n\r\n{\"data\":[", ""},
		{"closed in a chunk", faults.CloseAfter, header + "Transfer-Encoding: chunked\r\n\r\n64\r\n{\"data\":[", "unexpected EOF"},
		{"closed between chunks", faults.CloseAfter, header + "Transfer-Encoding: chunked\r\n\r\n9\r\n{\"data\":[\r\n", "unexpected EOF"},
		{"closed in gzip", faults.CloseAfter, header + "Content-Length: 100\r\nContent-Encoding: gzip\r\n\r\n" + faults.Gzip(`{"data":[`)[:12], "unexpected EOF"},
		{"a response that is not HTTP", faults.CloseAfter, "SSH-2.0-OpenSSH_9.9\r\n", "malformed HTTP"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var requests atomic.Int32
			handler := tc.fault(tc.text)(nil)
			err := listWithRetries(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				handler.ServeHTTP(w, r)
			}))
			e := wantError(t, err, client.ReasonConnection)
			wantEqual(t, e.Status, 0)
			wantEqual(t, requests.Load(), int32(3))
			wantText(t, e.Summary, "the connection failed: ")
			wantText(t, e.Detail, tc.want)
		})
	}
}

func TestUnreachableControlPlanes(t *testing.T) {
	refusing := httptest.NewServer(nil)
	refusing.Close()
	for _, tc := range []struct {
		name, url string
		transport http.RoundTripper
		want      string
	}{
		{"the port is closed", refusing.URL, &http.Transport{}, "connection refused"},
		{"the host name does not exist", "http://acme.example", &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "acme.example", IsNotFound: true}}
			},
		}, "lookup acme.example: no such host"},
		{"the DNS lookup times out", "http://acme.example", &http.Transport{
			DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "i/o timeout", Name: "acme.example", IsTimeout: true}}
			},
		}, "lookup acme.example: i/o timeout"},
		{"the proxy is unreachable", "http://acme.example", &http.Transport{
			Proxy: func(*http.Request) (*url.URL, error) {
				return url.Parse("http://admin:s3cret@" + refusing.Listener.Addr().String())
			},
		}, "proxyconnect"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := listWithRetries(t, tc.url, func(cfg *client.Config) { cfg.Transport = tc.transport })
			e := wantError(t, err, client.ReasonConnection)
			wantText(t, e.Detail, tc.want)
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("the error contains the proxy's password: %v", err)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	handler := onePage(`{"data":[]}`)
	plain := serve(t, handler)
	start := func(configure func(*tls.Config)) *httptest.Server {
		server := httptest.NewUnstartedServer(handler)
		server.TLS = &tls.Config{}
		configure(server.TLS)
		server.StartTLS()
		t.Cleanup(server.Close)
		return server
	}
	server := start(func(*tls.Config) {})
	old := start(func(cfg *tls.Config) { cfg.MaxVersion = tls.VersionTLS12 })
	mutual12 := start(func(cfg *tls.Config) { cfg.ClientAuth, cfg.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12 })
	mutual13 := start(func(cfg *tls.Config) { cfg.ClientAuth = tls.RequireAnyClientCert })
	// trusting returns a transport that trusts the server's certificate.
	trusting := func(server *httptest.Server, configure func(*tls.Config)) *http.Transport {
		transport := server.Client().Transport.(*http.Transport).Clone()
		configure(transport.TLSClientConfig)
		return transport
	}
	unchanged := func(*tls.Config) {}

	for _, tc := range []struct {
		name, url string
		transport *http.Transport
		want      string
	}{
		{"a trusted CA", server.URL, trusting(server, unchanged), ""},
		{"an unknown CA", server.URL, &http.Transport{}, "unknown authority"},
		{"a certificate for another host", server.URL, trusting(server, func(cfg *tls.Config) { cfg.ServerName = "acme.test" }), "acme.test"},
		{"an expired certificate", server.URL, trusting(server, func(cfg *tls.Config) {
			cfg.Time = func() time.Time { return time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC) }
		}), "expired"},
		{"no version in common", old.URL, trusting(old, func(cfg *tls.Config) { cfg.MinVersion = tls.VersionTLS13 }), "protocol version"},
		{"a required client certificate, TLS 1.2", mutual12.URL, trusting(mutual12, unchanged), "tls: "},
		{"a required client certificate, TLS 1.3", mutual13.URL, trusting(mutual13, unchanged), "tls: "},
		{"a server without TLS", strings.Replace(plain, "http:", "https:", 1), &http.Transport{}, "does not look like a TLS handshake"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := list(t.Context(), newClient(t, tc.url, func(cfg *client.Config) { cfg.Transport = tc.transport }))
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			e := wantError(t, err, client.ReasonTLS)
			wantEqual(t, e.Status, 0)
			wantText(t, e.Summary, "no trusted TLS connection: ")
			wantText(t, e.Detail, tc.want)
			wantText(t, e.Advice, "the URL's scheme")
		})
	}
	t.Run("plain HTTP to a server with TLS", func(t *testing.T) {
		_, err := list(t.Context(), newClient(t, strings.Replace(server.URL, "https:", "http:", 1)))
		wantText(t, wantError(t, err, client.ReasonClientError).Advice, "the URL should start with https://")
	})
}

// roundTripper is a function that is an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// hang does not respond.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestServersThatDoNotRespond(t *testing.T) {
	// run runs a test in a synctest bubble, with a context that ends after a minute.
	run := func(name string, test func(ctx context.Context, t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				test(ctx, t)
			})
		})
	}
	// listHandler lists a control plane with this handler.
	listHandler := func(ctx context.Context, t *testing.T, handler http.HandlerFunc, configure ...func(*http.Transport)) error {
		transport, stop := controlplanetest.InMemory(handler)
		defer stop()
		for _, f := range configure {
			f(transport)
		}
		_, err := list(ctx, newClient(t, "http://acme.example", func(cfg *client.Config) { cfg.Transport = transport }))
		return err
	}
	run("no response before the deadline", func(ctx context.Context, t *testing.T) {
		err := listHandler(ctx, t, hang)
		e := wantError(t, err, client.ReasonTimeout)
		wantText(t, e.Summary, "no response from acme.example:80 within the scrape's deadline")
		wantText(t, e.Advice, "look at the logs of the control plane")
		wantEqual(t, errors.Is(err, context.DeadlineExceeded), true)
	})
	run("no complete body before the deadline", func(ctx context.Context, t *testing.T) {
		err := listHandler(ctx, t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"data":[`)
			http.NewResponseController(w).Flush()
			hang(w, r)
		})
		// More time only helps if the response has started.
		e := wantError(t, err, client.ReasonTimeout)
		wantEqual(t, e.Summary, "the list did not arrive within the scrape's deadline")
		wantText(t, e.Advice, "scrape_timeout", "--truefoundry.timeout")
	})
	run("no connection before the deadline", func(ctx context.Context, t *testing.T) {
		_, err := list(ctx, newClient(t, "http://acme.example:3000", func(cfg *client.Config) {
			cfg.Transport = &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}
		}))
		e := wantError(t, err, client.ReasonTimeout)
		wantEqual(t, e.Summary, "no connection to acme.example:3000")
		wantText(t, e.Advice, "the firewall, the NetworkPolicy, the proxy")
	})
	run("no new connection before the deadline, after a dead one", func(ctx context.Context, t *testing.T) {
		_, err := list(ctx, newClient(t, "http://acme.example:3000", func(cfg *client.Config) {
			cfg.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				trace := httptrace.ContextClientTrace(r.Context())
				trace.GetConn("acme.example:3000")
				trace.GotConn(httptrace.GotConnInfo{Reused: true}) // but dead
				trace.GetConn("acme.example:3000")
				<-r.Context().Done()
				return nil, r.Context().Err()
			})
		}))
		wantEqual(t, wantError(t, err, client.ReasonTimeout).Summary, "no connection to acme.example:3000")
	})
	run("a timeout of the connection", func(ctx context.Context, t *testing.T) {
		requests := 0
		_, err := list(ctx, newClient(t, "http://acme.example", func(cfg *client.Config) {
			cfg.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				requests++
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
			}}
		}))
		e := wantError(t, err, client.ReasonTimeout)
		wantEqual(t, e.Summary, "no connection to acme.example:80")
		wantEqual(t, requests, 3)
	})
	t.Run("the listing is cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := list(ctx, newClient(t, serve(t, func(w http.ResponseWriter, r *http.Request) {
			cancel()
			hang(w, r)
		})))
		wantCanceled(t, err)
		wantEqual(t, errors.Is(err, context.Canceled), true)
	})
	t.Run("the listing was cancelled before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := list(ctx, newClient(t, serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })))
		wantCanceled(t, err)
	})
	run("a timeout of the transport", func(ctx context.Context, t *testing.T) {
		err := listHandler(ctx, t, hang, func(transport *http.Transport) { transport.ResponseHeaderTimeout = time.Second })
		e := wantError(t, err, client.ReasonTimeout)
		wantEqual(t, e.Summary, "the connection timed out")
	})
}
