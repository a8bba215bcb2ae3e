package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Long enough for a busy machine; nothing waits longer than it has to.
const patience = 30 * time.Second

// `make test` builds and installs the programs, and says where they are.
var (
	exporterPath  = os.Getenv("E2E_EXPORTER")
	prometheusDir = os.Getenv("E2E_PROMETHEUS_DIR") // with promtool
)

func TestMain(m *testing.M) {
	if exporterPath == "" || prometheusDir == "" {
		fmt.Fprintln(os.Stderr, "These tests run built programs. Run them with `make test` at the top of the repository.")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// command makes a command that gets nothing of the test's environment, in which
// a key or a proxy may be set, and that ends with the test.
func command(t *testing.T, path string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = []string{}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = patience
	return cmd
}

// A server is a running program that says in its log which address it got.
type server struct {
	cmd       *exec.Cmd
	listening chan struct{} // closed when url is known
	url       string
	done      chan struct{} // closed when it has ended
	err       error         // how it ended

	mu  sync.Mutex
	log bytes.Buffer
}

// start starts a program that listens on 127.0.0.1:0, and waits until it does.
func start(t *testing.T, path string, args ...string) *server {
	t.Helper()
	s := &server{
		cmd:       command(t, path, args...),
		listening: make(chan struct{}),
		done:      make(chan struct{}),
	}
	s.cmd.Stdout, s.cmd.Stderr = s, s
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() {
		<-s.done
		if t.Failed() {
			t.Logf("%s logged:\n%s", filepath.Base(path), s.log.String())
		}
	})
	select {
	case <-s.listening:
	case <-s.done:
		t.Fatalf("%s ended before it listened: %v", path, s.err)
	case <-time.After(patience):
		t.Fatalf("%s does not listen", path)
	}
	return s
}

// The exporter-toolkit's line, which serves both programs.
var listeningLine = regexp.MustCompile(`msg="Listening on".* address=(127\.0\.0\.1:\d+)\n`)

// Write receives the program's log.
func (s *server) Write(output []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log.Write(output)
	if s.url == "" {
		if match := listeningLine.FindSubmatch(s.log.Bytes()); match != nil {
			s.url = "http://" + string(match[1])
			close(s.listening)
		}
	}
	return len(output), nil
}

// get returns the body of a 200 answer.
func (s *server) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, http.NoBody)
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

func (s *server) mustGet(t *testing.T, path string) string {
	t.Helper()
	body, err := s.get(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// eventually tries until the check succeeds.
func eventually(t *testing.T, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}
