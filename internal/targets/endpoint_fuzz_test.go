package targets

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// endpoint is a transport that answers each request for an access token alike.
type endpoint struct {
	status int
	header http.Header
	body   string
}

// RoundTrip implements http.RoundTripper.
func (e endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: e.status, Header: e.header, Body: io.NopCloser(strings.NewReader(e.body)), ContentLength: -1, Request: req}, nil
}

// Whatever an OAuth2 endpoint answers is a key that can be sent, or an error
// without the client's secret.
func FuzzAccessToken(f *testing.F) {
	const secret = "5-" + canary + "-5"
	for _, body := range []string{
		`{"access_token":"abc","token_type":"Bearer","expires_in":3600}`, `{"access_token":"abc","expires_in":"3600"}`, `{"access_token":"abc","expires_in":-1}`,
		`{"access_token":"abc","expires_in":1e300}`, `{"access_token":"a b\r\nX: y"}`, `{"access_token":""}`, `{"access_token":5}`, `{}`, `[]`, `null`, ``, `<html>`, "\xff",
		`access_token=abc&expires_in=3600`, `access_token=%zz`, `error=` + secret, `{"error":"invalid_client","error_description":"no ` + secret + `"}`,
		`{"error":"` + secret + `"}`, `{"error":"a\nb"}`, `{"access_token":"abc","error":"x"}`, `{"` + secret + `":}`, `{"access_token":"` + secret + `"}`,
	} {
		for _, status := range []int{200, 201, 302, 400, 401, 500} {
			f.Add(status, "application/json", "https://"+secret+".example/", body)
			f.Add(status, "application/x-www-form-urlencoded", "", body)
		}
		f.Add(200, "text/"+secret, "", body)
		f.Add(200, ";", "", body)
	}
	f.Fuzz(func(t *testing.T, status int, contentType, location, body string) {
		o := newOAuth2Token(&config.OAuth2{ClientID: "a", ClientSecret: secret, TokenURL: "https://endpoint.example/token"})
		o.http.Transport = endpoint{status, http.Header{"Content-Type": {contentType}, "Location": {location}}, body}
		c := client.New(client.Config{APIKey: o, Renewed: true, Now: time.Now})
		key, err := c.Key(t.Context())
		if err == nil {
			if !key.Expiry.IsZero() {
				t.Errorf("a token that is renewed ends at %v", key.Expiry)
			}
			text, err := o.Fetch(t.Context())
			if err := errors.Join(err, client.CheckKey(text)); err != nil || status < 200 || status > 299 {
				t.Errorf("%d is taken for a token: %v", status, err)
			}
			return
		}
		failure, ok := errors.AsType[*client.Error](err)
		if !ok || failure.Reason != client.ReasonConnection && failure.Reason != client.ReasonCredentials {
			t.Errorf("the error is %#v", err)
		}
		const longest = 1000
		if text := err.Error(); strings.Contains(text, secret) || strings.ContainsFunc(text, unprintable) || len(text) > longest {
			t.Errorf("the error is %q", text)
		}
	})
}
