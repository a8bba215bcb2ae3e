package faults

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http/httptest"
	"testing"
	"time"
)

// Authority is a certificate authority.
type Authority struct {
	// PEM is the certificate of the authority.
	PEM string

	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority returns an Authority that no system trusts.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t}
	a.key = a.newKey()
	a.cert = a.sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "test authority"}, // OpenSSL assumes that a certificate is self-signed if both names are equal
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, a.key)
	a.PEM = encode("CERTIFICATE", a.cert.Raw)
	return a
}

func (a *Authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

// sign signs a certificate for a key. The first certificate is self-signed.
func (a *Authority) sign(template *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	template.SerialNumber = big.NewInt(1)
	template.NotBefore = time.Now().Add(-2 * time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert
}

// Issue returns a certificate and its key in PEM. The certificate is for 127.0.0.1 and
// acme.example, unless it is changed.
func (a *Authority) Issue(change ...func(*x509.Certificate)) (cert, key string) {
	a.t.Helper()
	private := a.newKey()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "test"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:    []string{"acme.example"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, f := range change {
		f(template)
	}
	return encode("CERTIFICATE", a.sign(template, private).Raw), encode("PRIVATE KEY", der)
}

func encode(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// Config returns the configuration of a server with a certificate of the authority.
func (a *Authority) Config(change ...func(*x509.Certificate)) *tls.Config {
	a.t.Helper()
	cert, key := a.Issue(change...)
	pair, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// ServeTLS returns a function that gives a server a certificate of the authority.
func (a *Authority) ServeTLS(configure ...func(*tls.Config)) func(*httptest.Server) {
	a.t.Helper()
	cfg := a.Config()
	for _, f := range configure {
		f(cfg)
	}
	return func(server *httptest.Server) { server.TLS = cfg }
}

// RequireClientCert makes a server require client certificates of the authority.
func (a *Authority) RequireClientCert(cfg *tls.Config) {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	cfg.ClientAuth, cfg.ClientCAs = tls.RequireAndVerifyClientCert, pool
}
