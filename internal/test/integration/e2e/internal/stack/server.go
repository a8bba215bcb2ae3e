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

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/subprocess"
)

// Patience is the timeout for everything that should happen soon. It is long enough for a
// busy machine.
const Patience = 30 * time.Second

// Command is like subprocess.Command with an empty environment, because the environment may
// contain a key or a proxy.
func Command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := subprocess.Command(ctx, path, args...)
	cmd.Env = []string{}
	return cmd
}

// Server is a running program that logs its address.
type Server struct {
	URL string

	cmd       *exec.Cmd
	listening chan string // receives the address
	done      chan struct{}
	err       error

	mu          sync.Mutex
	log         bytes.Buffer
	addressSent bool // to listening
}

// StartServer starts a program with arguments to listen on 127.0.0.1:0, and waits until it
// listens. The program ends when ctx ends.
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

// listeningLine matches the log message of the exporter-toolkit and of VictoriaMetrics.
var listeningLine = regexp.MustCompile(`(?:msg="Listening on".* address=|started server at http://)(127\.0\.0\.1:\d+)/?\n`)

// Write receives the log of the program.
func (s *Server) Write(output []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Write(output)
	if !s.addressSent {
		if match := listeningLine.FindSubmatch(s.log.Bytes()); match != nil {
			s.addressSent = true
			s.listening <- string(match[1])
		}
	}
	return len(output), nil
}

// Log returns the log of the program.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// Signal sends a signal to the program.
func (s *Server) Signal(signal syscall.Signal) error { return s.cmd.Process.Signal(signal) }

// Done is closed when the program has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns the error of the program, after Done is closed.
func (s *Server) Err() error { return s.err }

// Get returns the body of a response with status 200.
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
