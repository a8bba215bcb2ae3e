//go:build !linux

package charttest

import "syscall"

// endWithParent can be had on Linux alone.
func endWithParent() *syscall.SysProcAttr { return nil }
