//go:build !linux

package chart

import "syscall"

// endWithParent can be had on Linux alone.
func endWithParent() *syscall.SysProcAttr { return nil }
