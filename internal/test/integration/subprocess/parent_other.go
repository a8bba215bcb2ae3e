//go:build !linux

package subprocess

import "syscall"

// EndWithParent does nothing: only Linux supports it.
func EndWithParent() *syscall.SysProcAttr { return nil }
