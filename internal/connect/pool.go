package connect

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	commoncfg "github.com/prometheus/common/config"

	"github.com/truefoundry-community/truefoundry_exporter/client"
)

// pool is a connection pool. A transport replaces its pool if the connections may be
// dead.
type pool struct {
	http.RoundTripper
	retired atomic.Bool
}

// newPool does the same as NewRoundTripperFromConfig of prometheus/common, but with other
// limits for dials and idle connections, and with errors that contain a proxy's response
// to CONNECT.
func (t *transport) newPool() (*pool, error) {
	newRoundTripper := func(cfg *tls.Config) (http.RoundTripper, error) {
		transport := &http.Transport{
			Proxy:                  t.proxy,
			ProxyConnectHeader:     t.config.GetProxyConnectHeader(),
			OnProxyConnectResponse: checkConnect,
			DialContext:            dial,
			TLSClientConfig:        cfg,
			TLSHandshakeTimeout:    dialTimeout,
			DisableCompression:     true, // the client decompresses with a limit
			MaxIdleConnsPerHost:    1000,
			IdleConnTimeout:        5 * time.Minute,
			Protocols:              new(http.Protocols),
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: dialTimeout, PingTimeout: dialTimeout / 2},
		}
		transport.Protocols.SetHTTP1(true)
		transport.Protocols.SetHTTP2(t.config.EnableHTTP2)
		if t.config.HTTPHeaders == nil {
			return transport, nil
		}
		return commoncfg.NewHeadersRoundTripper(t.config.HTTPHeaders, transport), nil
	}
	cfg := &t.config.TLSConfig
	tlsConfig, err := commoncfg.NewTLSConfig(cfg)
	if err != nil {
		return nil, err
	}
	rt, err := commoncfg.NewTLSRoundTripper(tlsConfig, commoncfg.TLSRoundTripperSettings{
		CA:   newSecretReader(commoncfg.Secret(cfg.CA), cfg.CAFile),
		Cert: newSecretReader(commoncfg.Secret(cfg.Cert), cfg.CertFile),
		Key:  newSecretReader(cfg.Key, cfg.KeyFile),
	}, newRoundTripper)
	if err != nil {
		return nil, err
	}
	return &pool{RoundTripper: rt}, nil
}

// newSecretReader returns a reader of an inline secret or a file, or nil if there is
// neither.
func newSecretReader(inline commoncfg.Secret, file string) commoncfg.SecretReader {
	switch {
	case inline != "":
		return commoncfg.NewInlineSecret(string(inline))
	case file != "":
		return commoncfg.NewFileSecret(file)
	}
	return nil
}

// checkConnect returns an error if a proxy refused to connect.
func checkConnect(_ context.Context, proxy *url.URL, req *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var secrets []string
	for _, values := range req.Header {
		secrets = append(secrets, values...)
	}
	return client.ProxyError(proxy.Host, resp, secrets...)
}

// dialTimeout is the maximum duration of a dial.
const dialTimeout = 10 * time.Second

// dialTimeoutKey is the context key of the dial timeout of a request.
type dialTimeoutKey struct{}

// withDialTimeout limits dials to half of the time until the deadline of ctx. The
// transport dials with the values of ctx but without its deadline, since a connection
// that is late for one request may serve the next.
func withDialTimeout(ctx context.Context) context.Context {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithValue(ctx, dialTimeoutKey{}, time.Until(deadline)/2)
	}
	return ctx
}

// dial connects to one of the addresses of a host. If there are several, the timeout is
// split between them.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	if timeout, ok := ctx.Value(dialTimeoutKey{}).(time.Duration); ok {
		dialer.Timeout = max(min(timeout, dialTimeout), time.Millisecond) // 0 means no timeout
	}
	return dialer.DialContext(ctx, network, address)
}

// minIdleTime is the idle time after which a connection may have died silently. It is
// longer than the time between the pages of a list.
const minIdleTime = 500 * time.Millisecond

// attempt is an attempt to send a request.
type attempt struct {
	cancel context.CancelFunc

	// silent is closed if a request on a connection that was idle gets no response
	// within half of the time until its deadline.
	silent chan struct{}
	// done is closed when there is a response or an error.
	done chan struct{}
	resp *http.Response
	err  error
}

// send starts an attempt to send a request. It does not wait for the response.
func (t *transport) send(p *pool, req *http.Request) *attempt {
	ctx, cancel := context.WithCancel(withDialTimeout(req.Context()))
	a := &attempt{cancel: cancel, silent: make(chan struct{}), done: make(chan struct{})}
	end := sync.OnceFunc(func() {
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			t.replace(p) // the connections may be dead
		}
		cancel()
		// A connection that was dialled for this request may have become idle.
		p.closeIdleIfRetired()
	})
	var timer *time.Timer
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if deadline, ok := ctx.Deadline(); ok && info.IdleTime >= minIdleTime && timer == nil {
			timer = time.AfterFunc(time.Until(deadline)/2, func() { close(a.silent) })
		}
	}})
	go func() {
		defer close(a.done)
		a.resp, a.err = p.RoundTrip(req.WithContext(ctx)) //nolint:bodyclose // the caller closes it
		if timer != nil {
			timer.Stop()
		}
		if a.err != nil {
			end()
			return
		}
		a.resp.Body = &body{ReadCloser: a.resp.Body, onClose: end}
	}()
	return a
}

// abandon cancels the request and discards its response.
func (a *attempt) abandon() {
	a.cancel()
	go func() {
		<-a.done
		if a.err == nil {
			a.resp.Body.Close()
		}
	}()
}

// body is the body of a response. It calls onClose when it is closed.
type body struct {
	io.ReadCloser
	onClose func()
}

// Close implements io.Closer.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.onClose()
	return err
}

// retire closes all connections as soon as they are idle.
func (p *pool) retire() {
	p.retired.Store(true)
	p.closeIdleIfRetired()
}

// closeIdleIfRetired closes idle connections if the pool is retired. It has to be called
// after each request, since an http.Transport only closes those that are idle already.
func (p *pool) closeIdleIfRetired() {
	if p.retired.Load() {
		closer := http.Client{Transport: p.RoundTripper}
		closer.CloseIdleConnections()
	}
}
