package faults_test

import (
	"strings"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/client"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/controlplanetest"
	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
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
	t.Parallel()
	for _, tt := range []struct {
		name     string
		answer   controlplanetest.Fault
		requests int // at least
		logged   string
	}{
		{"a header that never comes is left at the deadline", faults.Hang(), 1, "no response from 127.0.0.1:"},
		{"a header that never comes for a later page is left at the deadline", faults.At(pageSize, faults.Hang()), 2, "no response from 127.0.0.1:"},
		{"a body that drips a byte a second is left at the deadline", faults.Drip(body+"]}", time.Second), 1, "the list did not arrive within the scrape's deadline"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := start(t)
			e.controlPlane.answers(tt.answer)
			e.timeout = short
			s := e.expectFailure(client.ReasonTimeout, tt.logged)
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
