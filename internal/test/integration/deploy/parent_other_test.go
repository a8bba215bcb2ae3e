//go:build !linux

package deploy

import "syscall"

// endWithParent can be had on Linux alone.
func endWithParent() *syscall.SysProcAttr { return nil }
