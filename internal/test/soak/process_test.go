package soak

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// maxWait is a timeout for events that are immediate unless the machine is busy.
const maxWait = time.Minute

// exporter is an exporter process.
type exporter struct {
	url string
	cmd *exec.Cmd
	// reloaded receives whether each reload succeeded.
	reloaded chan bool
	logRead  chan struct{} // closed at the end of the log

	mu sync.Mutex
	// unexpected are unexpected lines of the log.
	unexpected []string
}

// build builds the exporter.
func build(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "truefoundry_exporter")
	cmd := exec.CommandContext(t.Context(), "go", "build", fmt.Sprintf("-race=%t", *race), "-o", path, "../../..")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return path
}

// start starts an exporter and waits until it listens.
func start(t *testing.T, path string, args ...string) *exporter {
	t.Helper()
	e := &exporter{cmd: exec.CommandContext(t.Context(), path, args...), reloaded: make(chan bool, 1), logRead: make(chan struct{})}
	// The earlier the next garbage collection is, the closer its threshold is to the size
	// of the live heap, which is compared.
	e.cmd.Env = []string{"GOGC=25"}
	e.cmd.Cancel = func() error { return e.cmd.Process.Signal(syscall.SIGTERM) }
	e.cmd.WaitDelay = maxWait
	log, err := e.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.cmd.Process.Kill() })
	listening := make(chan string, 1)
	go func() {
		defer close(e.logRead)
		e.readLog(log, listening)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), maxWait)
	defer cancel()
	select {
	case address := <-listening:
		e.url = "http://" + address
	case <-e.logRead:
		t.Fatalf("the exporter does not listen: %q", e.unexpectedLines())
	case <-ctx.Done():
		t.Fatal("the exporter does not listen in time")
	}
	return e
}

var (
	address      = regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	expectedLine = regexp.MustCompile(`^level=(info|warn|error) ts=\S+ (target=\S+ kind=\S+ msg="listing (failed"|works again")|msg="(configuration (not )?reloaded|listing at each scrape|its API key does not contain its expiry|starting truefoundry_exporter|Listening on|TLS is disabled|shutting down))`)
)

// readLog reads the log. It keeps unexpected lines and reports reloads.
func (e *exporter) readLog(log io.Reader, listening chan<- string) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		line := lines.Text()
		if !expectedLine.MatchString(line) || strings.Contains(line, canary) {
			e.mu.Lock()
			e.unexpected = append(e.unexpected, line)
			e.mu.Unlock()
		}
		switch {
		case strings.Contains(line, `msg="configuration reloaded"`):
			e.reloaded <- true
		case strings.Contains(line, `msg="configuration not reloaded`):
			e.reloaded <- false
		default:
			if found := address.FindStringSubmatch(line); found != nil {
				listening <- found[1]
			}
		}
	}
}

// unexpectedLines returns the unexpected lines of the log.
func (e *exporter) unexpectedLines() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.unexpected
}

// stop stops the exporter.
func (e *exporter) stop(t *testing.T) {
	t.Helper()
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	<-e.logRead
	if err := e.cmd.Wait(); err != nil {
		t.Errorf("the exporter ended with %v", err)
	}
	if unexpected := e.unexpectedLines(); len(unexpected) > 0 {
		t.Errorf("got %d unexpected log lines, starting with:\n%s", len(unexpected), strings.Join(unexpected[:min(len(unexpected), 100)], "\n"))
	}
}

// dumpGoroutines ends the exporter and logs the stacks of its goroutines.
func (e *exporter) dumpGoroutines(t *testing.T) {
	t.Helper()
	if err := e.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Error(err)
	}
	<-e.logRead
	_ = e.cmd.Wait() // SIGQUIT is a failure
	t.Log(strings.Join(e.unexpectedLines(), "\n"))
}

// replaceFile replaces a file atomically, as tools that write secrets do.
func replaceFile(path, text string) error {
	next := path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}
