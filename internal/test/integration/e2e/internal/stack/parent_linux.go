package stack

import "syscall"

// endsWithParent has a process told to end with the thread that started it. Go
// keeps its threads, save those that a goroutine has locked.
func endsWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
