package targets

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/prometheus/common/config"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// NamedSecret is a secret that says itself where it is from.
type NamedSecret struct {
	config.SecretReader
	From string
}

// Description implements config.SecretReader.
func (s NamedSecret) Description() string { return s.From }

// secret returns where the text, or else the content of the file, is to be read.
func secret(text config.Secret, file string) config.SecretReader {
	if file != "" {
		return fileSecret{file}
	}
	return config.NewInlineSecret(string(text))
}

// basicAuth is a user and a password as the scheme Basic sends them.
type basicAuth struct{ user, password config.SecretReader }

// Fetch implements config.SecretReader.
func (b basicAuth) Fetch(ctx context.Context) (string, error) {
	user, err := b.user.Fetch(ctx)
	if err != nil {
		return "", err
	}
	password, err := b.password.Fetch(ctx)
	if err != nil {
		return "", err
	}
	if user == "" || password == "" {
		return "", errors.New("the user or the password is empty")
	}
	if strings.Contains(user, ":") {
		return "", errors.New("the user's name has a colon in it")
	}
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + password)), nil
}

// Description implements config.SecretReader.
func (b basicAuth) Description() string {
	return fmt.Sprintf("basic_auth (user %s, password %s)", b.user.Description(), b.password.Description())
}

// Immutable implements config.SecretReader.
func (b basicAuth) Immutable() bool { return b.user.Immutable() && b.password.Immutable() }

// oauth2Token is an access token that is asked for when it is needed, with the
// client credentials grant. The transport of prometheus/common would wait for
// it without a deadline, and carry the client's secret after redirects.
type oauth2Token struct {
	secret config.SecretReader
	// connection is that of http, which follows no redirects.
	connection *connection
	http       *http.Client

	// turn is held by the one who asks.
	turn chan struct{}
	// endpoint remembers how it wants to be told the secret.
	endpoint clientcredentials.Config
	token    *oauth2.Token
	source   string // the secret that token was asked for with
}

func newOAuth2Token(cfg *config.OAuth2) *oauth2Token {
	connect := DefaultHTTP()
	connect.TLSConfig, connect.ProxyConfig = cfg.TLSConfig, cfg.ProxyConfig
	connection := newConnection(connect)
	params := url.Values{}
	for name, value := range cfg.EndpointParams {
		params.Set(name, value)
	}
	return &oauth2Token{
		endpoint:   clientcredentials.Config{ClientID: cfg.ClientID, TokenURL: cfg.TokenURL, Scopes: cfg.Scopes, EndpointParams: params},
		secret:     secret(cfg.ClientSecret, cfg.ClientSecretFile),
		connection: connection,
		http: &http.Client{
			Transport:     connection,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		turn: make(chan struct{}, 1),
	}
}

// Fetch implements config.SecretReader. It ends when ctx does.
func (o *oauth2Token) Fetch(ctx context.Context) (string, error) {
	select {
	case o.turn <- struct{}{}:
		defer func() { <-o.turn }()
	case <-ctx.Done():
		return "", client.StoppedError(ctx)
	}
	key, err := o.readSecret(ctx)
	if err != nil {
		return "", err
	}
	if key == o.source && o.token.Valid() {
		return o.token.AccessToken, nil
	}
	o.endpoint.ClientSecret = key
	token, err := o.endpoint.Token(context.WithValue(ctx, oauth2.HTTPClient, o.http))
	if err != nil {
		return "", refusal(ctx, err, append(o.connection.secrets(), key))
	}
	o.token, o.source = token, key
	return token.AccessToken, nil
}

// readSecret returns the client's secret.
func (o *oauth2Token) readSecret(ctx context.Context) (string, error) {
	key, err := o.secret.Fetch(ctx)
	if err == nil && key == "" {
		err = errors.New("the client's secret is empty")
	}
	return key, err
}

// unasked is an oauth2Token that does not ask the endpoint.
type unasked struct{ *oauth2Token }

// Fetch implements config.SecretReader. It fails where there is no secret.
func (u unasked) Fetch(ctx context.Context) (string, error) {
	_, err := u.readSecret(ctx)
	return "unasked", err
}

// refusal is the error of an access token that was not given. It does not repeat
// what the endpoint answers but for its code: that may have the secret in it.
func refusal(ctx context.Context, err error, secrets []string) error {
	const asked = "no access token from the OAuth2 endpoint"
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		status := refused.Response.StatusCode
		what := fmt.Sprintf("%s: %d %s", asked, status, http.StatusText(status))
		if lowerCase.MatchString(refused.ErrorCode) {
			what += " (" + refused.ErrorCode + ")"
		}
		return &client.Error{
			Reason: client.ReasonConnection,
			What:   client.Conceal(what, secrets...),
			Advice: "check token_url, client_id and the client's secret",
		}
	}
	failure := client.TransportError(ctx, err)
	failure.What = client.Conceal(asked+": "+failure.What, secrets...)
	return failure
}

// forget makes the next Fetch ask for another token.
func (o *oauth2Token) forget() {
	o.turn <- struct{}{}
	defer func() { <-o.turn }()
	o.token = nil
}

// Description implements config.SecretReader.
func (o *oauth2Token) Description() string {
	return "oauth2 (client secret " + o.secret.Description() + ")"
}

// Immutable implements config.SecretReader.
func (*oauth2Token) Immutable() bool { return false }

// CloseIdleConnections closes the connections that are not in use.
func (o *oauth2Token) CloseIdleConnections() { o.connection.CloseIdleConnections() }
