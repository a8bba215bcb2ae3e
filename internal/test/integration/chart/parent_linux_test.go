package chart

import "syscall"

// endWithParent makes the kernel send SIGTERM to a program when the tests end.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
