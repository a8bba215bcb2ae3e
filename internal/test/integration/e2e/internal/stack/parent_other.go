//go:build !linux

package stack

import "syscall"

// endsWithParent can be had on Linux alone.
func endsWithParent() *syscall.SysProcAttr { return nil }
