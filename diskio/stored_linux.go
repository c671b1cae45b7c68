package diskio

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// NextStored returns the first run of bytes that the file system stores at or after
// off, as [start, end) within limit; start is limit when there are none. A file
// system that can't tell says that everything is stored.
func NextStored(f *os.File, off, limit int64) (start, end int64, err error) {
	fd := int(f.Fd())
	start, err = unix.Seek(fd, off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return limit, limit, nil
	case errors.Is(err, unix.EINVAL):
		return off, limit, nil
	case err != nil:
		return 0, 0, os.NewSyscallError("lseek", err)
	case start >= limit:
		return limit, limit, nil
	}
	end, err = unix.Seek(fd, start, unix.SEEK_HOLE)
	if err != nil {
		return 0, 0, os.NewSyscallError("lseek", err)
	}
	if end <= start || end > limit {
		end = limit
	}
	return start, end, nil
}

// Node names the file for as long as it exists; it is empty where a system can't
// tell that by the file's name.
func Node(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d-%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
}
