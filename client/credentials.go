package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"regexp"
	"strings"
	"time"
)

// Credentials provide the API key of a target. Implementations are safe for
// concurrent use.
type Credentials interface {
	// Credential returns the credential for one listing. It returns when ctx ends. If
	// the error is an *Error, the listing fails with it; with any other error, the
	// listing fails with ReasonCredentials.
	Credential(ctx context.Context) (Credential, error)
	// Refused is called after a 401 response to a request with this Credential, so that
	// it can be replaced. It does not block.
	Refused(Credential)
	// String returns the source of the key, for messages. It does not contain the key.
	String() string
}

// Credential is an API key or an access token. It does not print its secret.
type Credential struct {
	secret string
	// Expiry is the expiry of an API key that is a JWT. It is zero if the key is
	// something else, if it does not expire, and for access tokens.
	Expiry time.Time
}

// APIKey returns the Credential for an API key. It returns an error if CheckKey does.
func APIKey(key string) (Credential, error) {
	credential, err := AccessToken(key)
	if err == nil {
		credential.Expiry = jwtExpiry(key)
	}
	return credential, err
}

// AccessToken returns the Credential for an access token, which is renewed before it
// expires. It returns an error if CheckKey does.
func AccessToken(token string) (Credential, error) {
	if err := CheckKey(token); err != nil {
		return Credential{}, err
	}
	return Credential{secret: token}, nil
}

// authorization returns the value of the Authorization header.
func (c Credential) authorization() string { return "Bearer " + c.secret }

// String returns a placeholder, so that the secret is not logged.
func (Credential) String() string { return redacted }

// Format prints the same placeholder for every verb.
func (c Credential) Format(state fmt.State, _ rune) { fmt.Fprint(state, c.String()) }

// StaticKey returns Credentials with an API key that does not change. The source
// describes where the key comes from.
func StaticKey(key, source string) Credentials { return staticKey{key, source} }

type staticKey struct{ key, source string }

// Credential implements Credentials.
func (s staticKey) Credential(context.Context) (Credential, error) { return APIKey(s.key) }

// Refused implements Credentials.
func (staticKey) Refused(Credential) {}

// String implements Credentials.
func (s staticKey) String() string { return s.source }

// Format prints the source for every verb, and not the key.
func (s staticKey) Format(state fmt.State, _ rune) { fmt.Fprint(state, s.source) }

// Credential returns the credential for one listing. Errors are of type *Error.
func (c *Client) Credential(ctx context.Context) (Credential, error) {
	credential, err := c.cfg.Credentials.Credential(ctx)
	if err != nil {
		return Credential{}, CredentialError(c.cfg.Credentials.String(), err)
	}
	return credential, nil
}

// CredentialError returns the Error for an API key that cannot be used. The source
// describes where the key comes from. If err wraps an *Error, that is returned.
func CredentialError(source string, err error) *Error {
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure
	}
	if file, ok := errors.AsType[*fs.PathError](err); ok && strings.Contains(source, file.Path) {
		err = file.Err // the source names the file
	}
	return &Error{
		Reason:  ReasonCredentials,
		Summary: oneLine("no usable API key in " + source + ": " + err.Error()),
		Advice:  "put only the key there",
		err:     err,
	}
}

// keyMistakes are common mistakes in API keys.
var keyMistakes = []struct {
	pattern *regexp.Regexp
	problem string
}{
	{regexp.MustCompile(`^["'` + "`]|[\"'`" + `]$`), "it has quotes around it"},
	{regexp.MustCompile(`^\w+=[^=]`), "it begins with the name of a variable"},
	{regexp.MustCompile(`^[{[]`), "it is JSON"},
	{regexp.MustCompile(`^[<$]`), "it is a placeholder, and variables are not expanded"},
	{regexp.MustCompile(`(?i)^bearer\b`), "it begins with Bearer, which is added"},
}

// CheckKey returns an error if the text cannot be an API key: if it is empty, if it is
// a common mistake such as a key in quotes, or if it cannot be sent in a header. The
// error does not contain the text.
func CheckKey(text string) error {
	if text == "" {
		return errors.New("it is empty")
	}
	for _, mistake := range keyMistakes {
		if mistake.pattern.MatchString(text) {
			return errors.New(mistake.problem)
		}
	}
	for _, r := range text {
		if r <= ' ' || r > '~' {
			return errors.New("it has a blank, a control character or a character beyond ASCII in it")
		}
	}
	return nil
}

// jwtExpiry returns the exp claim of a JWT without verifying the JWT. It returns zero
// for any other text.
func jwtExpiry(text string) time.Time {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return time.Time{}
	}
	seconds, fraction := math.Modf(claims.Exp)
	if seconds < float64(earliest.Unix()) || seconds > float64(latest.Unix()) {
		return time.Time{}
	}
	return time.Unix(int64(seconds), int64(fraction*1e9)).UTC()
}
