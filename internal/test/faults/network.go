package faults

import (
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Listener is a listener whose connections can be killed.
type Listener struct {
	net.Listener
	connections, sent atomic.Int64
	// generation is the number of calls of KillConnections.
	generation atomic.Int64
}

// WrapListener makes a server that is not started yet use a Listener.
func WrapListener(server *httptest.Server) *Listener {
	l := &Listener{Listener: server.Listener}
	server.Listener = l
	return l
}

// KillConnections makes the current connections drop all data without closing them, like a
// load balancer whose backend was replaced.
func (l *Listener) KillConnections() { l.generation.Add(1) }

// Connections returns the number of connections so far.
func (l *Listener) Connections() int64 { return l.connections.Load() }

// Sent returns the number of bytes that were sent so far.
func (l *Listener) Sent() int64 { return l.sent.Load() }

// Accept implements net.Listener.
func (l *Listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.connections.Add(1)
	return &conn{accepted.(*net.TCPConn), l, l.generation.Load()}, nil
}

type conn struct {
	*net.TCPConn
	listener   *Listener
	generation int64
}

func (c *conn) isDead() bool { return c.listener.generation.Load() != c.generation }

// Read implements io.Reader. A dead connection drops what it receives.
func (c *conn) Read(p []byte) (int, error) {
	for {
		n, err := c.TCPConn.Read(p)
		if err != nil || !c.isDead() {
			return n, err
		}
	}
}

// Write implements io.Writer. A dead connection drops what it should send.
func (c *conn) Write(p []byte) (int, error) {
	if c.isDead() {
		return len(p), nil
	}
	n, err := c.TCPConn.Write(p)
	c.listener.sent.Add(int64(n))
	return n, err
}

// ReadFrom implements io.ReaderFrom.
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	c.listener.sent.Add(n)
	return n, err
}

// DropPackets makes an IPv4 address drop connection requests until the test ends: the
// backlog of its listener is full. It chooses a port if that is 0, and returns the address.
func DropPackets(t testing.TB, address string) string {
	t.Helper()
	at := netip.MustParseAddrPort(address)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address = netip.AddrPortFrom(at.Addr(), uint16(name.(*syscall.SockaddrInet4).Port)).String()
	for { // until the backlog is full
		conn, err := (&net.Dialer{Timeout: 200 * time.Millisecond}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
}
