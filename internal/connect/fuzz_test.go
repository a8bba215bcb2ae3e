package connect

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"

	commoncfg "github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

const canary = "s3cret"

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// endpoint is a transport that returns the same response to each request.
type endpoint struct {
	status int
	header http.Header
	body   string
}

// RoundTrip implements http.RoundTripper.
func (e endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: e.status, Header: e.header, Body: io.NopCloser(strings.NewReader(e.body)), ContentLength: -1, Request: req}, nil
}

// Every response of an OAuth2 endpoint is either a valid token or an error that does not
// contain the client secret.
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
		o := newOAuth2(&commoncfg.OAuth2{ClientID: "a", ClientSecret: secret, TokenURL: "https://endpoint.example/token"})
		o.http.Transport = endpoint{status, http.Header{"Content-Type": {contentType}, "Location": {location}}, body}
		credential, err := o.Credential(t.Context())
		if err == nil {
			if !credential.Expiry.IsZero() {
				t.Errorf("the token has the expiry %v", credential.Expiry)
			}
			if status < 200 || status > 299 {
				t.Errorf("status %d is accepted", status)
			}
			return
		}
		err = client.CredentialError(o.String(), err)
		failure, ok := errors.AsType[*client.Error](err)
		if !ok || failure.Reason != client.ReasonConnection && failure.Reason != client.ReasonCredentials {
			t.Errorf("the error is %#v", err)
		}
		const longest = 1000
		if strings.Contains(failure.Summary+failure.Advice, canary) {
			t.Errorf("the error contains the response outside of its detail: %#v", failure)
		}
		if text := err.Error(); strings.Contains(text, secret) || strings.ContainsFunc(text, unprintable) || len(text) > longest {
			t.Errorf("the error is %q", text)
		}
	})
}
