package subprocess

import (
	"context"
	"os/exec"
	"syscall"
	"time"
)

// waitDelay is the maximum time between SIGTERM and SIGKILL.
const waitDelay = 30 * time.Second

// Command returns a command that gets SIGTERM when ctx ends and, on Linux, when this process
// ends.
func Command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the programs are those of the tests
	cmd.SysProcAttr = endWithParent()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = waitDelay
	return cmd
}
