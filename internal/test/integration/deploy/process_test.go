package deploy

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/truefoundry-community/truefoundry_exporter/internal/test/integration/subprocess"
)

// command returns the command that starts a program, which ends with the test.
// Nothing of the environment reaches the program: there may be a proxy or a key.
func command(t *testing.T, path string, args ...string) *exec.Cmd {
	t.Helper()
	// A program that does not say what a test waits for must not hang the test.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{}
	// HAProxy starts itself again by this name.
	cmd.Args[0] = cmd.Path
	// nginx and HAProxy end their workers then.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = subprocess.EndWithParent()
	return cmd
}

// process is a program that runs.
type process struct {
	cmd *exec.Cmd
	// ready is what the groups of the pattern matched that the program was ready
	// with.
	ready []string
	// output is what the program writes to its standard output and error, and log
	// what of that has been read.
	output *bufio.Reader
	log    strings.Builder
	ended  bool
}

// start starts a program, and waits until a line that it writes matches. The program
// ends with the test, unless it is stopped before.
func start(t *testing.T, ready *regexp.Regexp, cmd *exec.Cmd) *process {
	t.Helper()
	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = to, to
	err = cmd.Start()
	to.Close()
	if err != nil {
		from.Close()
		t.Fatal(err)
	}
	p := &process{cmd: cmd, output: bufio.NewReader(from)}
	t.Cleanup(func() {
		p.stop(t)
		from.Close()
	})
	for p.ready == nil {
		p.ready = ready.FindStringSubmatch(p.nextLine(t))
	}
	return p
}

// nextLine returns the next line that the program writes.
func (p *process) nextLine(t *testing.T) string {
	t.Helper()
	line, err := p.output.ReadString('\n')
	p.log.WriteString(line)
	if err != nil {
		t.Fatalf("%s has ended:\n%s", filepath.Base(p.cmd.Path), &p.log)
	}
	return line
}

// stop ends the program, and all that it has started, and returns everything that it
// wrote.
func (p *process) stop(t *testing.T) string {
	t.Helper()
	if p.ended {
		return p.log.String()
	}
	p.ended = true
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	rest, err := io.ReadAll(p.output)
	if err != nil {
		t.Errorf("%s: %v", filepath.Base(p.cmd.Path), err)
	}
	p.log.Write(rest)
	_ = p.cmd.Wait() // it was told to end
	return p.log.String()
}
