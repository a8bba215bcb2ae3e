package faults_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/metricstest"
)

const (
	loopback = "127.0.0.1"
	// At this address, the ports of the control planes are closed.
	otherLoopback = "127.0.0.2"
)

// The beginnings of responses.
const (
	header = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	body   = `{"data":[{"id":"t0000"}`
)

// socketBuffers is more than the size of the buffers of a connection, in MiB.
const socketBuffers = 64

func TestHostNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, host string
		record     record
		logged     string
	}{
		{"a refused connection fails the listing", "refused.example", otherLoopback, "connect: connection refused"},
		{"a host without an address fails the listing", "unknown.example", noSuchHost, "lookup unknown.example"},
		{"an error of the DNS server fails the listing", "broken.example", serverFailure, "lookup broken.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cp := startControlPlane(t)
			dns.add(t, tt.host)
			e := startExporter(t, cp, sequential, "url: http://"+tt.host+cp.port())

			dns.set(tt.host, tt.record)
			cp.closeConnections()
			s := e.expectFailure(client.ReasonConnection, tt.logged)
			s.expectRequests(0)
			s.expectRetries(2)

			dns.set(tt.host, loopback)
			e.expectRecovery()
		})
	}

	t.Run("a DNS server that does not respond fails the listing before the deadline", func(t *testing.T) {
		if testing.Short() {
			t.Skip("waits for deadlines")
		}
		t.Parallel()
		cp := startControlPlane(t)
		dns.add(t, "silent.example")
		e := startExporter(t, cp, sequential, "url: http://silent.example"+cp.port())

		dns.set("silent.example", noResponse)
		cp.closeConnections()
		e.timeout = 2 * shortTimeout // on a busy machine, the last of three dials needs the time
		e.expectFailure(client.ReasonConnection, "lookup silent.example").expectRequests(0)

		dns.set("silent.example", loopback)
		e.expectRecovery()
	})
}

func TestAddressesThatDropPackets(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for deadlines")
	}
	t.Parallel()
	t.Run("the failure is not that of a slow control plane", func(t *testing.T) {
		t.Parallel()
		cp := startControlPlane(t)
		dns.add(t, "dropped.example")
		faults.DropPackets(t, otherLoopback+cp.port())
		e := startExporter(t, cp, sequential, "url: http://dropped.example"+cp.port())

		dns.set("dropped.example", otherLoopback)
		cp.closeConnections()
		e.timeout = longTimeout // a dial and its DNS queries take at most half of it
		s := e.expectFailure(client.ReasonTimeout, "no connection to dropped.example"+cp.port())
		s.expectPage("no connection to dropped.example"+cp.port(), "check the firewall, the NetworkPolicy, the proxy")
		metricstest.Absent(t, s.log[0]+s.page, "scrape_timeout")
		s.expectRequests(0)

		dns.set("dropped.example", loopback)
		e.expectRecovery()
	})

	t.Run("the other address of the host is used", func(t *testing.T) {
		t.Parallel()
		cp := startControlPlane(t)
		dns.add(t, "two.example")
		faults.DropPackets(t, otherLoopback+cp.port())
		e := startExporter(t, cp, sequential, "url: http://two.example"+cp.port())

		dns.set("two.example", otherLoopback+" "+loopback)
		cp.closeConnections()
		e.timeout = longTimeout // a dial takes at most half of it, and each address half of that
		e.expectHealthy().expectRetries(0)
	})

	t.Run("a control plane that moves is found by the next scrape", func(t *testing.T) {
		t.Parallel()
		cp := startControlPlane(t)
		dns.add(t, "moving.example")
		e := startExporter(t, cp, sequential, "url: http://moving.example"+cp.port())

		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", otherLoopback+cp.port())
		if err != nil {
			t.Fatal(err)
		}
		moved := newControlPlane(t, faultyTokens)
		moved.server.Listener.Close()
		moved.server.Listener = listener
		moved.serve(t)
		dns.set("moving.example", otherLoopback)
		cp.listener.KillConnections()
		waitUntilIdle()
		e.timeout = longTimeout
		e.expectHealthy().expectRequests(0)
		if len(moved.Requests()) == 0 {
			t.Error("the control plane got no requests at its new address")
		}
	})
}

// waitUntilIdle waits until connections count as idle.
func waitUntilIdle() { <-time.After(600 * time.Millisecond) }

func TestDeadConnectionsAreReplaced(t *testing.T) {
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
			e := startExporter(t, cp, sequential, "url: "+cp.URL, trusting(t, authority))
			return cp, e
		}
		t.Run("an idle connection with "+name, func(t *testing.T) {
			t.Parallel()
			cp, e := serve(t)
			cp.listener.KillConnections()
			waitUntilIdle()
			e.timeout = longTimeout
			e.expectHealthy().expectRetries(0)
		})
		t.Run("a connection with "+name+" after a timeout", func(t *testing.T) {
			t.Parallel()
			cp, e := serve(t)
			cp.closeConnections() // there is no second attempt on a new connection
			cp.setFault(faults.Hang())
			e.timeout = shortTimeout
			s := e.scrape()
			s.expectFailed(client.ReasonTimeout)
			s.expectLog("reason=timeout", "no response from 127.0.0.1:")
			s.expectRequests(1)

			cp.setFault(nil)
			cp.listener.KillConnections()
			e.timeout = 2 * shortTimeout // shorter than the ping timeout of HTTP/2
			s = e.scrape()
			s.expectSameTokens(e.before)
			s.expectLog(`msg="listing works again"`)
			s.expectRetries(0)
		})
	}
}

func TestConnectionsThatBreak(t *testing.T) {
	t.Parallel()
	expectFailures(t, []failureTest{
		{name: "a reset before the header fails the listing", fault: faults.Reset(), reason: client.ReasonConnection, logged: "the connection failed", retries: 2},
		{name: "a reset in the header fails the listing", fault: faults.ResetAfter(header), reason: client.ReasonConnection, logged: "the connection failed", requests: 3, retries: 2},
		{name: "a reset in the body fails the listing", fault: faults.ResetAfter(header + "\r\n" + body), reason: client.ReasonConnection, logged: "the connection failed", requests: 3, retries: 2},
		{name: "a connection closed before the header fails the listing", fault: faults.CloseAfter(""), reason: client.ReasonConnection, logged: "EOF", retries: 2},
		{name: "a connection closed in the header fails the listing", fault: faults.CloseAfter(header), reason: client.ReasonConnection, logged: "unexpected EOF", requests: 3, retries: 2},
		{name: "a body shorter than its Content-Length fails the listing", fault: faults.CloseAfter(header + "Content-Length: 100\r\n\r\n" + body + "]}"), reason: client.ReasonConnection, logged: "unexpected EOF", requests: 3, retries: 2},
	})
}

func TestResponsesThatDoNotEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for deadlines")
	}
	t.Parallel()
	for _, tt := range []struct {
		name     string
		fault    controlplanetest.Fault
		requests int // at least
		logged   string
		page     string
	}{
		{"no header fails the listing at the deadline", faults.Hang(), 1, "no response from 127.0.0.1:", "look at the logs of the control plane, and of what is between"},
		{"no header of a later page fails the listing at the deadline", faults.At(pageSize, faults.Hang()), 2, "no response from 127.0.0.1:", "look at the logs of the control plane, and of what is between"},
		{"a body of one byte per second fails the listing at the deadline", faults.Drip(body+"]}", time.Second), 1, "the list did not arrive within the scrape's deadline", "raise scrape_timeout and --truefoundry.timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.setFault(tt.fault)
			e.timeout = shortTimeout
			s := e.expectFailure(client.ReasonTimeout, tt.logged)
			s.expectPage(tt.page)
			s.expectRetries(0)
			if s.requests < tt.requests {
				t.Errorf("got %d requests, want at least %d", s.requests, tt.requests)
			}
			e.controlPlane.setFault(nil)
			e.expectRecovery()
		})
	}
}

func TestEndlessHeadersAreNotReadToTheirEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of CPU time")
	}
	t.Parallel()
	field := "X-A: " + strings.Repeat("a", 1000) + "\r\n"
	for name, fault := range map[string]controlplanetest.Fault{
		"a header without an end":   faults.Endless("HTTP/1.1 200 OK\r\n", field),
		"a header that is repeated": faults.Endless("", "HTTP/1.1 103 Early Hints\r\n"+field+"\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.setFault(fault)
			s := e.expectFailure(client.ReasonConnection, "headers exceeded")
			s.expectRequests(3)
			s.expectSent(3 * (10 + socketBuffers))
			e.controlPlane.setFault(nil)
			e.expectRecovery()
		})
	}
}
