package faults_test

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

// names answers each question that this process asks for a host's address: none
// leaves the machine.
var names nameServer

// nameServer is a DNS server on loopback.
type nameServer struct {
	conn net.PacketConn

	mu      sync.Mutex
	records map[string]record
	waiting []question
}

// record is the IPv4 addresses of a host, with blanks in between, or why there are
// none.
type record string

const (
	noSuchHost record = "" // as of every host that is not known
	noAnswer   record = "none"
	misbehaves record = "broken"
)

type question struct {
	packet []byte
	from   net.Addr
}

// start begins to serve, and makes the resolver ask nobody else.
func (s *nameServer) start() error {
	conn, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.conn, s.records = conn, map[string]record{}
	net.DefaultResolver = &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
		},
	}
	go s.serve()
	return nil
}

// set changes the record of a host. Who waits for an answer gets one.
func (s *nameServer) set(host string, r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[host] = r
	waiting := s.waiting
	s.waiting = nil
	for _, q := range waiting {
		s.answer(q)
	}
}

// add makes loopback the address of a host until the test ends.
func (s *nameServer) add(t *testing.T, host string) {
	t.Helper()
	s.set(host, loopback)
	t.Cleanup(func() { s.set(host, noSuchHost) })
}

func (s *nameServer) serve() {
	for {
		packet := make([]byte, 512)
		n, from, err := s.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.answer(question{packet[:n], from})
		s.mu.Unlock()
	}
}

// answer answers a question of RFC 1035, or keeps it. s.mu is held.
func (s *nameServer) answer(q question) {
	const header = 12
	var labels []string
	end := header
	for q.packet[end] > 0 {
		next := end + 1 + int(q.packet[end])
		labels = append(labels, string(q.packet[end+1:next]))
		end = next
	}
	isA := q.packet[end+2] == 1
	end += 5 // the root, the type and the class

	r := s.records[strings.ToLower(strings.Join(labels, "."))]
	code, answers := byte(0), byte(0)
	var resources []byte
	switch r {
	case noAnswer:
		s.waiting = append(s.waiting, q)
		return
	case noSuchHost:
		code = 3
	case misbehaves:
		code = 2
	default:
		for text := range strings.FieldsSeq(string(r)) {
			if !isA {
				break
			}
			address := netip.MustParseAddr(text).As4()
			answers++
			// The name of the question, of type A and class IN, for 0 seconds.
			resources = append(append(resources, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), address[:]...)
		}
	}
	reply := bytes.Clone(q.packet[:end])
	reply[2] |= 0x80           // a response
	reply[3] = 0x80 | code     // with recursion
	reply[7] = answers         // after one question
	reply[9], reply[11] = 0, 0 // and nothing else
	_, _ = s.conn.WriteTo(append(reply, resources...), q.from)
}
