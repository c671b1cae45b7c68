//go:build !linux && !windows

package quicx

import "syscall"

var errTooLong error = syscall.EMSGSIZE
