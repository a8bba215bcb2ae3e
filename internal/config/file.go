package config

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	commoncfg "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v4"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// Load reads the targets of a configuration file. It does not read the files that the
// configuration names. Errors contain the names of fields and their lines, but no
// values, since any value may be a secret in the wrong place.
func Load(path string) ([]Target, error) {
	text, err := os.ReadFile(path) //nolint:gosec // the user names it
	if file := (*os.PathError)(nil); errors.As(err, &file) {
		return nil, fmt.Errorf("cannot read %s: %w", path, file.Err)
	}
	targets, err := parse(text, filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range targets {
		if err := CheckProxy(&targets[i]); err != nil {
			return nil, err
		}
	}
	return targets, nil
}

// parse parses a configuration file. Relative paths in it are relative to dir.
func parse(text []byte, dir string) ([]Target, error) {
	var root yaml.Node
	if err := yaml.Load(text, &root); err != nil {
		return nil, describeLoadError(&root, err)
	}
	if key := findNonStringKey(&root); key != nil {
		return nil, fmt.Errorf("line %d: the name of a field must be plain text", key.Line)
	}
	var file struct {
		Targets []fileTarget `yaml:"targets"`
	}
	if err := root.Load(&file, yaml.WithKnownFields()); err != nil {
		return nil, describeLoadError(&root, err)
	}
	if list := field(root.Content[0], "targets"); list != nil {
		for i, node := range list.Content {
			if isNull(node) {
				return nil, fmt.Errorf("line %d: targets[%d]: it is empty", node.Line, i)
			}
		}
	}
	if len(file.Targets) == 0 {
		return nil, errors.New("it has no targets: list them under targets")
	}
	var targets []Target
	lines := map[string]int{} // by name
	for i := range file.Targets {
		t := &file.Targets[i]
		if line, taken := lines[t.Name]; taken {
			return nil, fmt.Errorf("line %d: targets[%d].name: the target of line %d has this name already", t.node.Line, i, line)
		}
		lines[t.Name] = t.node.Line
		t.HTTP.SetDirectory(dir)
		targets = append(targets, t.resolve())
	}
	return targets, nil
}

// fileTarget is an item of targets in a configuration file.
type fileTarget struct {
	Name        string                     `yaml:"name"`
	URL         string                     `yaml:"url"`
	APIPrefix   string                     `yaml:"api_prefix"`
	Kinds       []client.Kind              `yaml:"kinds"`
	APIKeyToken string                     `yaml:"api_key_token"`
	HTTP        commoncfg.HTTPClientConfig `yaml:",inline"`

	node   *yaml.Node
	target Target // made from the fields above
}

// UnmarshalYAML implements yaml.Unmarshaler. It sets the defaults of HTTP and
// validates it: an inlined type cannot do so itself.
func (t *fileTarget) UnmarshalYAML(node *yaml.Node) error {
	type plain fileTarget
	t.node, t.APIPrefix, t.Kinds, t.HTTP = node, client.DefaultAPIPrefix, []client.Kind{client.PersonalAccessToken}, DefaultHTTP()
	t.HTTP.ProxyFromEnvironment = false
	if err := node.Load((*plain)(t), yaml.WithKnownFields()); err != nil {
		return err
	}
	for _, check := range []func() error{t.checkTarget, t.checkHTTP, t.checkHeaders, t.checkCredentials} {
		if err := check(); err != nil {
			return err
		}
	}
	return t.checkConnection(&t.HTTP.ProxyConfig, t.HTTP.TLSConfig)
}

// problem returns an error about the field at path, or about the innermost field of
// path that is there.
func (t *fileTarget) problem(text string, path ...string) error {
	node := t.node
	for _, name := range path {
		if child := field(node, name); child != nil {
			node = child
		}
	}
	return &nodeError{node, text}
}

// headerName matches the token syntax of RFC 9110.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// checkTarget validates the fields that are not part of HTTP.
func (t *fileTarget) checkTarget() error {
	if node := field(t.node, "api_prefix"); node != nil && isNull(node) {
		return &nodeError{node, `has no value: write "" where there is no prefix, or leave it out for ` + client.DefaultAPIPrefix}
	}
	if node := findReference(t.node); node != nil {
		return &nodeError{node, "there is no secret manager to refer to: give a file, with …_file"}
	}
	if t.Name == "" {
		return t.problem("it needs a name")
	}
	if node := field(t.node, "url"); node == nil || isNull(node) {
		return t.problem("it needs a url")
	}
	var err error
	t.target, err = NewTarget(t.Name, t.URL, t.APIPrefix, t.Kinds)
	if invalid := (*FieldError)(nil); errors.As(err, &invalid) {
		return t.problem(invalid.Err.Error(), invalid.Field)
	}
	return nil
}

// checkHTTP validates HTTP like prometheus/common, except for what the API does not
// support.
func (t *fileTarget) checkHTTP() error {
	a := t.HTTP.Authorization
	switch {
	case a != nil && a.Type != "" && !strings.EqualFold(a.Type, bearer):
		return t.problem("must be "+bearer+", which is what the API expects: leave it out", "authorization", "type")
	case t.HTTP.BasicAuth != nil:
		return t.problem("the API expects its key in the header that this would occupy: use authorization, with credentials_file", "basic_auth")
	case a != nil && a.Credentials != "" && a.CredentialsFile != "":
		return t.problem("it has credentials and credentials_file: leave out one of them", "authorization")
	case t.HTTP.FollowRedirects:
		return t.problem("redirects are never followed, so that the API key goes nowhere else: leave this out", "follow_redirects")
	}
	setProxyFromEnvironment(t.node, &t.HTTP.ProxyConfig)
	if t.HTTP.OAuth2 != nil {
		setProxyFromEnvironment(field(t.node, "oauth2"), &t.HTTP.OAuth2.ProxyConfig)
	}
	if err := t.HTTP.Validate(); err != nil {
		return t.problem(err.Error())
	}
	return nil
}

// setProxyFromEnvironment enables the proxy of the environment, unless a mapping
// configures a proxy or disables it.
func setProxyFromEnvironment(mapping *yaml.Node, proxy *commoncfg.ProxyConfig) {
	value := field(mapping, "proxy_from_environment")
	if (value == nil || isNull(value)) && proxy.ProxyURL.URL == nil && proxy.NoProxy == "" {
		proxy.ProxyFromEnvironment = true
	}
}

// checkHeaders validates http_headers.
func (t *fileTarget) checkHeaders() error {
	if t.HTTP.HTTPHeaders == nil {
		return nil
	}
	for name, header := range t.HTTP.HTTPHeaders.Headers {
		values := slices.Clone(header.Values)
		for _, secret := range header.Secrets {
			values = append(values, string(secret))
		}
		if !headerName.MatchString(name) || strings.ContainsFunc(strings.Join(values, ""), unicode.IsControl) {
			return t.problem("a header has a name or a value that cannot be sent", "http_headers")
		}
	}
	return nil
}

// checkConnection validates the proxy and TLS configuration of the target, or of the
// field at path.
func (t *fileTarget) checkConnection(proxy *commoncfg.ProxyConfig, tls commoncfg.TLSConfig, path ...string) error {
	if u := proxy.ProxyURL.URL; u != nil && (u.Host == "" || !isProxyScheme(u.Scheme)) {
		return t.problem("must be absolute, with http://, https:// or socks5://", append(path, "proxy_url")...)
	}
	// Files are not checked: they may be corrected while the exporter runs.
	tls.CAFile = ""
	if tls.CertFile != "" || tls.KeyFile != "" {
		tls.Cert, tls.CertFile, tls.Key, tls.KeyFile = "", "", "", ""
	}
	if _, err := commoncfg.NewTLSConfig(&tls); err != nil {
		// The names of PEM blocks, which follow, are part of the value.
		text, _, _ := strings.Cut(err.Error(), " after skipping PEM blocks")
		return t.problem(text, append(path, "tls_config")...)
	}
	return nil
}

// bearer is the authentication scheme that the API expects.
const bearer = "Bearer"

// checkCredentials validates authorization and oauth2.
func (t *fileTarget) checkCredentials() error {
	authorization, oauth := t.HTTP.Authorization, t.HTTP.OAuth2
	switch {
	case authorization != nil:
		if authorization.CredentialsFile != "" {
			if err := CheckKeyFile(authorization.CredentialsFile); err != nil {
				return t.problem(err.Error(), "authorization", "credentials_file")
			}
			return nil
		}
		if authorization.Credentials == "" {
			return t.problem("it needs credentials_file, or credentials", "authorization")
		}
		if err := client.CheckKey(strings.TrimSpace(string(authorization.Credentials))); err != nil {
			return t.problem("the credentials are not an API key: "+err.Error(), "authorization")
		}
	case oauth != nil:
		if oauth.GrantType != "" && oauth.GrantType != "client_credentials" {
			return t.problem("must be client_credentials: leave it out", "oauth2", "grant_type")
		}
		if oauth.Iss != "" || oauth.Audience != "" || oauth.Claims != nil || oauth.ClientCertificateKeyID != "" ||
			oauth.ClientCertificateKey != "" || oauth.ClientCertificateKeyFile != "" {
			return t.problem("iss, audience, claims and client_certificate_key… are of no use with client_credentials: leave them out", "oauth2")
		}
		if oauth.ClientSecret == "" && oauth.ClientSecretFile == "" {
			return t.problem("it needs client_secret_file, or client_secret", "oauth2")
		}
		if u, err := url.Parse(oauth.TokenURL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return t.problem("must be absolute, with https:// or http://, and without a user or a password", "oauth2", "token_url")
		}
		return t.checkConnection(&oauth.ProxyConfig, oauth.TLSConfig, "oauth2")
	default:
		return t.problem("it has no credentials: add authorization with credentials_file, the file of the API key")
	}
	return nil
}

// resolve returns the target. The paths of files must have been resolved.
func (t *fileTarget) resolve() Target {
	target := t.target
	target.APIKeyToken, target.HTTP = t.APIKeyToken, t.HTTP
	switch a := t.HTTP.Authorization; {
	case t.HTTP.OAuth2 != nil:
		target.Credentials.OAuth2 = t.HTTP.OAuth2
	case a.CredentialsFile != "":
		target.Credentials.KeyFile = a.CredentialsFile
	default:
		target.Credentials.Key = commoncfg.Secret(strings.TrimSpace(string(a.Credentials)))
		target.Credentials.KeySource = "inline"
	}
	return target
}
