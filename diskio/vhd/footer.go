package vhd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"wanrep/diskio"
)

const (
	footerBytes = 512
	// oldFooterBytes is the length that footers had before Virtual PC 2004: the
	// same fields with one reserved byte less behind them.
	oldFooterBytes = 511
	footerChecksum = 64 // offset of the checksum in the footer
	formatVersion  = 0x00010000
	// maxSize bounds the size by what 32-bit sector numbers can address.
	maxSize = 1 << 32 * sectorSize
)

var footerCookie = []byte("conectix")

// A kind is the footer's disk type.
type kind uint32

const (
	fixed        kind = 2
	dynamic      kind = 3
	differencing kind = 4
)

func (k kind) String() string {
	switch k {
	case fixed:
		return "fixed"
	case dynamic:
		return "dynamic"
	case differencing:
		return "differencing"
	}
	return fmt.Sprintf("type %d", uint32(k))
}

// A footer describes the disk. It is the last sector of the file; dynamic and
// differencing disks have a copy in the first.
type footer struct {
	kind       kind
	dataOffset uint64 // of the header; all ones for a fixed disk
	stamp      uint32 // seconds since 2000
	creator    [4]byte
	size       uint64 // of the disk, in bytes
	geometry   geometry
	id         diskio.ID
}

// A problem is what is wrong with a structure, at an offset within it.
type problem struct {
	offset int64
	reason string
}

func problemf(offset int64, format string, args ...any) *problem {
	return &problem{offset, fmt.Sprintf(format, args...)}
}

// parseFooter reads a footer of 512 or 511 bytes.
func parseFooter(b []byte) (footer, *problem) {
	var f footer
	switch {
	case !bytes.HasPrefix(b, footerCookie):
		return f, problemf(0, `it does not begin with "conectix"`)
	case binary.BigEndian.Uint32(b[footerChecksum:]) != checksum(b, footerChecksum):
		return f, problemf(footerChecksum, "its checksum is wrong")
	case binary.BigEndian.Uint32(b[12:])>>16 != formatVersion>>16:
		return f, problemf(12, "version %#x is not known", binary.BigEndian.Uint32(b[12:]))
	}
	f.kind = kind(binary.BigEndian.Uint32(b[60:]))
	f.dataOffset = binary.BigEndian.Uint64(b[16:])
	f.stamp = binary.BigEndian.Uint32(b[24:])
	copy(f.creator[:], b[28:])
	f.size = binary.BigEndian.Uint64(b[48:])
	f.geometry = geometry{binary.BigEndian.Uint16(b[56:]), b[58], b[59]}
	copy(f.id[:], b[68:])
	switch {
	case f.kind < fixed || f.kind > differencing:
		return f, problemf(60, "disk %v is not known", f.kind)
	case f.size == 0 || f.size%sectorSize != 0 || f.size > maxSize:
		return f, problemf(48, "a disk of %d bytes; it must be whole sectors of 512, at most 2 TiB", f.size)
	}
	return f, nil
}

// encode returns the footer's 512 bytes.
func (f footer) encode() []byte {
	b := make([]byte, footerBytes)
	copy(b, footerCookie)
	binary.BigEndian.PutUint32(b[8:], 2) // the one feature bit that must be set
	binary.BigEndian.PutUint32(b[12:], formatVersion)
	binary.BigEndian.PutUint64(b[16:], f.dataOffset)
	binary.BigEndian.PutUint32(b[24:], f.stamp)
	copy(b[28:], f.creator[:])
	binary.BigEndian.PutUint32(b[32:], creatorVersion)
	copy(b[36:], creatorHost)
	binary.BigEndian.PutUint64(b[40:], f.size) // the size when it was made
	binary.BigEndian.PutUint64(b[48:], f.size)
	binary.BigEndian.PutUint16(b[56:], f.geometry.cylinders)
	b[58], b[59] = f.geometry.heads, f.geometry.sectors
	binary.BigEndian.PutUint32(b[60:], uint32(f.kind))
	copy(b[68:], f.id[:])
	binary.BigEndian.PutUint32(b[footerChecksum:], checksum(b, footerChecksum))
	return b
}

// checksum is the ones' complement of the sum of all bytes but the four of the
// checksum itself, which are at offset at.
func checksum(b []byte, at int) uint32 {
	var sum uint32
	for _, v := range b {
		sum += uint32(v)
	}
	for _, v := range b[at : at+4] {
		sum -= uint32(v)
	}
	return ^sum
}

// A geometry is what a BIOS is told about the disk.
type geometry struct {
	cylinders      uint16
	heads, sectors uint8
}

// geometryOf computes the geometry of a disk of n sectors as the
// specification's appendix does. It never says more than the disk has.
func geometryOf(n int64) geometry {
	const maxSectors = 65535 * 16 * 255
	n = min(n, maxSectors)
	var heads, sectors, tracks int64
	if n >= 65535*16*63 {
		heads, sectors = 16, 255
		tracks = n / sectors
	} else {
		sectors = 17
		tracks = n / sectors
		heads = max((tracks+1023)/1024, 4)
		if tracks >= heads*1024 || heads > 16 {
			heads, sectors = 16, 31
			tracks = n / sectors
		}
		if tracks >= heads*1024 {
			heads, sectors = 16, 63
			tracks = n / sectors
		}
	}
	return geometry{uint16(tracks / heads), uint8(heads), uint8(sectors)}
}

// epoch is where time stamps begin.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// stampOf returns a time as the format counts it.
func stampOf(t time.Time) uint32 { return uint32(t.Sub(epoch) / time.Second) }
