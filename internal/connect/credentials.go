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

// newCredentials returns the credentials of a target, and the transport to its OAuth2
// token endpoint, or nil if there is none.
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

// keyFile is a file that contains an API key. It is read for each listing.
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

// oauth2Credentials gets access tokens from an OAuth2 token endpoint with the client
// credentials grant. Unlike the transport of prometheus/common, it respects deadlines
// and does not follow redirects, which could expose the client secret.
type oauth2Credentials struct {
	endpoint  clientcredentials.Config
	secret    func() (string, error)
	source    string // describes where the secret comes from
	transport *transport
	http      *http.Client

	// requestSem has room for the only caller that may request a token.
	requestSem chan struct{}

	mu         sync.Mutex
	token      *oauth2.Token
	credential client.Credential // made from token
	usedSecret string            // the secret that token was requested with
}

func newOAuth2(cfg *commoncfg.OAuth2) *oauth2Credentials {
	connection := config.DefaultHTTP()
	connection.TLSConfig, connection.ProxyConfig = cfg.TLSConfig, cfg.ProxyConfig
	params := url.Values{}
	for name, value := range cfg.EndpointParams {
		params.Set(name, value)
	}
	o := &oauth2Credentials{
		endpoint:   clientcredentials.Config{ClientID: cfg.ClientID, TokenURL: cfg.TokenURL, Scopes: cfg.Scopes, EndpointParams: params},
		secret:     func() (string, error) { return string(cfg.ClientSecret), nil },
		source:     "inline",
		transport:  newTransport(connection),
		requestSem: make(chan struct{}, 1),
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
func (o *oauth2Credentials) Credential(ctx context.Context) (client.Credential, error) {
	secret, err := o.readSecret()
	if err != nil {
		return client.Credential{}, err
	}
	if credential, ok := o.current(secret); ok {
		return credential, nil
	}
	select {
	case o.requestSem <- struct{}{}:
		defer func() { <-o.requestSem }()
	case <-ctx.Done():
		return client.Credential{}, endpointError(ctx, ctx.Err(), secret)
	}
	if credential, ok := o.current(secret); ok { // another caller has just requested it
		return credential, nil
	}
	return o.request(ctx, secret)
}

// readSecret returns the client secret. Errors are of type *client.Error.
func (o *oauth2Credentials) readSecret() (string, error) {
	secret, err := o.secret()
	if err == nil && secret == "" {
		err = errors.New("the client secret is empty")
	}
	if err != nil {
		failure := client.CredentialError(o.String(), err)
		failure.Advice = "put only the client secret there"
		return "", failure
	}
	return secret, nil
}

// current returns the current credential. It returns false if the token has expired or
// was requested with another secret.
func (o *oauth2Credentials) current(secret string) (client.Credential, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.credential, o.usedSecret == secret && o.token.Valid()
}

// request requests a token. The caller must hold requestSem.
func (o *oauth2Credentials) request(ctx context.Context, secret string) (client.Credential, error) {
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

// errorCode matches the error codes of OAuth2.
var errorCode = regexp.MustCompile(`^[a-z_]{1,40}$`)

// endpointError returns the error of a failed token request. The only part of the
// response that it contains is the error code.
func endpointError(ctx context.Context, err error, secret string) error {
	const prefix = "no access token from the OAuth2 endpoint: "
	response, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		failure := *client.TransportError(ctx, err, secret)
		failure.Summary = prefix + failure.Summary
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			failure.Summary = prefix + "no response within the scrape's deadline"
			failure.Advice = "check token_url, and the firewall, the NetworkPolicy and the proxy on the way there"
		}
		return &failure
	}
	failure := &client.Error{
		Reason:  client.ReasonConnection,
		Summary: fmt.Sprintf("%s%d %s", prefix, response.Response.StatusCode, http.StatusText(response.Response.StatusCode)),
		Advice:  "check token_url, client_id and the client secret",
	}
	if errorCode.MatchString(response.ErrorCode) && response.ErrorCode != secret {
		failure.Detail = response.ErrorCode
	}
	return failure
}

// Refused implements client.Credentials. It drops the token, unless it has been replaced
// already.
func (o *oauth2Credentials) Refused(credential client.Credential) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.credential == credential {
		o.token = nil
	}
}

// String implements client.Credentials.
func (o *oauth2Credentials) String() string { return "oauth2 (client secret " + o.source + ")" }
