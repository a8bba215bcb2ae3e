package controlplanetest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// InMemory serves the handler without sockets, as a synctest bubble needs it,
// to all requests that go through the transport. The caller stops it.
func InMemory(handler http.Handler) (transport *http.Transport, stop func()) {
	return ServeInMemory(&http.Server{Handler: handler, ReadHeaderTimeout: time.Minute})
}

// ServeInMemory is InMemory for a server.
func ServeInMemory(server *http.Server) (transport *http.Transport, stop func()) {
	listener := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	served := make(chan struct{})
	go func() {
		server.Serve(listener)
		close(served)
	}()
	transport = &http.Transport{DialContext: listener.dial}
	return transport, func() {
		transport.CloseIdleConnections()
		server.Close()
		<-served
	}
}

// pipeListener accepts the connections that its dial makes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (*pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "in memory", Net: "pipe"} }
