//go:build !linux

package main

import (
	"errors"
	"runtime"
	"syscall"
)

// maxSocketBuffer tells nothing: only Linux has one limit for all processes.
func maxSocketBuffer() (size int64, set string, ok bool) { return 0, "", false }

// wsaeAddrInUse is what Windows answers for a port that somebody has (WinSock2.h).
const wsaeAddrInUse = syscall.Errno(10048)

// isAddrInUse tells a port that somebody has from one that cannot be had.
func isAddrInUse(err error) bool {
	if runtime.GOOS == "windows" {
		return errors.Is(err, wsaeAddrInUse)
	}
	return errors.Is(err, syscall.EADDRINUSE)
}
