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

// transport is an http.RoundTripper. It reads the files of its configuration with each
// request, so that a missing file fails only the requests that need it.
type transport struct {
	config commoncfg.HTTPClientConfig
	proxy  func(*http.Request) (*url.URL, error)

	current atomic.Pointer[pool]
	retired atomic.Bool
}

func newTransport(cfg commoncfg.HTTPClientConfig) *transport {
	return &transport{config: cfg, proxy: cfg.Proxy()}
}

// RoundTrip implements http.RoundTripper. Errors of the configuration are of type
// *client.Error.
//
// A connection may have died silently while it was idle. If a request on such a
// connection gets no response within half of the time until its deadline, RoundTrip sends
// it again on a new connection and returns the response that arrives first.
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

// finish returns the response or the error of an attempt.
func (t *transport) finish(a *attempt) (*http.Response, error) {
	if a.err == nil {
		return a.resp, nil
	}
	// The files may have become unusable.
	if file := fileError(a.err); file != nil {
		return nil, file
	}
	if _, tlsErr := commoncfg.NewTLSConfig(&t.config.TLSConfig); tlsErr != nil {
		return nil, tlsConfigError(tlsErr)
	}
	return nil, a.err
}

// pool returns the current connection pool. It reads files without a lock, since that
// may block for ever.
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

// replace replaces the connection pool p by a new one.
func (t *transport) replace(p *pool) {
	t.current.CompareAndSwap(p, nil)
	p.retire()
}

// retire closes all connections as soon as they are idle.
func (t *transport) retire() {
	t.retired.Store(true)
	if p := t.current.Load(); p != nil {
		p.retire()
	}
}

// check returns the errors of the configuration and its files.
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

// tlsConfigError returns an error about the TLS configuration.
func tlsConfigError(err error) error {
	if file := fileError(err); file != nil {
		return file
	}
	return &client.Error{Reason: client.ReasonTLS, Summary: "tls_config cannot be used: " + err.Error(), Advice: "correct what it names"}
}

// fileError returns an error about a file that cannot be read, or nil if err is not about
// a file.
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
