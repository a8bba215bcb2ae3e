package targets

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// connection is an http.RoundTripper made from a configuration when it is first
// needed: a file that is not there fails requests, and not the other targets.
type connection struct {
	config config.HTTPClientConfig

	made    atomic.Pointer[http.RoundTripper]
	retired atomic.Bool
}

func newConnection(cfg config.HTTPClientConfig) *connection {
	// The client sends the credentials: it knows them for a whole listing, and
	// keeps them out of errors.
	cfg.Authorization, cfg.BasicAuth, cfg.OAuth2 = nil, nil, nil
	return &connection{config: cfg}
}

// RoundTrip implements http.RoundTripper. Where it is the configuration that
// does not work, the error is of type *client.Error.
func (c *connection) RoundTrip(req *http.Request) (*http.Response, error) {
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		// What it was dialling for this request may become idle yet.
		c.closeRetired()
		// The files are read anew for each request, and may have become wrong.
		if file := unreadable(err); file != nil {
			return nil, file
		}
		if _, wrong := config.NewTLSConfig(&c.config.TLSConfig); wrong != nil {
			return nil, unusable(wrong)
		}
		return nil, err
	}
	resp.Body = &answer{resp.Body, c}
	return resp, nil
}

// answer is the body of an answer of a connection.
type answer struct {
	io.ReadCloser
	of *connection
}

// Close implements io.Closer.
func (a *answer) Close() error {
	err := a.ReadCloser.Close()
	a.of.closeRetired()
	return err
}

// transport holds no lock while it reads files: to read may take for ever.
func (c *connection) transport() (http.RoundTripper, error) {
	for _, file := range c.files() {
		if err := regular(file); err != nil {
			return nil, unreadable(err)
		}
	}
	if made := c.made.Load(); made != nil {
		return *made, nil
	}
	made, err := config.NewRoundTripperFromConfig(c.config, "truefoundry")
	if err != nil {
		return nil, unusable(err)
	}
	if !c.made.CompareAndSwap(nil, &made) {
		return *c.made.Load(), nil
	}
	return made, nil
}

// files returns those that the connection needs.
func (c *connection) files() []string {
	files := []string{c.config.TLSConfig.CAFile, c.config.TLSConfig.CertFile, c.config.TLSConfig.KeyFile}
	if c.config.HTTPHeaders != nil {
		for _, header := range c.config.HTTPHeaders.Headers {
			files = append(files, header.Files...)
		}
	}
	return slices.DeleteFunc(files, func(file string) bool { return file == "" })
}

// proxies are the variables of the environment that name one.
var proxies = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"}

// secrets returns those that a proxy is sent, who may repeat them, as does the
// error of a URL that is wrong. Those of HTTPHeaders make the client Discreet.
func (c *connection) secrets() (secrets []string) {
	if proxy := c.config.ProxyURL.URL; proxy != nil {
		password, _ := proxy.User.Password()
		secrets = append(secrets, password)
	}
	if c.config.ProxyFromEnvironment {
		for _, name := range proxies {
			secrets = append(secrets, passwords(os.Getenv(name))...)
		}
	}
	for _, values := range c.config.ProxyConnectHeader {
		for _, value := range values {
			secrets = append(secrets, string(value))
		}
	}
	return secrets
}

// passwords returns the password of a URL that may be wrong, as it stands there
// and as it is sent.
func passwords(address string) []string {
	user := address[:max(0, strings.LastIndex(address, "@"))]
	if _, behind, found := strings.Cut(user, "://"); found {
		user = behind
	}
	_, password, _ := strings.Cut(user, ":")
	sent, _ := url.PathUnescape(password)
	return []string{password, sent}
}

// unusable is the error of a TLS configuration that does not work.
func unusable(err error) error {
	if file := unreadable(err); file != nil {
		return file
	}
	return &client.Error{Reason: client.ReasonTLS, What: "tls_config cannot be used: " + err.Error(), Advice: "correct what it names"}
}

// unreadable returns the error of a file of the configuration that cannot be
// read, nil where err is no such error.
func unreadable(err error) error {
	var file *fs.PathError
	if !errors.As(err, &file) {
		return nil
	}
	return &client.Error{
		Reason: client.ReasonCredentials,
		What:   "a file that the connection needs cannot be read: " + file.Path + ": " + file.Err.Error(),
		Advice: "put it there, or change the target's configuration",
	}
}

// CloseIdleConnections closes the connections that are not in use, and each of
// the others as soon as it is not.
func (c *connection) CloseIdleConnections() {
	c.retired.Store(true)
	c.closeRetired()
}

// closeRetired closes what is idle, if c is of no use any more. An http.Transport
// forgets with its next request that it was told to.
func (c *connection) closeRetired() {
	if made := c.made.Load(); made != nil && c.retired.Load() {
		if i, ok := (*made).(interface{ CloseIdleConnections() }); ok {
			i.CloseIdleConnections()
		}
	}
}
