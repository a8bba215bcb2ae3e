package connect

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"slices"
	"sync/atomic"

	commoncfg "github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// transport is an http.RoundTripper that is made from its configuration when it is
// first needed: a file that is missing fails requests, and not other targets.
type transport struct {
	config commoncfg.HTTPClientConfig

	made    atomic.Pointer[http.RoundTripper]
	retired atomic.Bool
}

func newTransport(cfg commoncfg.HTTPClientConfig) *transport {
	// The client sends the credentials.
	cfg.Authorization, cfg.BasicAuth, cfg.OAuth2 = nil, nil, nil
	return &transport{config: cfg}
}

// RoundTrip implements http.RoundTripper. If the configuration is what fails, the
// error is of type *client.Error.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	made, err := t.get()
	if err != nil {
		return nil, err
	}
	resp, err := made.RoundTrip(req)
	if err != nil {
		// A connection that was dialled for this request may become idle later.
		t.closeIdleIfRetired()
		// The files are read again for each request, and may have become unusable.
		if file := fileError(err); file != nil {
			return nil, file
		}
		if _, tlsErr := commoncfg.NewTLSConfig(&t.config.TLSConfig); tlsErr != nil {
			return nil, tlsConfigError(tlsErr)
		}
		return nil, err
	}
	resp.Body = &body{resp.Body, t}
	return resp, nil
}

// body is the body of a response.
type body struct {
	io.ReadCloser
	transport *transport
}

// Close implements io.Closer.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.transport.closeIdleIfRetired()
	return err
}

// get makes the RoundTripper. It holds no lock while it reads files, which may take
// for ever.
func (t *transport) get() (http.RoundTripper, error) {
	for _, file := range t.files() {
		if err := checkRegular(file); err != nil {
			return nil, fileError(err)
		}
	}
	if made := t.made.Load(); made != nil {
		return *made, nil
	}
	made, err := commoncfg.NewRoundTripperFromConfig(t.config, "truefoundry")
	if err != nil {
		return nil, tlsConfigError(err)
	}
	if !t.made.CompareAndSwap(nil, &made) {
		return *t.made.Load(), nil
	}
	return made, nil
}

// check returns what is wrong with the files of the configuration.
func (t *transport) check() (problems []error) {
	for _, file := range t.files() {
		if err := checkReadable(file); err != nil {
			problems = append(problems, fileError(err))
		}
	}
	if len(problems) > 0 {
		return problems
	}
	if _, err := t.get(); err != nil {
		return []error{err}
	}
	return nil
}

// files returns the files of the configuration.
func (t *transport) files() []string {
	files := []string{t.config.TLSConfig.CAFile, t.config.TLSConfig.CertFile, t.config.TLSConfig.KeyFile}
	if t.config.HTTPHeaders != nil {
		for _, header := range t.config.HTTPHeaders.Headers {
			files = append(files, header.Files...)
		}
	}
	return slices.DeleteFunc(files, func(file string) bool { return file == "" })
}

// tlsConfigError returns the error for a TLS configuration that cannot be used.
func tlsConfigError(err error) error {
	if file := fileError(err); file != nil {
		return file
	}
	return &client.Error{Reason: client.ReasonTLS, Summary: "tls_config cannot be used: " + err.Error(), Advice: "correct what it names"}
}

// fileError returns the error for a file that cannot be read, nil if err is another
// one.
func fileError(err error) error {
	file, ok := errors.AsType[*fs.PathError](err)
	if !ok {
		return nil
	}
	return &client.Error{
		Reason:  client.ReasonCredentials,
		Summary: "a file that the connection needs cannot be read: " + file.Path + ": " + file.Err.Error(),
		Advice:  "put it there, or change the target's configuration",
	}
}

// retire closes the connections that are idle, and each of the others as soon as it
// is.
func (t *transport) retire() {
	t.retired.Store(true)
	t.closeIdleIfRetired()
}

// closeIdleIfRetired closes idle connections. An http.Transport forgets that it was
// told to with its next request.
func (t *transport) closeIdleIfRetired() {
	if made := t.made.Load(); made != nil && t.retired.Load() {
		closer := http.Client{Transport: *made}
		closer.CloseIdleConnections()
	}
}
