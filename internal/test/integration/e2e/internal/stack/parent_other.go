//go:build !linux

package stack

import "syscall"

// endsWithParent does nothing: only Linux supports it.
func endsWithParent() *syscall.SysProcAttr { return nil }
