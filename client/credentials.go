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
	// Credential returns what the requests of one listing are sent with. It returns
	// when ctx ends. If the error is an *Error, it becomes the error of the listing;
	// any other error fails the listing with ReasonCredentials.
	Credential(ctx context.Context) (Credential, error)
	// Refused reports that a request with this Credential was answered with 401, so
	// that it is not used again if it can be replaced. It does not block.
	Refused(Credential)
	// String says where the key comes from. It does not contain the key.
	String() string
}

// Credential is what authorizes the requests of one listing.
type Credential struct {
	secret string
	// Expiry is when an API key expires, if it is a JWT that says so, else zero. It
	// is always zero for access tokens, which are renewed.
	Expiry time.Time
}

// APIKey returns the Credential of an API key.
func APIKey(key string) (Credential, error) {
	if err := CheckKey(key); err != nil {
		return Credential{}, err
	}
	return Credential{secret: key, Expiry: jwtExpiry(key)}, nil
}

// AccessToken returns the Credential of an access token that is renewed before it
// expires.
func AccessToken(token string) (Credential, error) {
	if err := CheckKey(token); err != nil {
		return Credential{}, err
	}
	return Credential{secret: token}, nil
}

// authorization returns the value of the header Authorization.
func (c Credential) authorization() string { return "Bearer " + c.secret }

// String keeps the secret out of logs.
func (Credential) String() string { return redacted }

// Format keeps the secret out of everything that is printed, whatever the verb.
func (c Credential) Format(state fmt.State, _ rune) { fmt.Fprint(state, c.String()) }

// StaticKey returns Credentials for an API key that does not change. The source
// says where the key comes from.
func StaticKey(key, source string) Credentials { return staticKey{key, source} }

type staticKey struct{ key, source string }

// Credential implements Credentials.
func (s staticKey) Credential(context.Context) (Credential, error) { return APIKey(s.key) }

// Refused implements Credentials.
func (staticKey) Refused(Credential) {}

// String implements Credentials.
func (s staticKey) String() string { return s.source }

// Format keeps the key out of everything that is printed, whatever the verb.
func (s staticKey) Format(state fmt.State, _ rune) { fmt.Fprint(state, s.source) }

// Credential returns the credential for one listing. Errors are of type *Error.
func (c *Client) Credential(ctx context.Context) (Credential, error) {
	credential, err := c.cfg.Credentials.Credential(ctx)
	if err != nil {
		return Credential{}, CredentialError(c.cfg.Credentials.String(), err)
	}
	return credential, nil
}

// CredentialError returns the Error for an API key that cannot be used. If err is
// an *Error, it is returned as it is.
func CredentialError(source string, err error) *Error {
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure
	}
	if file, ok := errors.AsType[*fs.PathError](err); ok && strings.Contains(source, file.Path) {
		err = file.Err // the source names the file already
	}
	return &Error{
		Reason:  ReasonCredentials,
		Summary: oneLine("no usable API key in " + source + ": " + err.Error()),
		Advice:  "put the key, and nothing else, there",
		err:     err,
	}
}

// mistakes are what people write instead of an API key.
var mistakes = []struct {
	pattern *regexp.Regexp
	problem string
}{
	{regexp.MustCompile(`^["'` + "`]|[\"'`" + `]$`), "it has quotes around it"},
	{regexp.MustCompile(`^\w+=[^=]`), "it begins with the name of a variable"},
	{regexp.MustCompile(`^[{[]`), "it is JSON"},
	{regexp.MustCompile(`^[<$]`), "it is a placeholder, and variables are not expanded"},
	{regexp.MustCompile(`(?i)^bearer\b`), "it begins with Bearer, which is added"},
}

// CheckKey returns an error if the text cannot be an API key, because it is empty
// or could not be sent as it is. Errors do not repeat the text.
func CheckKey(text string) error {
	if text == "" {
		return errors.New("it is empty")
	}
	for _, mistake := range mistakes {
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

// jwtExpiry returns the exp claim of a JWT, which is not verified. It is zero for
// anything else.
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
