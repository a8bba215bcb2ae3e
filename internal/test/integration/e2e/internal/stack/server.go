package stack

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"
)

// Patience is long enough for a busy machine; nothing waits longer than it has to.
const Patience = 30 * time.Second

// Command makes a command that gets nothing of the environment, in which a key
// or a proxy may be set. It is told to end when ctx ends and, on Linux, when this
// process is killed.
func Command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // running these programs is what this package is for
	cmd.Env = []string{}
	cmd.SysProcAttr = endsWithParent()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = Patience
	return cmd
}

// A Server is a running program that says in its log which address it got.
type Server struct {
	URL string

	cmd       *exec.Cmd
	listening chan string // receives the address
	done      chan struct{}
	err       error

	mu   sync.Mutex
	log  bytes.Buffer
	told bool // whether the address has been sent
}

// StartServer starts a program that listens on 127.0.0.1:0, and waits until it
// does. The program ends with ctx.
func StartServer(ctx context.Context, path string, args ...string) (*Server, error) {
	s := &Server{
		cmd:       Command(ctx, path, args...),
		listening: make(chan string, 1),
		done:      make(chan struct{}),
	}
	s.cmd.Stdout, s.cmd.Stderr = s, s
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	name := filepath.Base(path)
	select {
	case address := <-s.listening:
		s.URL = "http://" + address
		return s, nil
	case <-s.done:
		return nil, fmt.Errorf("%s ended before it listened: %w\n%s", name, s.err, s.Log())
	case <-time.After(Patience):
		_ = s.Signal(syscall.SIGKILL)
		<-s.done
		return nil, fmt.Errorf("%s does not listen:\n%s", name, s.Log())
	}
}

// The line of the exporter-toolkit, or that of VictoriaMetrics.
var listeningLine = regexp.MustCompile(`(?:msg="Listening on".* address=|started server at http://)(127\.0\.0\.1:\d+)/?\n`)

// Write receives the program's log.
func (s *Server) Write(output []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Write(output)
	if !s.told {
		if match := listeningLine.FindSubmatch(s.log.Bytes()); match != nil {
			s.told = true
			s.listening <- string(match[1])
		}
	}
	return len(output), nil
}

// Log returns what the program has logged.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// Signal sends the program a signal.
func (s *Server) Signal(signal syscall.Signal) error { return s.cmd.Process.Signal(signal) }

// Done is closed when the program has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err says how the program ended, once it has.
func (s *Server) Err() error { return s.err }

// Get returns the body of a 200 answer.
func (s *Server) Get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s: %s", path, response.Status, body.Bytes())
	}
	return body.Bytes(), nil
}
