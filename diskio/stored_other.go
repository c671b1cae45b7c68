//go:build !linux

package diskio

import (
	"io/fs"
	"os"
)

// NextStored takes the whole file for stored: on Windows disks are never
// NTFS-sparse, since Hyper-V refuses such files.
func NextStored(_ *os.File, off, limit int64) (start, end int64, err error) {
	return off, limit, nil
}

// Node is empty: on Windows a file's index is only had from its handle, and size
// and time tell a change as well.
func Node(fs.FileInfo) string { return "" }
