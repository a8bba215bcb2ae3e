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

// Load reads a file of targets. Errors name lines and fields, never values: any of
// them may be a secret in the wrong place. Files that the file names are not read.
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

// parse parses the text of a file in dir.
func parse(text []byte, dir string) ([]Target, error) {
	var root yaml.Node
	if err := yaml.Load(text, &root); err != nil {
		return nil, explain(&root, err)
	}
	if key := keyThatIsNotText(&root); key != nil {
		return nil, fmt.Errorf("line %d: the name of a field must be plain text", key.Line)
	}
	var file struct {
		Targets []fileTarget `yaml:"targets"`
	}
	if err := root.Load(&file, yaml.WithKnownFields()); err != nil {
		return nil, explain(&root, err)
	}
	if list := field(root.Content[0], "targets"); list != nil {
		for i, node := range list.Content {
			if node.ShortTag() == "!!null" {
				return nil, fmt.Errorf("line %d: targets[%d]: it is empty", node.Line, i)
			}
		}
	}
	if len(file.Targets) == 0 {
		return nil, errors.New("it has no targets: list them under targets")
	}
	var targets []Target
	names := map[string]int{}
	for i := range file.Targets {
		t := &file.Targets[i]
		if line, taken := names[string(t.Name)]; taken {
			return nil, fmt.Errorf("line %d: targets[%d].name: the target of line %d has this name already", t.node.Line, i, line)
		}
		names[string(t.Name)] = t.node.Line
		t.HTTP.SetDirectory(dir)
		targets = append(targets, t.target())
	}
	return targets, nil
}

// fileTarget is a Target as it is written in a file.
type fileTarget struct {
	Name        targetName                 `yaml:"name"`
	URL         baseURL                    `yaml:"url"`
	APIPrefix   apiPrefix                  `yaml:"api_prefix"`
	Kinds       kinds                      `yaml:"kinds"`
	APIKeyToken string                     `yaml:"api_key_token"`
	HTTP        commoncfg.HTTPClientConfig `yaml:",inline"`

	node *yaml.Node
}

// UnmarshalYAML implements yaml.Unmarshaler. The defaults and the validation of an
// inlined configuration are up to the type that contains it.
func (t *fileTarget) UnmarshalYAML(node *yaml.Node) error {
	type plain fileTarget
	t.node, t.APIPrefix, t.Kinds, t.HTTP = node, client.DefaultAPIPrefix, kinds{client.PersonalAccessToken}, DefaultHTTP()
	t.HTTP.ProxyFromEnvironment = false
	if err := node.Load((*plain)(t), yaml.WithKnownFields()); err != nil {
		return err
	}
	if a := t.HTTP.Authorization; a != nil && a.Type != "" && !strings.EqualFold(a.Type, bearer) {
		return t.problem("must be "+bearer+", which is what the API expects: leave it out", "authorization", "type")
	}
	if t.HTTP.BasicAuth != nil {
		return t.problem("the API expects its key in the header that this would occupy: use authorization, with credentials_file", "basic_auth")
	}
	proxyFromEnvironment(node, &t.HTTP.ProxyConfig)
	if t.HTTP.OAuth2 != nil {
		proxyFromEnvironment(field(node, "oauth2"), &t.HTTP.OAuth2.ProxyConfig)
	}
	if a := t.HTTP.Authorization; a != nil && a.Credentials != "" && a.CredentialsFile != "" {
		return t.problem("it has credentials and credentials_file: leave out one of them", "authorization")
	}
	if err := t.HTTP.Validate(); err != nil {
		return problem{node, err.Error()}
	}
	return t.check()
}

// proxyFromEnvironment switches the proxy of the environment on, unless the node says
// otherwise or names a proxy.
func proxyFromEnvironment(node *yaml.Node, proxy *commoncfg.ProxyConfig) {
	value := field(node, "proxy_from_environment")
	if (value == nil || value.ShortTag() == "!!null") && proxy.ProxyURL.URL == nil && proxy.NoProxy == "" {
		proxy.ProxyFromEnvironment = true
	}
}

// problem returns the problem of the field at a path, or of the part of the path that
// exists.
func (t *fileTarget) problem(text string, path ...string) error {
	at := t.node
	for _, name := range path {
		if below := field(at, name); below != nil {
			at = below
		}
	}
	return problem{at, text}
}

// headerName matches a token of RFC 9110.
var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// check returns an error for what the types of the fields accept.
func (t *fileTarget) check() error {
	if at := field(t.node, "api_prefix"); at != nil && at.ShortTag() == "!!null" {
		return problem{at, `has no value: write "" where there is no prefix, or leave it out for ` + client.DefaultAPIPrefix}
	}
	if at := reference(t.node); at != nil {
		return problem{at, "there is no secret manager to refer to: give a file, with …_file"}
	}
	switch {
	case t.Name == "":
		return t.problem("it needs a name")
	case t.URL.URL == nil:
		return t.problem("it needs a url")
	case t.HTTP.FollowRedirects:
		return t.problem("redirects are never followed, so that the API key goes nowhere else: leave this out", "follow_redirects")
	}
	if err := CheckURL(t.URL.URL, string(t.APIPrefix)); err != nil {
		return t.problem(err.Error(), "url")
	}
	if err := CheckKinds(t.Kinds); err != nil {
		return t.problem(err.Error(), "kinds")
	}
	if headers := t.HTTP.HTTPHeaders; headers != nil {
		for name, header := range headers.Headers {
			values := slices.Clone(header.Values)
			for _, secret := range header.Secrets {
				values = append(values, string(secret))
			}
			if !headerName.MatchString(name) || slices.ContainsFunc(values, func(value string) bool { return strings.ContainsFunc(value, unicode.IsControl) }) {
				return t.problem("a header has a name or a value that cannot be sent", "http_headers")
			}
		}
	}
	if err := t.checkConnection(&t.HTTP.ProxyConfig, t.HTTP.TLSConfig); err != nil {
		return err
	}
	return t.checkCredentials()
}

// checkConnection checks the configuration of a connection: the one at the path, or
// that of the target itself.
func (t *fileTarget) checkConnection(proxy *commoncfg.ProxyConfig, tls commoncfg.TLSConfig, path ...string) error {
	if u := proxy.ProxyURL.URL; u != nil && (u.Host == "" || !isProxyScheme(u.Scheme)) {
		return t.problem("must be absolute, with http://, https:// or socks5://", append(path, "proxy_url")...)
	}
	// Files may be corrected while the exporter runs; the rest may not.
	tls.CAFile = ""
	if tls.CertFile != "" || tls.KeyFile != "" {
		tls.Cert, tls.CertFile, tls.Key, tls.KeyFile = "", "", "", ""
	}
	if _, err := commoncfg.NewTLSConfig(&tls); err != nil {
		// What follows are the names of PEM blocks, which are part of the value.
		text, _, _ := strings.Cut(err.Error(), " after skipping PEM blocks")
		return t.problem(text, append(path, "tls_config")...)
	}
	return nil
}

// bearer is the scheme of the header Authorization that the API expects.
const bearer = "Bearer"

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

// target returns the Target.
func (t *fileTarget) target() Target {
	target := Target{
		Name: string(t.Name), URL: t.URL.URL, APIPrefix: string(t.APIPrefix), Kinds: t.Kinds, APIKeyToken: t.APIKeyToken, HTTP: t.HTTP,
	}
	switch authorization := t.HTTP.Authorization; {
	case t.HTTP.OAuth2 != nil:
		target.Credentials.OAuth2 = t.HTTP.OAuth2
	case authorization.CredentialsFile != "":
		target.Credentials.KeyFile = authorization.CredentialsFile
	default:
		target.Credentials.Key = commoncfg.Secret(strings.TrimSpace(string(authorization.Credentials)))
		target.Credentials.KeySource = "inline"
	}
	return target
}

type targetName string

// UnmarshalYAML implements yaml.Unmarshaler.
func (n *targetName) UnmarshalYAML(node *yaml.Node) error {
	if err := node.Load((*string)(n)); err != nil {
		return err
	}
	if err := CheckName(string(*n)); err != nil {
		return problem{node, err.Error()}
	}
	return nil
}

type baseURL struct{ *url.URL }

// UnmarshalYAML implements yaml.Unmarshaler.
func (u *baseURL) UnmarshalYAML(node *yaml.Node) error {
	var text string
	if err := node.Load(&text); err != nil {
		return err
	}
	parsed, err := client.ParseURL(text)
	if err != nil {
		return problem{node, err.Error()}
	}
	u.URL = parsed
	return nil
}

type apiPrefix string

// UnmarshalYAML implements yaml.Unmarshaler.
func (p *apiPrefix) UnmarshalYAML(node *yaml.Node) error {
	if err := node.Load((*string)(p)); err != nil {
		return err
	}
	parsed, err := client.ParseAPIPrefix(string(*p))
	if err != nil {
		return problem{node, err.Error()}
	}
	*p = apiPrefix(parsed)
	return nil
}

type kinds []client.Kind

// UnmarshalYAML implements yaml.Unmarshaler.
func (k *kinds) UnmarshalYAML(node *yaml.Node) error {
	if err := node.Load((*[]client.Kind)(k)); err != nil {
		return err
	}
	if err := CheckKinds(*k); err != nil {
		return problem{node, err.Error()}
	}
	return nil
}
