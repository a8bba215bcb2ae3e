package deploy

import "syscall"

// endWithParent has a program told to end with the tests, however they end.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
