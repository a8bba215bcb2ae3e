// Package config reads and validates the configuration of targets.
package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	commoncfg "github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// Target is the configuration of a control plane whose tokens are listed with one
// API key.
type Target struct {
	// Name is the value of the target label.
	Name string
	// URL is the base URL of the control plane and APIPrefix the path of its API, as
	// returned by client.ParseURL and client.ParseAPIPrefix.
	URL       *url.URL
	APIPrefix string
	// Kinds are the kinds of token to list.
	Kinds []client.Kind
	// APIKeyToken is the name of the listed token that the API key belongs to. It may
	// be empty.
	APIKeyToken string
	// Credentials tell where the API key comes from.
	Credentials Credentials
	// HTTP configures connections. Its credentials are not used.
	HTTP commoncfg.HTTPClientConfig
}

// Credentials tell where an API key comes from: a file, the configuration itself, or
// an OAuth2 token endpoint.
type Credentials struct {
	// KeyFile is the path of a file that contains the key.
	KeyFile string
	// Key is the key itself. KeySource describes where it was configured.
	Key       commoncfg.Secret
	KeySource string
	// OAuth2 configures the token endpoint.
	OAuth2 *commoncfg.OAuth2
}

// FieldError is returned if a field of a target is invalid.
type FieldError struct {
	// Field is the field's name in a configuration file.
	Field string
	Err   error
}

// Error implements error.
func (e *FieldError) Error() string { return e.Field + ": " + e.Err.Error() }

// Unwrap returns the underlying error.
func (e *FieldError) Unwrap() error { return e.Err }

// NewTarget returns a target without credentials. Errors are of type *FieldError.
func NewTarget(name, rawURL, apiPrefix string, kinds []client.Kind) (Target, error) {
	target := Target{Name: name, Kinds: kinds, HTTP: DefaultHTTP()}
	if err := checkName(name); err != nil {
		return target, &FieldError{"name", err}
	}
	u, err := client.ParseURL(rawURL)
	if err != nil {
		return target, &FieldError{"url", err}
	}
	prefix, err := client.ParseAPIPrefix(apiPrefix)
	if err != nil {
		return target, &FieldError{"api_prefix", err}
	}
	if prefix != client.NoAPIPrefix && (strings.HasSuffix(u.Path, prefix) || strings.Contains(u.Path, prefix+"/v1")) {
		return target, &FieldError{"url", errors.New("leave out " + prefix + ", which the API prefix adds")}
	}
	if err := checkKinds(kinds); err != nil {
		return target, &FieldError{"kinds", err}
	}
	target.URL, target.APIPrefix = u, prefix
	return target, nil
}

// DefaultHTTP returns the default configuration of connections.
func DefaultHTTP() commoncfg.HTTPClientConfig {
	cfg := commoncfg.DefaultHTTPClientConfig
	cfg.FollowRedirects = false
	cfg.ProxyFromEnvironment = true
	return cfg
}

// checkName returns an error if a name would be hard to read in a label or a log.
func checkName(name string) error {
	const maxLength = 100
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(name) > maxLength || strings.ContainsFunc(name, unprintable) || strings.TrimSpace(name) != name || !utf8.ValidString(name) {
		return fmt.Errorf("must be at most %d bytes of UTF-8, without control characters and without blanks around it", maxLength)
	}
	return nil
}

// checkKinds returns an error if kinds is empty, or contains unknown or repeated
// kinds.
func checkKinds(kinds []client.Kind) error {
	for i, kind := range kinds {
		if !slices.Contains(client.Kinds(), kind) || slices.Contains(kinds[:i], kind) {
			return errors.New("each must be " + KindNames() + ", without repetitions")
		}
	}
	if len(kinds) == 0 {
		return errors.New("must have " + KindNames())
	}
	return nil
}

// KindNames returns the names of all kinds of token, for use in a sentence.
func KindNames() string {
	var names []string
	for _, kind := range client.Kinds() {
		names = append(names, string(kind))
	}
	return strings.Join(names, " or ")
}

// keyPattern matches API keys, old and new.
var keyPattern = regexp.MustCompile(`^(tfy[-_]|eyJ[\w-]*\.)[^/]*$`)

// CheckKeyFile returns an error if a path looks like a key. Paths are logged and
// keys must not be.
func CheckKeyFile(path string) error {
	if keyPattern.MatchString(path) {
		return errors.New("this looks like the key itself: write the key to a file and give the path of the file; then replace the key, which may have been seen")
	}
	return nil
}

// CheckProxy returns an error if a target uses the proxy of the environment and its
// URL is invalid, which net/http would ignore. The error does not contain the URL,
// which may contain a password.
func CheckProxy(t *Target) error {
	if !t.HTTP.ProxyFromEnvironment && (t.Credentials.OAuth2 == nil || !t.Credentials.OAuth2.ProxyFromEnvironment) {
		return nil
	}
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		if !strings.Contains(value, "://") {
			value = "http://" + value // as net/http does
		}
		if u, err := url.Parse(value); err != nil || u.Hostname() == "" || !isProxyScheme(u.Scheme) {
			return fmt.Errorf("%s is not the URL of a proxy; it should look like http://proxy.example:3128", name)
		}
	}
	return nil
}

// isProxyScheme reports whether net/http supports proxies of a URL scheme.
func isProxyScheme(scheme string) bool {
	return slices.Contains([]string{"http", "https", "socks5", "socks5h"}, scheme)
}
