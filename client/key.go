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

// Key is an API key, read for one listing.
type Key struct {
	secret string
	// password is the part of secret that is one, where the scheme is Basic.
	password string
	// Expiry is when the key ends, where it is a JWT that says so and that is of
	// interest, else zero.
	Expiry time.Time
}

// String keeps the secret out of logs.
func (Key) String() string { return concealed }

// Format keeps the secret out of anything printed, whatever the verb.
func (k Key) Format(state fmt.State, _ rune) { fmt.Fprint(state, k.String()) }

// Key reads the API key anew, so that a rotated one is used from the next
// listing on. Its errors are of type *Error, with ReasonCredentials unless
// somebody else had to be asked for the key.
func (c *Client) Key(ctx context.Context) (Key, error) {
	secret, err := c.cfg.APIKey.Fetch(ctx)
	if failure := (*Error)(nil); errors.As(err, &failure) {
		failure.clean()
		return Key{}, failure
	}
	if file := (*fs.PathError)(nil); errors.As(err, &file) && strings.Contains(c.cfg.APIKey.Description(), file.Path) {
		err = file.Err // the description names the file already
	}
	if err == nil {
		err = CheckKey(secret)
	}
	if err != nil {
		return Key{}, &Error{
			Reason: ReasonCredentials,
			What:   "no usable API key in " + c.cfg.APIKey.Description() + ": " + err.Error(),
			Advice: "put the key, and nothing else, there",
			err:    err,
		}
	}
	key := Key{secret: secret}
	switch {
	case c.cfg.Scheme == SchemeBasic:
		if plain, err := base64.StdEncoding.DecodeString(secret); err == nil {
			_, key.password, _ = strings.Cut(string(plain), ":")
		}
	case !c.cfg.Renewed:
		key.Expiry = jwtExpiry(secret)
	}
	return key, nil
}

// mistakes are what people put where an API key belongs.
var mistakes = []struct {
	looks *regexp.Regexp
	what  string
}{
	{regexp.MustCompile(`^["'` + "`]|[\"'`" + `]$`), "it has quotes around it"},
	{regexp.MustCompile(`^\w+=[^=]`), "it begins with the name of a variable"},
	{regexp.MustCompile(`^[{[]`), "it is JSON"},
	{regexp.MustCompile(`^[<$]`), "it is a placeholder, and variables are not expanded"},
	{regexp.MustCompile(`(?i)^bearer\b`), "it begins with Bearer, which is added"},
}

// CheckKey refuses what cannot be an API key, because it is empty or could not
// be sent as it is. Its errors do not repeat the secret.
func CheckKey(secret string) error {
	if secret == "" {
		return errors.New("it is empty")
	}
	for _, mistake := range mistakes {
		if mistake.looks.MatchString(secret) {
			return errors.New(mistake.what)
		}
	}
	for _, r := range secret {
		if r <= ' ' || r > '~' {
			return errors.New("it has a blank, a control character or a character beyond ASCII in it")
		}
	}
	return nil
}

// jwtExpiry reads the exp claim of a JWT without verifying it. It returns zero
// for anything else.
func jwtExpiry(secret string) time.Time {
	parts := strings.Split(secret, ".")
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
