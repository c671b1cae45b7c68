package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// maxSocketBuffer returns the largest receive buffer that a process may ask for,
// in bytes, and the command that sets it, with %d for the bytes. ok is false
// where the system does not tell.
func maxSocketBuffer() (size int64, set string, ok bool) {
	text, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		return 0, "", false
	}
	size, err = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return size, "sudo sysctl -w net.core.rmem_max=%d", err == nil
}

// isAddrInUse tells a port that somebody has from one that cannot be had.
func isAddrInUse(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }
