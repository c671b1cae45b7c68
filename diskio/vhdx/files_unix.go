//go:build unix

package vhdx

import "syscall"

// openFlags keep an open from blocking on a pipe.
const openFlags = syscall.O_NONBLOCK
