package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	commoncfg "github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
)

func TestWaitingForATokenEndsWithTheContext(t *testing.T) {
	o := newOAuth2(&commoncfg.OAuth2{ClientSecret: "s3cret"})
	o.requesting <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := o.Credential(ctx)
	if failure, ok := errors.AsType[*client.Error](err); !ok || !failure.Canceled() {
		t.Errorf("got %v", err)
	}
}

// A request that was abandoned leaves its connection to the next one, and there
// is none where the configuration has changed meanwhile.
func TestAConnectionThatIsMadeTooLateIsClosed(t *testing.T) {
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
			t.Error("it was answered")
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
	// It may end before the handshake is complete or after it, and with a reset.
	if _, err := secured.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it is not closed: %v", err)
	}
}
