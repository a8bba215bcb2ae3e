package faults_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
)

// trusting returns the field of a target that trusts the authority.
func trusting(t *testing.T, authority *faults.Authority) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte(authority.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	return "tls_config: {ca_file: " + file + "}"
}

func TestTLS(t *testing.T) {
	t.Parallel()
	authority := faults.NewAuthority(t)
	requiresCertificate := authority.Config()
	authority.RequireClientCert(requiresCertificate)
	for _, tt := range []struct {
		name   string
		config *tls.Config
		logged string
	}{
		{
			"a certificate of an unknown CA fails the listing",
			faults.NewAuthority(t).Config(),
			"certificate signed by unknown authority",
		},
		{
			"an expired certificate fails the listing",
			authority.Config(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) }),
			"certificate has expired",
		},
		{
			"the certificate of another host fails the listing",
			authority.Config(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.ParseIP(otherLoopback)} }),
			"certificate is valid for 127.0.0.2, not 127.0.0.1",
		},
		{
			"a missing client certificate fails the listing",
			requiresCertificate,
			"tls: certificate required",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			good := authority.Config()
			var current atomic.Pointer[tls.Config]
			current.Store(good)
			cp := startTLS(t, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.Load(), nil }})
			e := startExporter(t, cp, sequential, "url: "+cp.URL, trusting(t, authority))

			current.Store(tt.config)
			cp.closeConnections()
			s := e.expectFailure(client.ReasonTLS, tt.logged)
			s.expectPage("check the control plane's certificate")
			s.expectRequests(0)

			current.Store(good)
			e.expectRecovery()
		})
	}
}

// With TLS, the advice for a 400 is about the client certificate or the size of the key.
func TestAPageWith400OverTLS(t *testing.T) {
	t.Parallel()
	authority := faults.NewAuthority(t)
	for name, tt := range map[string]struct{ key, page string }{
		"with a key of normal size":   {controlplanetest.Key, "most likely a client certificate is missing or refused: check tls_config"},
		"with a key of six kilobytes": {controlplanetest.Key + strings.Repeat("k", 6000), "is too large for what is in front of the control plane: allow larger headers there"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cp := startTLS(t, authority.Config())
			e := startExporter(t, cp, sequential, "url: "+cp.URL, trusting(t, authority))
			e.writeKey([]byte(tt.key))
			cp.setFault(faults.ErrorPage(http.StatusBadRequest))
			s := e.expectFailure(client.ReasonClientError, "400 Bad Request, which did not come from the API (server proxy/1.0")
			s.expectPage(tt.page)
			s.expectRequests(1)

			e.writeKey([]byte(controlplanetest.Key))
			cp.setFault(nil)
			e.expectRecovery()
		})
	}
}
