package control

import (
	"errors"
	"syscall"
)

// wsaeConnRefused is what Windows answers where nobody listens (WinSock2.h).
const wsaeConnRefused = syscall.Errno(10061)

// isRefused reports whether a dial failed because nobody listens.
func isRefused(err error) bool { return errors.Is(err, wsaeConnRefused) }
