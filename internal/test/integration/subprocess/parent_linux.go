package subprocess

import "syscall"

// EndWithParent makes the kernel send SIGTERM to a process when the thread that started it
// ends. Go only ends threads that were locked by a goroutine.
func EndWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
