//go:build !windows

package control

import (
	"errors"
	"syscall"
)

// isRefused reports whether a dial failed because nobody listens.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
