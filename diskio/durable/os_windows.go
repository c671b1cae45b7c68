package durable

import (
	"os"

	"golang.org/x/sys/windows"
)

var fullErrnos = []error{
	windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED,
}

var errLocked error = windows.ERROR_LOCK_VIOLATION

// lock takes the kernel's lock on one byte far behind the file's end: locked
// bytes can't be read, and the owner's name must be.
func lock(f *os.File) error {
	at := windows.Overlapped{OffsetHigh: 1 << 30}
	return windows.LockFileEx(windows.Handle(f.Fd()),
		windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
}

// syncDir has nothing to do: NTFS journals a directory's entries in order, and
// Windows has no call that flushes a directory.
func syncDir(*os.Root, string) error { return nil }

// Space returns how many bytes can still be written to the file system that path is
// on, and how many bytes it has in all.
func Space(path string) (free, total int64, err error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, 0, err
	}
	var avail, size, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &avail, &size, &all); err != nil {
		return 0, 0, &os.PathError{Op: "GetDiskFreeSpaceEx", Path: path, Err: err}
	}
	return int64(avail), int64(size), nil
}
