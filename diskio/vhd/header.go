package vhd

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"wanrep/diskio"
)

const (
	headerBytes    = 1024
	headerChecksum = 36 // offset of the checksum in the header
	// maxBlockBytes bounds a block, and with it a block's bitmap to 64 KiB.
	// Everybody writes blocks of 2 MiB or 512 KiB.
	maxBlockBytes = 256 << 20
	// maxBlocks bounds the block allocation table to 16 MiB: the largest disk in
	// blocks of 512 KiB, the smallest that Hyper-V makes.
	maxBlocks = 1 << 22

	parentNameAt    = 64
	parentNameBytes = 512
	locatorsAt      = 576
	locatorCount    = 8
	locatorBytes    = 24
	// maxPathBytes is the longest path that Windows has, in UTF-16.
	maxPathBytes = 32767 * 2
)

var headerCookie = []byte("cxsparse")

// A header describes the blocks of a dynamic or differencing disk.
type header struct {
	tableOffset uint64
	entries     uint32 // of the block allocation table
	blockSize   uint32 // bytes, without the bitmap
	parentID    diskio.ID
	parentName  []byte // UTF-16 big-endian
	locators    []locator
}

// A locator says where in the file a path to the parent is.
type locator struct {
	code   [4]byte // "W2ru": relative, "W2ku": absolute, both UTF-16 little-endian
	length uint32  // bytes
	offset uint64  // in the file
}

// parseHeader reads the 1024 bytes of a header.
func parseHeader(b []byte) (header, *problem) {
	var h header
	switch {
	case !bytes.HasPrefix(b, headerCookie):
		return h, problemf(0, `it does not begin with "cxsparse"`)
	case binary.BigEndian.Uint32(b[headerChecksum:]) != checksum(b, headerChecksum):
		return h, problemf(headerChecksum, "its checksum is wrong")
	case binary.BigEndian.Uint32(b[24:])>>16 != formatVersion>>16:
		return h, problemf(24, "version %#x is not known", binary.BigEndian.Uint32(b[24:]))
	}
	h.tableOffset = binary.BigEndian.Uint64(b[16:])
	h.entries = binary.BigEndian.Uint32(b[28:])
	h.blockSize = binary.BigEndian.Uint32(b[32:])
	if bits.OnesCount32(h.blockSize) != 1 || h.blockSize < sectorSize || h.blockSize > maxBlockBytes {
		return h, problemf(32, "blocks of %d bytes; a power of two from 512 bytes to 256 MiB is known", h.blockSize)
	}
	copy(h.parentID[:], b[40:])
	h.parentName = bytes.Clone(b[parentNameAt : parentNameAt+parentNameBytes])
	for i := range locatorCount {
		e := b[locatorsAt+i*locatorBytes:]
		l := locator{length: binary.BigEndian.Uint32(e[8:]), offset: binary.BigEndian.Uint64(e[16:])}
		copy(l.code[:], e)
		if l.code != [4]byte{} {
			h.locators = append(h.locators, l)
		}
	}
	return h, nil
}

// encode returns the header's 1024 bytes.
func (h header) encode() []byte {
	b := make([]byte, headerBytes)
	copy(b, headerCookie)
	binary.BigEndian.PutUint64(b[8:], ^uint64(0)) // no further header
	binary.BigEndian.PutUint64(b[16:], h.tableOffset)
	binary.BigEndian.PutUint32(b[24:], formatVersion)
	binary.BigEndian.PutUint32(b[28:], h.entries)
	binary.BigEndian.PutUint32(b[32:], h.blockSize)
	copy(b[40:], h.parentID[:])
	copy(b[parentNameAt:parentNameAt+parentNameBytes], h.parentName)
	for i, l := range h.locators {
		e := b[locatorsAt+i*locatorBytes:]
		copy(e, l.code[:])
		// The space is counted in bytes by everybody, whatever the specification says.
		binary.BigEndian.PutUint32(e[4:], (l.length+sectorSize-1)/sectorSize*sectorSize)
		binary.BigEndian.PutUint32(e[8:], l.length)
		binary.BigEndian.PutUint64(e[16:], l.offset)
	}
	binary.BigEndian.PutUint32(b[headerChecksum:], checksum(b, headerChecksum))
	return b
}
