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

// dns responds to all DNS queries of this process.
var dns dnsServer

// dnsServer is a DNS server on loopback. It knows IPv4 addresses only.
type dnsServer struct {
	conn net.PacketConn

	mu      sync.Mutex
	records map[string]record
	pending []query
}

// record is the IPv4 addresses of a host, separated by blanks, or one of the constants.
type record string

const (
	noSuchHost    record = "" // the record of unknown hosts
	serverFailure record = "failure"
	noResponse    record = "none"
)

type query struct {
	packet []byte
	from   net.Addr
}

// start starts the server and makes it the only one that the resolver uses.
func (s *dnsServer) start() error {
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

// set sets the record of a host, and responds to pending queries.
func (s *dnsServer) set(host string, r record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[host] = r
	pending := s.pending
	s.pending = nil
	for _, q := range pending {
		s.respond(q)
	}
}

// add makes a host resolve to loopback until the test ends.
func (s *dnsServer) add(t *testing.T, host string) {
	t.Helper()
	s.set(host, loopback)
	t.Cleanup(func() { s.set(host, noSuchHost) })
}

func (s *dnsServer) serve() {
	for {
		packet := make([]byte, 512)
		n, from, err := s.conn.ReadFrom(packet)
		if err != nil {
			return
		}
		s.mu.Lock()
		s.respond(query{packet[:n], from})
		s.mu.Unlock()
	}
}

// respond responds to a query, whose format is described in RFC 1035. If the record is
// noResponse, the query stays pending. The caller must hold s.mu.
func (s *dnsServer) respond(q query) {
	const header = 12
	var labels []string
	end := header
	for q.packet[end] > 0 {
		next := end + 1 + int(q.packet[end])
		labels = append(labels, string(q.packet[end+1:next]))
		end = next
	}
	isA := q.packet[end+2] == 1
	end += 5 // the root label, the type and the class

	r := s.records[strings.ToLower(strings.Join(labels, "."))]
	code, count := byte(0), byte(0)
	var answers []byte
	switch r {
	case noResponse:
		s.pending = append(s.pending, q)
		return
	case noSuchHost:
		code = 3
	case serverFailure:
		code = 2
	default:
		for text := range strings.FieldsSeq(string(r)) {
			if !isA {
				break
			}
			address := netip.MustParseAddr(text).As4()
			count++
			// A pointer to the name of the question, type A, class IN, and a TTL of 0.
			answers = append(append(answers, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4), address[:]...)
		}
	}
	response := bytes.Clone(q.packet[:end])
	response[2] |= 0x80              // QR: a response
	response[3] = 0x80 | code        // RA and RCODE
	response[7] = count              // ANCOUNT
	response[9], response[11] = 0, 0 // NSCOUNT and ARCOUNT
	_, _ = s.conn.WriteTo(append(response, answers...), q.from)
}
