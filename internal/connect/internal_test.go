package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	commoncfg "github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
)

func TestWaitingForATokenEndsWithTheContext(t *testing.T) {
	o := newOAuth2(&commoncfg.OAuth2{ClientSecret: "s3cret"})
	o.requestSem <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := o.Credential(ctx)
	if failure, ok := errors.AsType[*client.Error](err); !ok || !failure.Canceled() {
		t.Errorf("got %v", err)
	}
}

// net/http completes the connection of a cancelled request for the next one. A retired
// transport has no next request.
func TestLateConnectionOfRetiredTransportIsClosed(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	cfg := config.DefaultHTTP()
	cfg.TLSConfig.InsecureSkipVerify = true
	c := newTransport(cfg)
	c.retire()

	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+listener.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	abandoned := make(chan struct{})
	go func() {
		defer close(abandoned)
		if resp, err := c.RoundTrip(req); err == nil {
			resp.Body.Close()
			t.Error("got a response")
		}
	}()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	<-abandoned

	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	secured := tls.Server(conn, &tls.Config{Certificates: certified.TLS.Certificates, MinVersion: tls.VersionTLS12})
	// The connection may be closed during the handshake or after it.
	if _, err := secured.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is not closed: %v", err)
	}
}

// newTestCredentials returns credentials of an endpoint that numbers its tokens. hang
// makes the endpoint hang; the channel that it returns receives a value for each request.
func newTestCredentials(t *testing.T) (o *oauth2Credentials, requests *atomic.Int32, hang func() <-chan struct{}) {
	t.Helper()
	requests = new(atomic.Int32)
	hangs, waiting := make(chan struct{}), make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm() // the server notices disconnected clients only after the body
		select {
		case <-hangs:
			waiting <- struct{}{}
			<-r.Context().Done()
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"bearer","expires_in":3600}`, requests.Add(1))
		}
	}))
	t.Cleanup(server.Close)
	o = newOAuth2(&commoncfg.OAuth2{ClientID: "exporter", ClientSecret: "s3cret", TokenURL: server.URL})
	t.Cleanup(o.transport.retire)
	return o, requests, func() <-chan struct{} { close(hangs); return waiting }
}

// The caller of Refused holds a slot of the Limiter.
func TestRefusedDoesNotWaitForAHangingEndpoint(t *testing.T) {
	o, _, hang := newTestCredentials(t)
	refused, err := o.Credential(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.Refused(refused)
	waiting := hang()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if credential, err := o.Credential(ctx); err == nil {
			t.Errorf("got %v", credential)
		}
	}()
	<-waiting
	o.Refused(refused) // must not block
	cancel()
	<-ended
}

func TestRefusedDropsOnlyTheRefusedToken(t *testing.T) {
	o, requests, _ := newTestCredentials(t)
	get := func() client.Credential {
		t.Helper()
		credential, err := o.Credential(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return credential
	}
	first := get()
	o.Refused(first)
	second := get()
	o.Refused(first) // by a request that was sent before the first call
	if get() != second || first == second || requests.Load() != 2 {
		t.Errorf("the endpoint got %d requests", requests.Load())
	}
	o.Refused(second)
	if get() == second || requests.Load() != 3 {
		t.Errorf("the endpoint got %d requests", requests.Load())
	}
}

func TestValidTokenIsUsedWhileAnotherIsRequested(t *testing.T) {
	o, _, _ := newTestCredentials(t)
	first, err := o.Credential(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.requestSem <- struct{}{}
	if again, err := o.Credential(t.Context()); err != nil || again != first {
		t.Errorf("got %v, %v", again, err)
	}
}
