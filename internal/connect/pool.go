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

// pool is the connections of a transport, which are used again. It is replaced when
// they may be dead.
type pool struct {
	http.RoundTripper
	retired atomic.Bool
}

// newPool is NewRoundTripperFromConfig of prometheus/common for what a target may
// configure, with limits of its own for dials and idle connections, and with errors
// that say what a proxy responded to CONNECT.
func (t *transport) newPool() (*pool, error) {
	newRoundTripper := func(cfg *tls.Config) (http.RoundTripper, error) {
		transport := &http.Transport{
			Proxy:                  t.proxy,
			ProxyConnectHeader:     t.config.GetProxyConnectHeader(),
			OnProxyConnectResponse: checkConnect,
			DialContext:            dial,
			TLSClientConfig:        cfg,
			TLSHandshakeTimeout:    maxDial,
			DisableCompression:     true, // the client decompresses, with a limit
			MaxIdleConnsPerHost:    1000,
			IdleConnTimeout:        5 * time.Minute,
			Protocols:              new(http.Protocols),
			HTTP2:                  &http.HTTP2Config{SendPingTimeout: maxDial, PingTimeout: maxDial / 2},
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
	var made http.RoundTripper
	if cfg.CAFile == "" && cfg.CertFile == "" && cfg.KeyFile == "" {
		made, err = newRoundTripper(tlsConfig)
	} else {
		made, err = commoncfg.NewTLSRoundTripper(tlsConfig, commoncfg.TLSRoundTripperSettings{
			CA:   secretOf(commoncfg.Secret(cfg.CA), cfg.CAFile),
			Cert: secretOf(commoncfg.Secret(cfg.Cert), cfg.CertFile),
			Key:  secretOf(cfg.Key, cfg.KeyFile),
		}, newRoundTripper)
	}
	if err != nil {
		return nil, err
	}
	return &pool{RoundTripper: made}, nil
}

// secretOf returns what is inline or in a file, nil if there is neither.
func secretOf(inline commoncfg.Secret, file string) commoncfg.SecretReader {
	switch {
	case inline != "":
		return commoncfg.NewInlineSecret(string(inline))
	case file != "":
		return commoncfg.NewFileSecret(file)
	}
	return nil
}

// checkConnect returns an error for a proxy that does not connect.
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

// maxDial is the longest time that it may take to connect to a server.
const maxDial = 10 * time.Second

// dialLimit is the key of the time that a request leaves for a dial.
type dialLimit struct{}

// withDialLimit leaves half of the time until ctx's deadline for a dial. The transport
// dials with ctx's values, but without its deadline: a connection that comes too late
// for one request may serve the next.
func withDialLimit(ctx context.Context) context.Context {
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithValue(ctx, dialLimit{}, time.Until(deadline)/2)
	}
	return ctx
}

// dial connects to one of the addresses of a host. If a host has several, the time is
// split between them.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: maxDial}
	if limit, ok := ctx.Value(dialLimit{}).(time.Duration); ok {
		dialer.Timeout = max(min(limit, maxDial), time.Millisecond) // 0 would be no limit
	}
	return dialer.DialContext(ctx, network, address)
}

// minIdle is the idle time from which on a connection may have died without notice.
// It is longer than the time between the pages of a list.
const minIdle = 500 * time.Millisecond

// exchange is a request that was sent, and its response.
type exchange struct {
	cancel context.CancelFunc

	// silent is closed if the request was sent on a connection that was idle and gets
	// no response for half of its time.
	silent chan struct{}
	// done is closed when there is a response or an error.
	done chan struct{}
	resp *http.Response
	err  error
}

// send sends a request. It does not wait for the response.
func (t *transport) send(p *pool, req *http.Request) *exchange {
	ctx, cancel := context.WithCancel(withDialLimit(req.Context()))
	e := &exchange{cancel: cancel, silent: make(chan struct{}), done: make(chan struct{})}
	end := sync.OnceFunc(func() {
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			t.replace(p) // the connections may be dead
		}
		cancel()
		// A connection that was dialled for this request may become idle later.
		p.closeIdleIfRetired()
	})
	var timer *time.Timer
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if deadline, ok := ctx.Deadline(); ok && info.IdleTime >= minIdle && timer == nil {
			timer = time.AfterFunc(time.Until(deadline)/2, func() { close(e.silent) })
		}
	}})
	go func() {
		defer close(e.done)
		e.resp, e.err = p.RoundTrip(req.WithContext(ctx)) //nolint:bodyclose // whoever uses the response closes it
		if timer != nil {
			timer.Stop()
		}
		if e.err != nil {
			end()
			return
		}
		e.resp.Body = &body{ReadCloser: e.resp.Body, closed: end}
	}()
	return e
}

// abandon cancels the request, whose response is of no use any more.
func (e *exchange) abandon() {
	e.cancel()
	go func() {
		<-e.done
		if e.err == nil {
			e.resp.Body.Close()
		}
	}()
}

// body is the body of a response.
type body struct {
	io.ReadCloser
	closed func()
}

// Close implements io.Closer.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.closed()
	return err
}

// retire closes the connections that are idle, and each of the others as soon as it
// is.
func (p *pool) retire() {
	p.retired.Store(true)
	p.closeIdleIfRetired()
}

// closeIdleIfRetired closes idle connections. An http.Transport forgets that it was
// told to with its next request.
func (p *pool) closeIdleIfRetired() {
	if p.retired.Load() {
		closer := http.Client{Transport: p.RoundTripper}
		closer.CloseIdleConnections()
	}
}
