package faults_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

const (
	loopback = "127.0.0.1"
	// Nobody listens at another loopback address, and at the port of a server at
	// the first.
	nobody = "127.0.0.2"
)

// The beginnings of answers.
const (
	header = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	body   = `{"data":[{"id":"t0000"}`
)

// slack is more than what the sockets of a connection hold, in MiB.
const slack = 64

// The names in these tests are found while all is well.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, host string
		record     record
		logged     string
	}{
		{"a connection that is refused fails the listing", "refused.example", nobody, "connect: connection refused"},
		{"a host without an address fails the listing", "unknown.example", noSuchHost, "lookup unknown.example"},
		{"a name server that is out of order fails the listing", "broken.example", misbehaves, "lookup broken.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cp := startControlPlane(t)
			names.add(t, tt.host)
			e := startExporter(t, cp, oneByOne, "url: http://"+tt.host+cp.port())

			names.set(tt.host, tt.record)
			cp.closeConnections()
			s := e.expectFailure(client.ReasonConnection, tt.logged)
			s.expectRequests(0)
			s.expectRetries(2)

			names.set(tt.host, loopback)
			e.expectRecovery()
		})
	}

	t.Run("a name server that does not answer is left before the deadline", func(t *testing.T) {
		if testing.Short() {
			t.Skip("waits for deadlines")
		}
		t.Parallel()
		cp := startControlPlane(t)
		names.add(t, "silent.example")
		e := startExporter(t, cp, oneByOne, "url: http://silent.example"+cp.port())

		names.set("silent.example", noAnswer)
		cp.closeConnections()
		e.timeout = 2 * short // what is left for the last of three dials is not too short for a busy machine
		e.expectFailure(client.ReasonConnection, "lookup silent.example").expectRequests(0)

		names.set("silent.example", loopback)
		e.expectRecovery()
	})
}

// dropPackets makes an address one at which no connection can be made, and that nobody
// refuses either: its listener has no room for more.
func dropPackets(t *testing.T, address string) {
	t.Helper()
	at := netip.MustParseAddrPort(address)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for { // until there is no room left
		conn, err := (&net.Dialer{Timeout: 200 * time.Millisecond}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			return
		}
		t.Cleanup(func() { conn.Close() })
	}
}

func TestAddressesThatDropPackets(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for deadlines")
	}
	t.Parallel()
	t.Run("no connection by the deadline is no slow control plane", func(t *testing.T) {
		t.Parallel()
		cp := startControlPlane(t)
		names.add(t, "dropped.example")
		dropPackets(t, nobody+cp.port())
		e := startExporter(t, cp, oneByOne, "url: http://dropped.example"+cp.port())

		names.set("dropped.example", nobody)
		cp.closeConnections()
		e.timeout = long // half of it for the dial, the name included
		s := e.expectFailure(client.ReasonTimeout, "no connection to dropped.example"+cp.port())
		s.expectPage("no connection to dropped.example"+cp.port(), "check the firewall, the NetworkPolicy, the proxy")
		metricstest.Absent(t, s.log[0]+s.page, "scrape_timeout")
		s.expectRequests(0)

		names.set("dropped.example", loopback)
		e.expectRecovery()
	})

	t.Run("one of two addresses that drops packets costs nothing", func(t *testing.T) {
		t.Parallel()
		cp := startControlPlane(t)
		names.add(t, "two.example")
		dropPackets(t, nobody+cp.port())
		e := startExporter(t, cp, oneByOne, "url: http://two.example"+cp.port())

		names.set("two.example", nobody+" "+loopback)
		cp.closeConnections()
		e.timeout = long // at most half of it for a dial, and half of that for each address
		e.expectHealthy().expectRetries(0)
	})

	t.Run("a control plane that moves is back with the next scrape", func(t *testing.T) {
		t.Parallel()
		cp := startControlPlane(t)
		names.add(t, "moving.example")
		e := startExporter(t, cp, oneByOne, "url: http://moving.example"+cp.port())

		there, err := new(net.ListenConfig).Listen(t.Context(), "tcp", nobody+cp.port())
		if err != nil {
			t.Fatal(err)
		}
		moved := newControlPlane(t, faultyTokens)
		moved.server.Listener.Close()
		moved.server.Listener = there
		moved.serve(t)
		names.set("moving.example", nobody)
		cp.letConnectionsDie()
		idle()
		e.timeout = long
		e.expectHealthy().expectRequests(0)
		if len(moved.Requests()) == 0 {
			t.Error("there are no requests where the control plane is now")
		}
	})
}

// idle lets time pass in which the connections are idle for so long that they may be
// dead.
func idle() { <-time.After(600 * time.Millisecond) }

// A connection that died without notice costs no scrape, and keeps no control plane down.
func TestConnectionsThatDieSilently(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for deadlines")
	}
	t.Parallel()
	authority := faults.NewAuthority(t)
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		serve := func(t *testing.T) (*controlPlane, *exporter) {
			t.Helper()
			cp := newControlPlane(t, faultyTokens)
			cp.server.EnableHTTP2 = http2
			cp.serveTLS(t, authority.Config())
			e := startExporter(t, cp, oneByOne, "url: "+cp.URL, trusting(t, authority))
			return cp, e
		}
		t.Run("a connection of "+name+" that died while it was idle costs nothing", func(t *testing.T) {
			t.Parallel()
			cp, e := serve(t)
			cp.letConnectionsDie()
			idle()
			e.timeout = long
			e.expectHealthy().expectRetries(0)
		})
		t.Run("after a timeout the next scrape has a new connection of "+name, func(t *testing.T) {
			t.Parallel()
			cp, e := serve(t)
			cp.closeConnections() // a new one is given all the time
			cp.answers(faults.Hang())
			e.timeout = short
			s := e.scrape()
			s.expectFailed(client.ReasonTimeout)
			s.expectLog("reason=timeout", "no response from 127.0.0.1:")
			s.expectRequests(1)

			cp.answers(nil)
			cp.letConnectionsDie()
			e.timeout = 2 * short // too short for HTTP/2 to find out by itself
			s = e.scrape()
			s.expectSameTokens(e.before)
			s.expectLog(`msg="listing works again"`)
			s.expectRetries(0)
		})
	}
}

func TestConnectionsThatBreak(t *testing.T) {
	t.Parallel()
	expectFailures(t, []badAnswer{
		{name: "a reset before the header fails the listing", answer: faults.Reset(), reason: client.ReasonConnection, logged: "the connection failed", retries: 2},
		{name: "a reset within the header fails the listing", answer: faults.ResetAfter(header), reason: client.ReasonConnection, logged: "the connection failed", requests: 3, retries: 2},
		{name: "a reset within the body fails the listing", answer: faults.ResetAfter(header + "\r\n" + body), reason: client.ReasonConnection, logged: "the connection failed", requests: 3, retries: 2},
		{name: "a connection that is closed before the header fails the listing", answer: faults.CloseAfter(""), reason: client.ReasonConnection, logged: "EOF", retries: 2},
		{name: "a connection that is closed within the header fails the listing", answer: faults.CloseAfter(header), reason: client.ReasonConnection, logged: "unexpected EOF", requests: 3, retries: 2},
		{name: "a body shorter than its Content-Length fails the listing", answer: faults.CloseAfter(header + "Content-Length: 100\r\n\r\n" + body + "]}"), reason: client.ReasonConnection, logged: "unexpected EOF", requests: 3, retries: 2},
	})
}

func TestAnswersThatTakeForEver(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for deadlines")
	}
	t.Parallel()
	for _, tt := range []struct {
		name     string
		answer   controlplanetest.Fault
		requests int // at least
		logged   string
		page     string
	}{
		{"a header that never comes is left at the deadline", faults.Hang(), 1, "no response from 127.0.0.1:", "look at the logs of the control plane, and of what is between"},
		{"a header that never comes for a later page is left at the deadline", faults.At(pageSize, faults.Hang()), 2, "no response from 127.0.0.1:", "look at the logs of the control plane, and of what is between"},
		{"a body that drips a byte a second is left at the deadline", faults.Drip(body+"]}", time.Second), 1, "the list did not arrive within the scrape's deadline", "raise scrape_timeout and --truefoundry.timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.answers(tt.answer)
			e.timeout = short
			s := e.expectFailure(client.ReasonTimeout, tt.logged)
			s.expectPage(tt.page)
			s.expectRetries(0)
			if s.requests < tt.requests {
				t.Errorf("%d requests, want at least %d", s.requests, tt.requests)
			}
			e.controlPlane.answers(nil)
			e.expectRecovery()
		})
	}
}

func TestHeadersWithoutAnEnd(t *testing.T) {
	t.Parallel()
	field := "X-A: " + strings.Repeat("a", 1000) + "\r\n"
	for name, answer := range map[string]controlplanetest.Fault{
		"a header without an end is cut off":      faults.Endless("HTTP/1.1 200 OK\r\n", field),
		"a header that repeats itself is cut off": faults.Endless("", "HTTP/1.1 103 Early Hints\r\n"+field+"\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.answers(answer)
			s := e.expectFailure(client.ReasonConnection, "headers exceeded")
			s.expectRequests(3)
			s.expectAtMost("sent", s.sent, 3*(10+slack))
			e.controlPlane.answers(nil)
			e.expectRecovery()
		})
	}
}
