//go:build !linux

package subprocess

import "syscall"

// endWithParent does nothing: only Linux supports it.
func endWithParent() *syscall.SysProcAttr { return nil }
