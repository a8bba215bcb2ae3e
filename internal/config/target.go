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

// Target is the configuration of a control plane that is listed with one API key.
type Target struct {
	// Name is the value of the label target.
	Name string
	// URL is the base URL of the control plane and APIPrefix the path of its API, as
	// client.ParseURL and client.ParseAPIPrefix return them.
	URL       *url.URL
	APIPrefix string
	// Kinds are the kinds of token to list.
	Kinds []client.Kind
	// APIKeyToken is the name of the listed token that the API key belongs to. It may
	// be empty.
	APIKeyToken string
	// Credentials are where the API key comes from.
	Credentials Credentials
	// HTTP is how to connect. Its credentials are not used.
	HTTP commoncfg.HTTPClientConfig
}

// Credentials are where an API key comes from: one of a file, a text, and the access
// tokens of an OAuth2 endpoint.
type Credentials struct {
	// KeyFile is the path of a file that contains the key.
	KeyFile string
	// Key is the key itself, and KeySource says where that comes from.
	Key       commoncfg.Secret
	KeySource string
	// OAuth2 describes the endpoint.
	OAuth2 *commoncfg.OAuth2
}

// DefaultHTTP returns how to connect if nothing is configured.
func DefaultHTTP() commoncfg.HTTPClientConfig {
	cfg := commoncfg.DefaultHTTPClientConfig
	cfg.FollowRedirects = false
	cfg.ProxyFromEnvironment = true
	return cfg
}

// CheckName returns an error for a target's name that could not be read in a label
// or a log.
func CheckName(name string) error {
	const maxLength = 100
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if len(name) > maxLength || strings.ContainsFunc(name, unprintable) || strings.TrimSpace(name) != name || !utf8.ValidString(name) {
		return fmt.Errorf("must be at most %d bytes of UTF-8, without control characters and without blanks around it", maxLength)
	}
	return nil
}

// CheckURL returns an error for a URL that contains the API prefix already.
func CheckURL(u *url.URL, apiPrefix string) error {
	if apiPrefix != client.NoAPIPrefix && (strings.HasSuffix(u.Path, apiPrefix) || strings.Contains(u.Path, apiPrefix+"/v1")) {
		return errors.New("leave out " + apiPrefix + ", which the API prefix adds")
	}
	return nil
}

// CheckKinds returns an error for kinds that do not exist or are repeated, and for
// an empty list.
func CheckKinds(kinds []client.Kind) error {
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

// KindNames returns the kinds of token that there are, for a sentence.
func KindNames() string {
	var names []string
	for _, kind := range client.Kinds() {
		names = append(names, string(kind))
	}
	return strings.Join(names, " or ")
}

// keyPattern is what API keys look like, old and new.
var keyPattern = regexp.MustCompile(`^(tfy[-_]|eyJ[\w-]*\.)[^/]*$`)

// CheckKeyFile returns an error for a path that looks like the key itself: paths are
// shown.
func CheckKeyFile(path string) error {
	if keyPattern.MatchString(path) {
		return errors.New("this looks like the key itself: write it into a file, and the path of that here; then replace the key, which may have been seen")
	}
	return nil
}

// CheckProxy returns an error if a target uses the proxy of the environment and that
// is not valid: net/http would ignore it. The error does not repeat the value, which
// may contain a password.
func CheckProxy(t *Target) error {
	uses := t.HTTP.ProxyFromEnvironment || t.Credentials.OAuth2 != nil && t.Credentials.OAuth2.ProxyFromEnvironment
	if !uses {
		return nil
	}
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		value := os.Getenv(name)
		text := value
		if !strings.Contains(text, "://") {
			text = "http://" + text // as net/http does
		}
		u, err := url.Parse(text)
		if value != "" && (err != nil || u.Hostname() == "" || !isProxyScheme(u.Scheme)) {
			return fmt.Errorf("%s is not the URL of a proxy; it should look like http://proxy.example:3128", name)
		}
	}
	return nil
}

// isProxyScheme reports whether net/http can use a proxy of that scheme.
func isProxyScheme(scheme string) bool {
	return slices.Contains([]string{"http", "https", "socks5", "socks5h"}, scheme)
}
