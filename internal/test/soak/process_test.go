package soak

import (
	"bufio"
	"context"
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

// patience is what a busy machine may take for what takes no time at all.
const patience = time.Minute

// exporter is an exporter that runs as a process of its own, with the race
// detector.
type exporter struct {
	url string
	cmd *exec.Cmd
	// reloaded is told of each reload whether it worked.
	reloaded chan bool
	read     chan struct{} // closed when the log has ended

	mu sync.Mutex
	// odd are the lines of the log that should not be there.
	odd []string
}

// build builds the exporter.
func build(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "truefoundry_exporter")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-race", "-o", path, "../../..")
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return path
}

// start runs an exporter until it listens.
func start(t *testing.T, path string, args ...string) *exporter {
	t.Helper()
	e := &exporter{cmd: exec.CommandContext(t.Context(), path, args...), reloaded: make(chan bool, 1), read: make(chan struct{})}
	// The heap is compared by what the next collection waits for, which says more
	// of what is alive the earlier it comes.
	e.cmd.Env = []string{"GOGC=25"}
	e.cmd.Cancel = func() error { return e.cmd.Process.Signal(syscall.SIGTERM) }
	e.cmd.WaitDelay = patience
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
		defer close(e.read)
		e.readLog(log, listening)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	select {
	case address := <-listening:
		e.url = "http://" + address
	case <-e.read:
		t.Fatalf("it does not listen: %q", e.oddities())
	case <-ctx.Done():
		t.Fatal("it does not listen in time")
	}
	return e
}

var (
	address  = regexp.MustCompile(`msg="Listening on" address=(\S+)`)
	ordinary = regexp.MustCompile(`^level=(info|warn|error) ts=\S+ (target=\S+ kind=\S+ msg="listing (failed"|works again")|msg="(configuration (not )?reloaded|listing at each scrape|its API key does not say when it ends|starting truefoundry_exporter|Listening on|TLS is disabled|shutting down))`)
)

// readLog keeps what is odd, and tells of the rest what others wait for.
func (e *exporter) readLog(log io.Reader, listening chan<- string) {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		line := lines.Text()
		if !ordinary.MatchString(line) || strings.Contains(line, canary) {
			e.mu.Lock()
			e.odd = append(e.odd, line)
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

// oddities returns what should not be in the log.
func (e *exporter) oddities() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.odd
}

// end tells the exporter to end, and waits until it has.
func (e *exporter) end(t *testing.T) {
	t.Helper()
	if err := e.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	<-e.read
	if err := e.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if odd := e.oddities(); len(odd) > 0 {
		t.Errorf("it logged %d lines that should not be there, from:\n%s", len(odd), strings.Join(odd[:min(len(odd), 100)], "\n"))
	}
}

// dump ends the exporter, and shows what all of its goroutines are doing.
func (e *exporter) dump(t *testing.T) {
	t.Helper()
	if err := e.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Error(err)
	}
	<-e.read
	_ = e.cmd.Wait() // it was told to fail
	t.Log(strings.Join(e.oddities(), "\n"))
}

// rewrite replaces a file at once, as tools that write secrets do.
func rewrite(path, text string) error {
	next := path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(next, path)
}
