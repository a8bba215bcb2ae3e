package deploy

import (
	"io"
	"net/http"
	"net/url"
	"testing"
)

// reply is a response whose body has been read.
type reply struct {
	status int
	header http.Header
	body   string
	// url is the URL after redirects.
	url *url.URL
}

// send sends a request without a body.
func send(t *testing.T, client *http.Client, method, to string, header http.Header) reply {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, to, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, response.Header, string(body), response.Request.URL}
}
