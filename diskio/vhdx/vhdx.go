// Package vhdx reads and writes Hyper-V virtual disks: fixed, dynamic and
// differencing VHDX files as [MS-VHDX] version 8 describes them.
//
// Reading never writes: changes that wait in a file's log are replayed into an
// overlay in memory, and every structure is checked before it is believed, since
// a disk image is untrusted input. Memory stays at a few MiB for each open disk;
// the block allocation table is read page by page.
//
// Writing is made for disks that nobody uses yet: a [Writer] fills a new file
// that carries the IncompleteFile metadata item until it is sealed, so it needs
// no log. What is not here: attaching disks, resizing them, and VHD (package vhd).
//
// Start with chain.go for how a disk and its parents are opened, disk.go for how
// it is read, and writer.go for how one is made.
//
// [MS-VHDX]: https://learn.microsoft.com/openspecs/windows_protocols/ms-vhdx
package vhdx

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"wanrep/diskio"
)

// Sizes and places that the format fixes.
const (
	kib = 1 << 10
	mib = 1 << 20

	headerBytes      = 4 * kib         // MS-VHDX 2.2.2
	regionTableBytes = 64 * kib        // MS-VHDX 2.2.3
	metaTableBytes   = 64 * kib        // MS-VHDX 2.6
	bitmapBytes      = mib             // MS-VHDX 2.4, one sector bitmap block
	chunkSectors     = bitmapBytes * 8 // MS-VHDX 2.4, sectors that one bitmap block describes

	headerAreaBytes = mib // nothing else lies below, MS-VHDX 2.2
	regionTable1    = 192 * kib
	regionTable2    = 256 * kib

	minBlockSize = mib       // MS-VHDX 2.6.2.1
	maxBlockSize = 256 * mib // MS-VHDX 2.6.2.1

	maxTableEntries = 2047    // MS-VHDX 2.2.3.1 and 2.6.1.1
	maxLogBytes     = 1 << 30 // Windows writes 1 MiB; more than 1 GiB is an attack

	// maxFileSize is more than the largest disk can need: 64 TiB of blocks, a
	// sector bitmap and a block allocation table for them, and a log.
	maxFileSize = diskio.MaxVirtualSize + 1<<40

	// maxChain is how many files a chain may have. Hyper-V stops at 50
	// checkpoints; Microsoft's open reader stops at 256 files.
	maxChain = 256
)

// headerOffsets are the places of the two headers (MS-VHDX 2.2.2).
var headerOffsets = [2]int64{64 * kib, 128 * kib}

// GUIDs of regions, metadata items and the one kind of parent locator.
var (
	regionBAT      = mustID("2DC27766-F623-4200-9D64-115E9BFD4A08")
	regionMetadata = mustID("8B7CA206-4790-4B9A-B8FE-575F050F886E")

	itemFileParameters = mustID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
	itemVirtualSize    = mustID("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
	itemDiskID         = mustID("BECA12AB-B2E6-4523-93EF-C309E000C746")
	itemLogicalSector  = mustID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
	itemPhysicalSector = mustID("CDA348C7-445D-4471-9CC9-E9885251C556")
	itemParentLocator  = mustID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
	// itemIncomplete marks a file that is not whole yet. The specification does
	// not have it; Windows and every other reader refuse a file that carries it.
	itemIncomplete = mustID("71CC85F0-1B69-4E28-9558-C3BF83AE75D3")
	// Two more that Windows writes and Microsoft's open reader knows; they say
	// nothing about the content.
	itemGeometry  = mustID("DA02D7BC-3D3A-423C-AC88-2A36AB21479B")
	itemPMEMLabel = mustID("10E1AE8A-4B7E-4169-A40F-CD70DE928393")

	locatorVHDX = mustID("B04AEFB7-D19E-4A81-B789-25B8E9445913")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum returns the CRC-32C of b with the four bytes at 4 taken as zeros,
// where every structure of the format keeps its own checksum.
func checksum(b []byte) uint32 {
	c := crc32.Update(0, castagnoli, b[:4])
	c = crc32.Update(c, castagnoli, make([]byte, 4))
	return crc32.Update(c, castagnoli, b[8:])
}

// formatErr makes a FormatError; the path is filled in by whoever knows it.
func formatErr(section string, offset int64, format string, args ...any) error {
	return &diskio.FormatError{Section: section, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

// withPath names the file in a FormatError that does not name one yet.
func withPath(err error, path string) error {
	var fe *diskio.FormatError
	if errors.As(err, &fe) && fe.Path == "" {
		fe.Path = path
	}
	return err
}

// newID returns a random GUID (RFC 9562, version 4).
func newID() diskio.ID {
	var id diskio.ID
	rand.Read(id[:]) // never fails
	id[7] = id[7]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// parseID reads a GUID in registry form, with or without braces.
func parseID(s string) (diskio.ID, error) {
	s = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(s), "{"), "}")
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return diskio.ID{}, fmt.Errorf("%q is not a GUID", diskio.Printable(s))
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != 16 {
		return diskio.ID{}, fmt.Errorf("%q is not a GUID", diskio.Printable(s))
	}
	return diskio.ID{
		b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6],
		b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15],
	}, nil
}

func mustID(s string) diskio.ID {
	id, err := parseID(s)
	if err != nil {
		panic(err)
	}
	return id
}
