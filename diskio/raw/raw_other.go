//go:build !linux && !windows

package raw

import (
	"io"
	"io/fs"
	"os"
)

func stored(info fs.FileInfo) int64 { return info.Size() }

func deviceNode(f *os.File) string { return f.Name() }

func deviceSize(f *os.File) (int64, error) { return f.Seek(0, io.SeekEnd) }

func deviceSectors(*os.File) (logical, physical int) { return sectorSize, sectorSize }

func isDeviceName(string) bool { return false }
