//go:build !windows

package main

import (
	"errors"
	"syscall"
)

// isClosedPipe tells whether nobody reads what is written. Where that is stdout,
// SIGPIPE mostly ends the process first.
func isClosedPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }
