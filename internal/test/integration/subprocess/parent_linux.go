package subprocess

import "syscall"

// endWithParent makes the kernel send SIGTERM to a process when the thread that started it
// ends. Go only ends threads that were locked by a goroutine.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
