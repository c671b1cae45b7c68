package raw

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// stored returns how many bytes the file system holds for a file.
func stored(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}

// deviceNode names the block device by its number.
func deviceNode(f *os.File) string {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return ""
	}
	return fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
}

// deviceSize returns a block device's size in bytes: its end is where seeking
// to the end leads.
func deviceSize(f *os.File) (int64, error) {
	return f.Seek(0, io.SeekEnd)
}

// deviceSectors asks a block device for its logical and physical sector size.
func deviceSectors(f *os.File) (logical, physical int) {
	logical, physical = sectorSize, sectorSize
	if n, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET); err == nil && n > 0 {
		logical = n
	}
	if n, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKPBSZGET); err == nil && n > 0 {
		physical = n
	}
	return logical, physical
}

func isDeviceName(string) bool { return false }
