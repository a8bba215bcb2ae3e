package targets

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"sync"

	"github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// connection is an http.RoundTripper made from a configuration when it is first
// needed: a file that is not there fails requests, and not the other targets.
type connection struct {
	config config.HTTPClientConfig

	mu      sync.Mutex
	made    http.RoundTripper
	retired bool
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
	a.of.closeIdle(false)
	return err
}

func (c *connection) transport() (http.RoundTripper, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made != nil {
		return c.made, nil
	}
	made, err := config.NewRoundTripperFromConfig(c.config, "truefoundry")
	if err != nil {
		return nil, unusable(err)
	}
	c.made = made
	return made, nil
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
		What:   "a file that the connection needs cannot be read: " + file.Error(),
		Advice: "put it there, or change the target's configuration",
	}
}

// CloseIdleConnections closes the connections that are not in use, and each of
// the others as soon as it is not.
func (c *connection) CloseIdleConnections() { c.closeIdle(true) }

// closeIdle closes what is idle, if c is of no use any more. An http.Transport
// forgets with its next request that it was told to.
func (c *connection) closeIdle(retire bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = c.retired || retire
	if i, ok := c.made.(interface{ CloseIdleConnections() }); ok && c.retired {
		i.CloseIdleConnections()
	}
}
