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

// hashOfPassword is that of the password "open sesame".
const hashOfPassword = "$2a$04$oPS7qjjNYrKG7ob2zQeahO9xPeCZ1OqscYQpiVdIe2eoKPeYjqed2"

// selfSigned returns a certificate with its key, and their tls_server_config.
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

// The toolkit reads the file anew for each request, and asks for a password where
// there are users.
func TestWhoIsLetInByAWebConfigurationThatIsDamaged(t *testing.T) {
	file := write(t, "web.yml", "basic_auth_users: {prometheus: "+hashOfPassword+"}\n")
	p := start(t, nil, "--demo", "--web.config.file="+file)
	status := func() int {
		status, _ := ask(t, http.DefaultClient, p.url+"/metrics", func(req *http.Request) { req.SetBasicAuth("prometheus", "open sesame") })
		return status
	}
	if got := status(); got != http.StatusOK {
		t.Errorf("with the password: %d", got)
	}
	for _, tt := range []struct {
		name, text string
		want       int
	}{
		{"half of it", "basic_auth_users: {prometheus: $2a$", http.StatusInternalServerError},
		{"no YAML", "basic_auth_users: [", http.StatusInternalServerError},
		{"another field", "basic_auth_user: {}", http.StatusInternalServerError},
		{"another type", "basic_auth_users: [prometheus]", http.StatusInternalServerError},
		{"half a hash", "basic_auth_users: {prometheus: " + hashOfPassword[:30] + "}", http.StatusUnauthorized},
		// SECURITY.md warns of these.
		{"nothing", "", http.StatusOK},
		{"no users", "basic_auth_users: {}", http.StatusOK},
	} {
		rewrite(t, file, tt.text)
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
