//go:build !linux && !windows

package raw

import (
	"io"
	"io/fs"
	"os"
)

func nextStored(_ *os.File, off, size int64) (start, end int64, err error) {
	return off, size, nil
}

func stored(info fs.FileInfo) int64 { return info.Size() }

func node(fs.FileInfo) string { return "" }

func deviceNode(f *os.File) string { return f.Name() }

func deviceSize(f *os.File) (int64, error) { return f.Seek(0, io.SeekEnd) }

func deviceSectors(*os.File) (logical, physical int) { return sectorSize, sectorSize }

func isDeviceName(string) bool { return false }
