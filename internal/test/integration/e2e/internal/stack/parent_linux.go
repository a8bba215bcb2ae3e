package stack

import "syscall"

// endsWithParent makes the kernel send SIGTERM to a process when the thread that started it
// ends. Go only ends threads that were locked by a goroutine.
func endsWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
