package connect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"sync"

	commoncfg "github.com/prometheus/common/config"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/config"
)

// newCredentials returns the credentials of a target, and the transport to an OAuth2
// endpoint, nil if there is none.
func newCredentials(cfg *config.Credentials) (client.Credentials, *transport) {
	switch {
	case cfg.OAuth2 != nil:
		o := newOAuth2(cfg.OAuth2)
		return o, o.transport
	case cfg.KeyFile != "":
		return keyFile{secretFile(cfg.KeyFile)}, nil
	}
	return client.StaticKey(string(cfg.Key), cfg.KeySource), nil
}

// keyFile is an API key in a file, which is read for each listing.
type keyFile struct{ secretFile }

// Credential implements client.Credentials.
func (k keyFile) Credential(context.Context) (client.Credential, error) {
	key, err := k.read()
	if err != nil {
		return client.Credential{}, err
	}
	return client.APIKey(key)
}

// Refused implements client.Credentials.
func (keyFile) Refused(client.Credential) {}

// oauth2Tokens are access tokens of an OAuth2 endpoint, requested with the client
// credentials grant. The transport of prometheus/common would wait for a token
// without a deadline, and send the client's secret to where a redirect leads.
type oauth2Tokens struct {
	endpoint  clientcredentials.Config
	secret    func() (string, error)
	source    string // of the secret
	transport *transport
	http      *http.Client

	// requesting is held by the one who asks the endpoint.
	requesting chan struct{}

	mu sync.Mutex
	// token is the last token and credential what was made of it. usedSecret is the
	// secret that it was requested with.
	token      *oauth2.Token
	credential client.Credential
	usedSecret string
}

func newOAuth2(cfg *commoncfg.OAuth2) *oauth2Tokens {
	connection := config.DefaultHTTP()
	connection.TLSConfig, connection.ProxyConfig = cfg.TLSConfig, cfg.ProxyConfig
	params := url.Values{}
	for name, value := range cfg.EndpointParams {
		params.Set(name, value)
	}
	o := &oauth2Tokens{
		endpoint:   clientcredentials.Config{ClientID: cfg.ClientID, TokenURL: cfg.TokenURL, Scopes: cfg.Scopes, EndpointParams: params},
		secret:     func() (string, error) { return string(cfg.ClientSecret), nil },
		source:     "inline",
		transport:  newTransport(connection),
		requesting: make(chan struct{}, 1),
	}
	if cfg.ClientSecretFile != "" {
		file := secretFile(cfg.ClientSecretFile)
		o.secret, o.source = file.read, file.String()
	}
	o.http = &http.Client{
		Transport:     o.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return o
}

// Credential implements client.Credentials.
func (o *oauth2Tokens) Credential(ctx context.Context) (client.Credential, error) {
	secret, err := o.readSecret()
	if err != nil {
		return client.Credential{}, err
	}
	if credential, ok := o.current(secret); ok {
		return credential, nil
	}
	select {
	case o.requesting <- struct{}{}:
		defer func() { <-o.requesting }()
	case <-ctx.Done():
		return client.Credential{}, client.ContextError(ctx)
	}
	if credential, ok := o.current(secret); ok { // somebody else has just got it
		return credential, nil
	}
	return o.request(ctx, secret)
}

// readSecret returns the client's secret.
func (o *oauth2Tokens) readSecret() (string, error) {
	secret, err := o.secret()
	if err == nil && secret == "" {
		err = errors.New("the client's secret is empty")
	}
	return secret, err
}

// current returns the credential of a token that is valid and was requested with the
// secret.
func (o *oauth2Tokens) current(secret string) (client.Credential, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.credential, o.usedSecret == secret && o.token.Valid()
}

// request asks the endpoint for a token. Only one caller does at a time.
func (o *oauth2Tokens) request(ctx context.Context, secret string) (client.Credential, error) {
	o.endpoint.ClientSecret = secret
	token, err := o.endpoint.Token(context.WithValue(ctx, oauth2.HTTPClient, o.http))
	if err != nil {
		return client.Credential{}, endpointError(ctx, err, secret)
	}
	credential, err := client.AccessToken(token.AccessToken)
	if err != nil {
		return client.Credential{}, fmt.Errorf("the access token cannot be sent: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.token, o.credential, o.usedSecret = token, credential, secret
	return credential, nil
}

// errorCode is what the code of an OAuth2 error looks like.
var errorCode = regexp.MustCompile(`^[a-z_]{1,40}$`)

// endpointError returns the error of a token that was not granted. It repeats nothing
// of the response but the code of the error.
func endpointError(ctx context.Context, err error, secret string) error {
	const what = "no access token from the OAuth2 endpoint: "
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		failure := *client.TransportError(ctx, err, secret)
		failure.Summary = what + failure.Summary
		return &failure
	}
	failure := &client.Error{
		Reason:  client.ReasonConnection,
		Summary: fmt.Sprintf("%s%d %s", what, refused.Response.StatusCode, http.StatusText(refused.Response.StatusCode)),
		Advice:  "check token_url, client_id and the client's secret",
	}
	if errorCode.MatchString(refused.ErrorCode) && refused.ErrorCode != secret {
		failure.Detail = refused.ErrorCode
	}
	return failure
}

// Refused implements client.Credentials. It drops the token, unless that has been
// replaced already.
func (o *oauth2Tokens) Refused(credential client.Credential) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.credential == credential {
		o.token = nil
	}
}

// String implements client.Credentials.
func (o *oauth2Tokens) String() string { return "oauth2 (client secret " + o.source + ")" }
