package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/e2e/internal/stack"
)

// output collects the output of a program. It is safe for concurrent use.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// The program of `make demo` leaves no process and no file behind.
func TestDemoEnds(t *testing.T) {
	demo := filepath.Join(t.TempDir(), "demo")
	if built, err := exec.CommandContext(t.Context(), "go", "build", "-o", demo, "./demo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, built)
	}
	// The program is a child of the shell, like with make it is a child of make.
	inShell := []string{"sh", "-c", demo + " & wait"}
	for name, test := range map[string]struct {
		args   []string
		signal syscall.Signal
		to     string
	}{
		"SIGTERM":                {[]string{demo}, syscall.SIGTERM, "the demonstration"},
		"SIGINT":                 {[]string{demo}, syscall.SIGINT, "the demonstration"},
		"SIGHUP":                 {[]string{demo}, syscall.SIGHUP, "the demonstration"},
		"the parent is killed":   {inShell, syscall.SIGKILL, "the parent"},
		"it is killed, on Linux": {[]string{demo}, syscall.SIGKILL, "the demonstration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			killed := test.to == "the demonstration" && test.signal == syscall.SIGKILL
			if killed && runtime.GOOS != "linux" {
				t.Skip("children are not notified")
			}
			temp := t.TempDir()
			var written output
			cmd := exec.CommandContext(t.Context(), test.args[0], test.args[1:]...)
			cmd.Env = append(os.Environ(), "TMPDIR="+temp)
			cmd.Stdout, cmd.Stderr = &written, &written
			cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			pid, servers := banner(t, &written)
			to := pid
			if test.to == "the parent" {
				to = cmd.Process.Pid
			}
			if err := syscall.Kill(to, test.signal); err != nil {
				t.Fatal(err)
			}

			done := make(chan error, 1)
			// Wait returns when all processes that share the output have ended.
			go func() { done <- cmd.Wait() }()
			select {
			case err := <-done:
				if (err != nil) != (test.signal == syscall.SIGKILL) {
					t.Errorf("after %v to %s: %v", test.signal, test.to, err)
				}
			case <-time.After(stack.Patience):
				t.Fatalf("it is still running after %v to %s:\n%s", test.signal, test.to, &written)
			}
			for _, server := range servers {
				eventually(t, func(ctx context.Context) error {
					connection, err := new(net.Dialer).DialContext(ctx, "tcp", server)
					if err == nil {
						connection.Close()
						return errors.New(server + " still accepts connections")
					}
					return nil
				})
			}
			if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || (len(left) > 0 && !killed) {
				t.Errorf("it left %q behind, %v", left, err)
			}
		})
	}
}

var (
	ownPid  = regexp.MustCompile(`or: kill (\d+)\n`)
	address = regexp.MustCompile(`http://(127\.0\.0\.1:\d+)`)
)

// banner waits for the banner with the addresses of three servers. It returns the process
// ID and the addresses.
func banner(t *testing.T, written *output) (pid int, servers []string) {
	t.Helper()
	eventually(t, func(context.Context) error {
		text := written.String()
		match := ownPid.FindStringSubmatch(text)
		servers = nil
		for _, found := range address.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(servers, found[1]) {
				servers = append(servers, found[1])
			}
		}
		if match == nil || len(servers) != 3 {
			return errors.New("no banner yet: " + text)
		}
		var err error
		pid, err = strconv.Atoi(match[1])
		return err
	})
	return pid, servers
}
