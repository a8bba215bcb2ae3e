package connect

import (
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"

	commoncfg "github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// transport is an http.RoundTripper that is made from its configuration when it is
// first needed: a file that is missing fails requests, and not other targets.
type transport struct {
	config commoncfg.HTTPClientConfig
	proxy  func(*http.Request) (*url.URL, error)

	current atomic.Pointer[pool]
	retired atomic.Bool
}

func newTransport(cfg commoncfg.HTTPClientConfig) *transport {
	return &transport{config: cfg, proxy: cfg.Proxy()}
}

// RoundTrip implements http.RoundTripper. If the configuration is what fails, the
// error is of type *client.Error.
//
// A connection may have died without notice while it was idle. So if a request on such
// a connection gets no response within half of its time, it is sent again on a new
// connection, and the response that comes first counts.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	p, err := t.pool()
	if err != nil {
		return nil, err
	}
	first := t.send(p, req)
	select {
	case <-first.done:
		return t.finish(first)
	case <-first.silent:
	}
	t.replace(p)
	fresh, err := t.pool()
	if err != nil {
		<-first.done
		return t.finish(first)
	}
	winner, loser := first, t.send(fresh, req)
	select {
	case <-winner.done:
	case <-loser.done:
		winner, loser = loser, winner
	}
	if winner.err != nil {
		<-loser.done
		return t.finish(loser)
	}
	loser.abandon()
	return t.finish(winner)
}

// finish returns the outcome of a request.
func (t *transport) finish(e *exchange) (*http.Response, error) {
	if e.err == nil {
		return e.resp, nil
	}
	// The files are read again for each request, and may have become unusable.
	if file := fileError(e.err); file != nil {
		return nil, file
	}
	if _, tlsErr := commoncfg.NewTLSConfig(&t.config.TLSConfig); tlsErr != nil {
		return nil, tlsConfigError(tlsErr)
	}
	return nil, e.err
}

// pool returns the connections to use. It holds no lock while it reads files, which
// may take for ever.
func (t *transport) pool() (*pool, error) {
	for _, file := range t.files() {
		if err := checkRegular(file); err != nil {
			return nil, fileError(err)
		}
	}
	if p := t.current.Load(); p != nil {
		return p, nil
	}
	p, err := t.newPool()
	if err != nil {
		return nil, tlsConfigError(err)
	}
	if !t.current.CompareAndSwap(nil, p) {
		return t.pool()
	}
	if t.retired.Load() {
		p.retire()
	}
	return p, nil
}

// replace makes requests use new connections from now on.
func (t *transport) replace(p *pool) {
	t.current.CompareAndSwap(p, nil)
	p.retire()
}

// retire closes the connections that are idle, and each of the others as soon as it
// is.
func (t *transport) retire() {
	t.retired.Store(true)
	if p := t.current.Load(); p != nil {
		p.retire()
	}
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
	if _, err := t.pool(); err != nil {
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
