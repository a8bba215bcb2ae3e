package controlplanetest

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// InMemory serves a handler in memory, for use in a synctest bubble. The transport sends
// all requests to the handler. The caller must call stop.
func InMemory(handler http.Handler) (transport *http.Transport, stop func()) {
	return ServeInMemory(&http.Server{Handler: handler, ReadHeaderTimeout: time.Minute})
}

// ServeInMemory is like InMemory for a server.
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

// pipeListener is a net.Listener for in-memory connections.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// dial connects to the listener.
func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
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
