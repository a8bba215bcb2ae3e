package main

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
)

// passwordHash is the hash of the password "open sesame".
const passwordHash = "$2a$04$oPS7qjjNYrKG7ob2zQeahO9xPeCZ1OqscYQpiVdIe2eoKPeYjqed2"

// selfSigned returns a server with a certificate, its key, and a tls_server_config
// of both.
func selfSigned(t *testing.T) (issuer *httptest.Server, key []byte, config string) {
	t.Helper()
	issuer = httptest.NewTLSServer(nil)
	t.Cleanup(issuer.Close)
	key, err := x509.MarshalPKCS8PrivateKey(issuer.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(name string, der []byte) string {
		return strconv.Quote(string(pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der})))
	}
	return issuer, key, "{cert: " + block("CERTIFICATE", issuer.Certificate().Raw) + ", key: " + block("PRIVATE KEY", key) + "}"
}

// The toolkit reads the file for each request.
func TestDamagedWebConfigFile(t *testing.T) {
	t.Parallel()
	file := writeFile(t, "web.yml", "basic_auth_users: {prometheus: "+passwordHash+"}\n")
	p := start(t, nil, "--demo", "--web.config.file="+file)
	status := func() int {
		status, _ := fetch(t, http.DefaultClient, p.url+"/metrics", func(req *http.Request) { req.SetBasicAuth("prometheus", "open sesame") })
		return status
	}
	if got := status(); got != http.StatusOK {
		t.Errorf("valid file: %d", got)
	}
	for _, tt := range []struct {
		name, text string
		want       int
	}{
		{"truncated", "basic_auth_users: {prometheus: $2a$", http.StatusInternalServerError},
		{"invalid YAML", "basic_auth_users: [", http.StatusInternalServerError},
		{"another field", "basic_auth_user: {}", http.StatusInternalServerError},
		{"another type", "basic_auth_users: [prometheus]", http.StatusInternalServerError},
		{"truncated hash", "basic_auth_users: {prometheus: " + passwordHash[:30] + "}", http.StatusUnauthorized},
		// SECURITY.md warns about these.
		{"empty", "", http.StatusOK},
		{"no users", "basic_auth_users: {}", http.StatusOK},
	} {
		replaceFile(t, file, tt.text)
		if got := status(); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != http.StatusInternalServerError {
		t.Errorf("without the file: %d", got)
	}
}
