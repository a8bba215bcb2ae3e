package client

import (
	"errors"
	"net/url"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ParseURL parses the base URL of a control plane. Errors do not contain the text, which
// may include credentials.
func ParseURL(text string) (*url.URL, error) {
	const example = "https://example.truefoundry.cloud"
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is not a URL; it should look like " + example)
	}
	base := url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/"), RawPath: strings.TrimRight(u.RawPath, "/")}
	switch {
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", !utf8.ValidString(u.Host), !isPort(u.Port()):
		return nil, errors.New("must be absolute, with https:// or http://; it should look like " + example)
	case u.User != nil:
		return nil, errors.New("must not contain a user or a password; leave them out, as in " + example)
	case strings.ContainsFunc(u.Hostname(), notInHost):
		return nil, errors.New("has a character in its host that is not allowed in names and addresses; it should look like " + example)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("must not have a query or a fragment; leave them out, as in " + example)
	}
	return &base, nil
}

// notInHost reports whether r is an ASCII character that is not allowed in a host name
// or address.
func notInHost(r rune) bool {
	return r < utf8.RuneSelf && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._:%", r)
}

// isPort reports whether text is a port number or empty.
func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return text == "" || err == nil && port > 0
}

// ParseAPIPrefix parses the path of the API below the URL of a control plane. It returns
// NoAPIPrefix for an empty text. It is strict because requests to other paths may change
// something.
func ParseAPIPrefix(text string) (string, error) {
	prefix := strings.TrimRight(text, "/")
	if prefix == "" {
		return NoAPIPrefix, nil
	}
	if strings.HasPrefix(text, "/") && path.Clean(prefix) == prefix && !strings.ContainsFunc(prefix, notInPrefix) {
		return prefix, nil
	}
	return "", errors.New("must be empty or a plain path like " + DefaultAPIPrefix)
}

// notInPrefix reports whether r has a special meaning in URLs or is not printable ASCII.
func notInPrefix(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`?#%\`, r) }

// ControlPlane returns the name of the control plane at u: the URL without its scheme.
func ControlPlane(u *url.URL) string { return u.Host + u.EscapedPath() }
