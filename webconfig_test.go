package main

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/exporter-toolkit/web"
)

// hashOfPassword is that of the password "open sesame".
const hashOfPassword = "$2a$04$oPS7qjjNYrKG7ob2zQeahO9xPeCZ1OqscYQpiVdIe2eoKPeYjqed2"

// badWebConfigs have a secret where it does not belong, as YAML.
func badWebConfigs(secret, certificate string) []string {
	return []string{
		secret,
		"- " + secret,
		secret + ": x",
		"basic_auth_users: " + secret,
		"basic_auth_users: [" + secret + "]",
		"basic_auth_users: {prometheus: " + secret + "}",
		"basic_auth_users: {prometheus: {" + secret + ": x}}",
		"basic_auth_users: {" + secret + ": x, " + secret + ": y}",
		"basic_auth_users: {? {" + secret + ": x} : y}",
		"basic_auth_users: {prometheus: '" + secret,
		"basic_auth_users:\n  prometheus: x\n " + secret,
		"basic_auth_users: *" + strings.Trim(secret, `"`)[:20],
		"tls_server_config: " + secret,
		"tls_server_config: {" + secret + ": x}",
		"tls_server_config: {cert: " + secret + ", key: " + secret + "}",
		"tls_server_config: {cert: x, key: x, min_version: " + secret + "}",
		"tls_server_config: {cert: x, key: x, cipher_suites: [" + secret + "]}",
		"tls_server_config: {cert: x, key: x, curve_preferences: [" + secret + "]}",
		"tls_server_config: " + strings.TrimSuffix(certificate, "}") + ", client_auth_type: " + secret + "}",
		"http_server_config: {http2: " + secret + "}",
		"http_server_config: {headers: {" + secret + ": x}}",
		"http_server_config: {headers: {X-Frame-Options: " + secret + "}}",
		"rate_limit: {interval: " + secret + "}",
	}
}

// selfSigned returns a certificate with its key, and their tls_server_config.
func selfSigned(t *testing.T) (issuer *httptest.Server, key []byte, config string) {
	t.Helper()
	issuer = httptest.NewTLSServer(nil)
	t.Cleanup(issuer.Close)
	key, err := x509.MarshalPKCS8PrivateKey(issuer.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return issuer, key, "{cert: " + block("CERTIFICATE", issuer.Certificate().Raw) + ", key: " + block("PRIVATE KEY", key) + "}"
}

// block returns a PEM block as YAML.
func block(name string, der []byte) string {
	return strconv.Quote(string(pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der})))
}

func TestErrorsOfTheWebConfigurationRepeatNoSecrets(t *testing.T) {
	_, key, certificate := selfSigned(t)
	c := canaries{}
	c.add("password", canary("password"))
	c.add("hash", hashOfPassword)
	c.add("private key", base64.StdEncoding.EncodeToString(key))
	var bad []string
	for _, secret := range []string{strconv.Quote(canary("password")), hashOfPassword, block("PRIVATE KEY", key)} {
		bad = append(bad, badWebConfigs(secret, certificate)...)
	}
	bad = append(bad, "tls_server_config: {cert_file: x, key_file: "+block("PRIVATE KEY", key)+"}",
		"tls_server_config: {cert_file: "+block("PRIVATE KEY", key)+", key_file: x}")
	for _, text := range bad {
		err := web.Validate(write(t, "web.yml", text))
		if err == nil {
			if !strings.Contains(text, "{prometheus: $2a$") {
				t.Errorf("it is no error: %s", text)
			}
			continue
		}
		c.absent(t, "the error of "+text[:min(len(text), 60)], explainWebConfig(err.Error()))
		if explained := explainWebConfig(err.Error()); strings.Contains(explained, "\n") {
			t.Errorf("it is not one line: %s", explained)
		}
	}
}

func TestErrorsOfTheWebConfigurationSayWhatIsWrong(t *testing.T) {
	_, _, certificate := selfSigned(t)
	for text, want := range map[string]string{
		"x":                              "line 1: a value is of another type than it should be",
		"tls_server_confi: {}":           "line 1: there is no field tls_server_confi",
		"TLS: {}":                        "line 1: there is no such field",
		"a: x\nb: y":                     "line 1: there is no field a; line 2: there is no field b",
		"basic_auth_users: {a: x, a: y}": "line 1: a field is there twice",
		"basic_auth_users: {a: x}":       "a password of basic_auth_users is not hashed with bcrypt",
		"basic_auth_users: {a: x":        "it is not YAML: line 1: did not find expected ',' or '}'",
		"basic_auth_users: *a":           "it is not YAML that can be understood",
		"http_server_config: {headers: {X-A: b}}":                                               "a header of http_server_config cannot be configured",
		"http_server_config: {headers: {X-Frame-Options: b}}":                                   "a header of http_server_config has a value that it cannot have",
		"tls_server_config: {min_version: x}":                                                   "there is no such TLS version in min_version or max_version",
		"tls_server_config: {cipher_suites: [x]}":                                               "there is no such cipher in cipher_suites",
		"tls_server_config: {curve_preferences: [x]}":                                           "there is no such curve in curve_preferences",
		"tls_server_config: {cert: x}":                                                          "missing one of key or key_file",
		"tls_server_config: {cert: x, key: x}":                                                  "failed to load X509KeyPair: tls: failed to find any PEM data in certificate input",
		"tls_server_config: {cert: " + block("S3CRET", []byte("x")) + ", key: x}":               "failed to load X509KeyPair: tls: failed to find \"CERTIFICATE\" PEM block in certificate input",
		"tls_server_config: {cert_file: /none, key: x}":                                         "failed to read cert_file (/none): open /none: no such file or directory",
		"tls_server_config: {key_file: \"a\\nb\", cert: x}":                                     "cert_file or key_file cannot be read",
		"tls_server_config: " + strings.TrimSuffix(certificate, "}") + ", client_ca: x}":        "client CA's have been configured without a Client Auth Policy",
		"tls_server_config: " + strings.TrimSuffix(certificate, "}") + ", client_auth_type: x}": "there is no such client_auth_type",
	} {
		err := web.Validate(write(t, "web.yml", text))
		if err == nil {
			t.Errorf("it is no error: %s", text)
			continue
		}
		if got := explainWebConfig(err.Error()); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text[:min(len(text), 60)], got, want)
		}
	}
	const other = "http: TLS handshake error from 127.0.0.1:1: remote error: tls: bad certificate"
	if got := explainWebConfig(other); got != other {
		t.Errorf("got %s, want %s", got, other)
	}
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
