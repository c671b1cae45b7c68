package vhdx

import (
	"errors"
	"math"

	"golang.org/x/sys/unix"
	"syscall"
)

// nextStored returns the first offset at or after off at which the file system
// stores something of f, or off itself where it can't tell.
func nextStored(f any, off int64) int64 {
	sc, ok := f.(syscall.Conn)
	if !ok {
		return off
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return off
	}
	next := off
	err = rc.Control(func(fd uintptr) {
		n, err := unix.Seek(int(fd), off, unix.SEEK_DATA)
		switch {
		case err == nil:
			next = n
		case errors.Is(err, unix.ENXIO):
			next = math.MaxInt64 / 2 // nothing but a hole up to the end
		}
	})
	if err != nil {
		return off
	}
	return next
}

// punchHole makes space of f read as zeros without storing them; it reports
// whether it could.
func punchHole(f any, off, length int64) bool {
	sc, ok := f.(syscall.Conn)
	if !ok {
		return false
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	done := false
	err = rc.Control(func(fd uintptr) {
		done = unix.Fallocate(int(fd), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length) == nil
	})
	return err == nil && done
}
