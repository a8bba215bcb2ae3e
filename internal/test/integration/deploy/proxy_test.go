package deploy

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/faults"
)

// reservePort returns a loopback address for a program that the test starts. No other
// program gets the port until the test ends.
func reservePort(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	// With this option, the program that the test starts can bind the port, too. The kernel
	// does not choose it for other sockets.
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	bound, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(bound.(*syscall.SockaddrInet4).Port))
}

// expectRequests stops a proxy and checks the requests in its log. Each is a method and a
// status.
func expectRequests(t *testing.T, proxy *process, want ...string) {
	t.Helper()
	got := requests(proxy.stop(t))
	if !slices.Equal(got, want) {
		t.Errorf("the requests are %q, want %q:\n%s", got, want, &proxy.log)
	}
}

// requests returns the requests in the log of a proxy.
func requests(log string) (found []string) {
	for line := range strings.Lines(log) {
		if request, ok := strings.CutPrefix(line, "request "); ok {
			found = append(found, strings.TrimSpace(request))
		}
	}
	return found
}

// certificates writes a certificate for 127.0.0.1 and acme.example, and its key, to cert.pem,
// key.pem and (together) both.pem, and its authority to ca.pem.
func certificates(t *testing.T, dir string) *faults.Authority {
	t.Helper()
	authority := faults.NewAuthority(t)
	cert, key := authority.Issue()
	for name, text := range map[string]string{"cert.pem": cert, "key.pem": key, "both.pem": cert + key, "ca.pem": authority.PEM} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return authority
}
