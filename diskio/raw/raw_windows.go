package raw

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/windows"
)

// The two questions to a disk that x/sys/windows has no names for (winioctl.h).
const (
	ioctlDiskGetLengthInfo      = 0x7405c
	ioctlStorageQueryProperty   = 0x2d1400
	storageAccessAlignment      = 6
	bytesPerLogicalSectorAt     = 16
	bytesPerPhysicalSectorAt    = 20
	accessAlignmentDescriptorSz = 28
)

func stored(info fs.FileInfo) int64 { return info.Size() }

func deviceNode(f *os.File) string { return f.Name() }

func deviceSize(f *os.File) (int64, error) {
	var out [8]byte
	var n uint32
	err := windows.DeviceIoControl(windows.Handle(f.Fd()), ioctlDiskGetLengthInfo,
		nil, 0, &out[0], uint32(len(out)), &n, nil)
	if err != nil {
		return 0, fmt.Errorf("ask for the length of the disk: %w", err)
	}
	return int64(binary.LittleEndian.Uint64(out[:])), nil
}

// deviceSectors asks for the disk's STORAGE_ACCESS_ALIGNMENT_DESCRIPTOR.
func deviceSectors(f *os.File) (logical, physical int) {
	var in [12]byte
	binary.LittleEndian.PutUint32(in[:], storageAccessAlignment)
	var out [accessAlignmentDescriptorSz]byte
	var n uint32
	err := windows.DeviceIoControl(windows.Handle(f.Fd()), ioctlStorageQueryProperty,
		&in[0], uint32(len(in)), &out[0], uint32(len(out)), &n, nil)
	if err != nil || n < uint32(len(out)) {
		return sectorSize, sectorSize
	}
	logical = int(binary.LittleEndian.Uint32(out[bytesPerLogicalSectorAt:]))
	physical = int(binary.LittleEndian.Uint32(out[bytesPerPhysicalSectorAt:]))
	if logical < sectorSize || physical < logical {
		return sectorSize, sectorSize
	}
	return logical, physical
}

// isDeviceName reports whether path is in the device namespace, as
// \\.\PhysicalDrive1 is.
func isDeviceName(path string) bool {
	return strings.HasPrefix(strings.ReplaceAll(path, "/", `\`), `\\.\`)
}
