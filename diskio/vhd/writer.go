package vhd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"time"

	"wanrep/diskio"
)

const (
	// MaxVirtualSize is the largest disk that a VHD holds for everybody, 2040 GiB.
	MaxVirtualSize = 2040 << 30

	defaultBlockBytes = 2 << 20
	minBlockBytes     = 512 << 10

	// Every other reader tells by the creator which of the two sizes in the footer
	// to believe. Those of Hyper-V and Windows are read by size, as these are
	// meant; an unknown creator's are cut down to their geometry by qemu.
	creatorApp     = "win "
	creatorHost    = "Wi2k"
	creatorVersion = 0x000a0000
)

// A File is what a disk is written to, such as an *os.File that is empty.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
}

// A Spec says which disk to make.
type Spec struct {
	// VirtualSize is in bytes: whole sectors of 512, at most MaxVirtualSize.
	VirtualSize int64
	// BlockSize of a dynamic disk is a power of two from 512 KiB to 256 MiB.
	// Default: 2 MiB, which is the only size that qemu and Azure take.
	BlockSize int64
	// Fixed makes a fixed disk, whose file is as large as the disk.
	Fixed bool
	// DiskID is the disk's identity for life.
	DiskID diskio.ID
	// Created is the time stamp in the disk. Default: 1 January 2000.
	Created time.Time
}

// A Writer fills a new disk. It is used by one goroutine at a time. The file is
// a disk once Seal returned; before, it has no footer at its end.
type Writer struct {
	file   File
	spec   Spec
	footer footer
	// table has a block's sector for each block; a fixed disk has none.
	table       []uint32
	tableOffset int64
	bitmapBytes int64
	end         int64 // of what is in use of the file
}

// Create begins a disk in an empty file.
func Create(f File, s Spec) (*Writer, error) {
	if s.VirtualSize <= 0 || s.VirtualSize%sectorSize != 0 || s.VirtualSize > MaxVirtualSize {
		return nil, fmt.Errorf("a VHD of %d bytes: it holds whole sectors of 512 bytes, at most 2040 GiB", s.VirtualSize)
	}
	if s.BlockSize == 0 {
		s.BlockSize = defaultBlockBytes
	}
	if s.BlockSize < minBlockBytes || s.BlockSize > maxBlockBytes || bits.OnesCount64(uint64(s.BlockSize)) != 1 {
		return nil, fmt.Errorf("a VHD with blocks of %d bytes: it takes a power of two from 512 KiB to 256 MiB", s.BlockSize)
	}
	if s.Created.Before(epoch) {
		s.Created = epoch
	}
	w := &Writer{file: f, spec: s}
	w.footer = footer{
		kind:       fixed,
		dataOffset: ^uint64(0),
		stamp:      stampOf(s.Created),
		creator:    [4]byte([]byte(creatorApp)),
		size:       uint64(s.VirtualSize),
		geometry:   geometryOf(s.VirtualSize / sectorSize),
		id:         s.DiskID,
	}
	if s.Fixed {
		w.end = s.VirtualSize
		return w, f.Truncate(w.end)
	}
	return w, w.beginDynamic()
}

// beginDynamic writes the structures in front of the blocks.
func (w *Writer) beginDynamic() error {
	w.footer.kind = dynamic
	w.footer.dataOffset = footerBytes
	w.tableOffset = footerBytes + headerBytes
	w.bitmapBytes = (w.spec.BlockSize/sectorSize/8 + sectorSize - 1) / sectorSize * sectorSize
	w.table = make([]uint32, (w.spec.VirtualSize+w.spec.BlockSize-1)/w.spec.BlockSize)
	for i := range w.table {
		w.table[i] = noBlock
	}
	h := header{tableOffset: uint64(w.tableOffset), entries: uint32(len(w.table)), blockSize: uint32(w.spec.BlockSize)}
	if _, err := w.file.WriteAt(append(w.footer.encode(), h.encode()...), 0); err != nil {
		return err
	}
	w.end = w.tableOffset + (int64(len(w.table))*entryBytes+sectorSize-1)/sectorSize*sectorSize
	return w.file.Truncate(w.end)
}

// WriteAt writes the disk's content, in any order. What is never written stays
// zeros and, in a dynamic disk, takes no space.
func (w *Writer) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || int64(len(p)) > w.spec.VirtualSize-off {
		return 0, fmt.Errorf("write %d bytes at offset %d: the disk has %d bytes", len(p), off, w.spec.VirtualSize)
	}
	if w.spec.Fixed {
		return w.file.WriteAt(p, off)
	}
	n := 0
	for n < len(p) {
		block, within := off/w.spec.BlockSize, off%w.spec.BlockSize
		start, err := w.place(block)
		if err != nil {
			return n, err
		}
		part := p[n:min(len(p), n+int(w.spec.BlockSize-within))]
		k, err := w.file.WriteAt(part, start+w.bitmapBytes+within)
		n += k
		if err != nil {
			return n, err
		}
		off += int64(k)
	}
	return n, nil
}

// place returns where in the file a block begins. A block that has no place yet
// gets one at the end, with a bitmap that says that all its sectors are in use.
func (w *Writer) place(block int64) (int64, error) {
	if w.table[block] != noBlock {
		return int64(w.table[block]) * sectorSize, nil
	}
	start := w.end
	bitmap := bytes.Repeat([]byte{0xff}, int(w.bitmapBytes))
	clear(bitmap[(w.spec.BlockSize/sectorSize+7)/8:])
	if _, err := w.file.WriteAt(bitmap, start); err != nil {
		return 0, err
	}
	end := start + w.bitmapBytes + w.spec.BlockSize
	if err := w.file.Truncate(end); err != nil {
		return 0, err
	}
	w.table[block], w.end = uint32(start/sectorSize), end
	return start, nil
}

// Seal writes the table and the footer at the end. The caller syncs the file.
func (w *Writer) Seal() error {
	const atOnce = 16 << 10 // entries
	for first := 0; first < len(w.table); first += atOnce {
		part := w.table[first:min(len(w.table), first+atOnce)]
		b := make([]byte, 0, len(part)*entryBytes)
		for _, sector := range part {
			b = binary.BigEndian.AppendUint32(b, sector)
		}
		if _, err := w.file.WriteAt(b, w.tableOffset+int64(first)*entryBytes); err != nil {
			return err
		}
	}
	_, err := w.file.WriteAt(w.footer.encode(), w.end)
	return err
}
