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

// command returns a command with an empty environment, because the environment may contain
// a key or a proxy. The program ends with the test.
func command(t *testing.T, path string, args ...string) *exec.Cmd {
	t.Helper()
	// The test must not wait forever for the output of the program.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	cmd := subprocess.Command(ctx, path, args...)
	cmd.Env = []string{}
	// HAProxy executes itself by this name.
	cmd.Args[0] = cmd.Path
	return cmd
}

// process is a running program.
type process struct {
	cmd *exec.Cmd
	// ready is the match of the line with which the program was ready.
	ready []string
	// output is the standard output and error of the program. log is the part of it that
	// has been read.
	output *bufio.Reader
	log    strings.Builder
	ended  bool
}

// start starts a program, and waits until a line of its output matches ready. The program
// ends with the test.
func start(t *testing.T, ready *regexp.Regexp, cmd *exec.Cmd) *process {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = writer, writer
	err = cmd.Start()
	writer.Close()
	if err != nil {
		reader.Close()
		t.Fatal(err)
	}
	p := &process{cmd: cmd, output: bufio.NewReader(reader)}
	t.Cleanup(func() {
		p.stop(t)
		reader.Close()
	})
	for p.ready == nil {
		p.ready = ready.FindStringSubmatch(p.nextLine(t))
	}
	return p
}

// nextLine returns the next line of the output.
func (p *process) nextLine(t *testing.T) string {
	t.Helper()
	line, err := p.output.ReadString('\n')
	p.log.WriteString(line)
	if err != nil {
		t.Fatalf("%s has ended:\n%s", filepath.Base(p.cmd.Path), &p.log)
	}
	return line
}

// stop ends the program and its children. It returns the whole output.
func (p *process) stop(t *testing.T) string {
	t.Helper()
	if p.ended {
		return p.log.String()
	}
	p.ended = true
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	rest, err := io.ReadAll(p.output)
	if err != nil {
		t.Errorf("%s: %v", filepath.Base(p.cmd.Path), err)
	}
	p.log.Write(rest)
	_ = p.cmd.Wait() // some programs fail when they get a signal
	return p.log.String()
}
