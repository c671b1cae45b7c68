package vhdx

import (
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"unicode/utf16"

	"wanrep/diskio"
)

// Where Create puts things, as Windows does: the log, the metadata and the BAT
// behind the header area, and the blocks behind the BAT.
const (
	createdLogOffset  = 1 * mib
	createdLogBytes   = mib
	createdMetaOffset = 2 * mib
	createdMetaBytes  = mib
	createdBATOffset  = 3 * mib

	// smallDisk is up to where the default block size is 2 MiB, which keeps small
	// disks small; above, 32 MiB keep the BAT of a 64 TiB disk at 16 MiB.
	smallDisk         = 8 << 40
	smallDefaultBlock = 2 * mib
	largeDefaultBlock = 32 * mib
)

// A File is what a Writer writes. *os.File and durable.File are one.
type File interface {
	io.ReaderAt
	io.WriterAt
	Truncate(size int64) error
	Sync() error
	Stat() (fs.FileInfo, error)
}

// A Parent says on which disk a differencing disk builds.
type Parent struct {
	// DataWriteGUID is that of the parent's current header. Nothing may write to
	// the parent from now on.
	DataWriteGUID diskio.ID
	// RelativePath leads from the child's directory to the parent, in Windows'
	// form: `..\0000000000000001\os.vhdx`. At least one path is needed.
	RelativePath string
	VolumePath   string // `\\?\Volume{…}\…`
	AbsolutePath string // `D:\…`
}

// A Spec says what disk Create makes.
type Spec struct {
	// VirtualSize is a multiple of LogicalSectorSize up to 64 TiB.
	VirtualSize int64
	// BlockSize is a power of two between 1 and 256 MiB. Default: 2 MiB for disks
	// up to 8 TiB, 32 MiB above.
	BlockSize int64
	// LogicalSectorSize and PhysicalSectorSize are 512 or 4096. Defaults: 512 and 4096.
	LogicalSectorSize  int
	PhysicalSectorSize int
	// DiskID is what guests know the disk by. Default: a new one.
	DiskID diskio.ID
	// Parent makes a differencing disk.
	Parent *Parent
	// Fixed gives every block its place at once.
	Fixed bool
	// Incomplete marks the file until it is sealed, so that no reader takes it
	// for a whole disk.
	Incomplete bool
	// Creator is for whoever looks into the file. Default: "wanrep".
	Creator string
}

func (s Spec) withDefaults() Spec {
	if s.BlockSize == 0 {
		s.BlockSize = smallDefaultBlock
		if s.VirtualSize > smallDisk {
			s.BlockSize = largeDefaultBlock
		}
	}
	if s.LogicalSectorSize == 0 {
		s.LogicalSectorSize = 512
	}
	if s.PhysicalSectorSize == 0 {
		s.PhysicalSectorSize = 4096
	}
	if s.DiskID.IsZero() {
		s.DiskID = newID()
	}
	if s.Creator == "" {
		s.Creator = "wanrep"
	}
	return s
}

func (s Spec) check() error {
	sector := int64(s.LogicalSectorSize)
	switch {
	case sector != 512 && sector != 4096:
		return fmt.Errorf("vhdx: a logical sector size of %d, not 512 or 4096", sector)
	case s.PhysicalSectorSize != 512 && s.PhysicalSectorSize != 4096:
		return fmt.Errorf("vhdx: a physical sector size of %d, not 512 or 4096", s.PhysicalSectorSize)
	case s.VirtualSize <= 0 || s.VirtualSize > diskio.MaxVirtualSize || s.VirtualSize%sector != 0:
		return fmt.Errorf("vhdx: a virtual size of %d, not a multiple of %d up to 64 TiB", s.VirtualSize, sector)
	case s.BlockSize < minBlockSize || s.BlockSize > maxBlockSize || bits.OnesCount64(uint64(s.BlockSize)) != 1:
		return fmt.Errorf("vhdx: a block size of %d, not a power of two between 1 and 256 MiB", s.BlockSize)
	case s.Parent != nil && s.Fixed:
		return fmt.Errorf("vhdx: a fixed disk has no parent")
	case s.Parent != nil && s.Parent.DataWriteGUID.IsZero():
		return fmt.Errorf("vhdx: a parent without a data write GUID")
	case s.Parent != nil && s.Parent.RelativePath == "" && s.Parent.VolumePath == "" && s.Parent.AbsolutePath == "":
		return fmt.Errorf("vhdx: a parent without a path")
	}
	return nil
}

// Create makes a new disk in f, whose content it drops. The disk reads as zeros, or
// as its parent, until something is written. f is not closed by the Writer.
func Create(f File, s Spec) (*Writer, error) {
	s = s.withDefaults()
	if err := s.check(); err != nil {
		return nil, err
	}
	g := geometry{
		size: s.VirtualSize, block: s.BlockSize, sector: int64(s.LogicalSectorSize),
		differing: s.Parent != nil, batOffset: createdBATOffset,
	}
	g.derive()
	g.batRegion = (g.entries*8 + mib - 1) / mib * mib
	w := newWriter(f, g)
	w.fixed = s.Fixed
	w.next = g.batOffset + g.batRegion
	w.fresh = w.next
	w.header = header{
		sequence: 1, fileWriteGUID: newID(), dataWriteGUID: newID(),
		version: 1, logLength: createdLogBytes, logOffset: createdLogOffset,
	}
	w.meta = region{id: regionMetadata, offset: createdMetaOffset, length: createdMetaBytes, required: true}
	w.values = s.values()
	if err := f.Truncate(0); err != nil {
		return nil, err
	}
	if s.Fixed {
		if err := w.allocateAll(); err != nil {
			return nil, err
		}
	}
	if err := f.Truncate(w.next); err != nil {
		return nil, err
	}
	return w, w.writeStructures(s.Creator)
}

// writeStructures writes everything in front of the BAT.
func (w *Writer) writeStructures(creator string) error {
	identifier := append([]byte("vhdxfile"), make([]byte, 512)...)
	for i, c := range utf16.Encode([]rune(creator)) {
		if 2*i < 512-2 {
			le.PutUint16(identifier[8+2*i:], c)
		}
	}
	table := encodeRegionTable([]region{
		{id: regionBAT, offset: w.batOffset, length: w.batRegion, required: true},
		w.meta,
	})
	second := w.header
	second.sequence++
	for _, part := range []struct {
		b   []byte
		off int64
	}{
		{identifier, 0},
		{encodeMetadata(w.values), w.meta.offset},
		{table, regionTable1},
		{table, regionTable2},
		{w.header.encode(), headerOffsets[0]},
		{second.encode(), headerOffsets[1]},
	} {
		if _, err := w.f.WriteAt(part.b, part.off); err != nil {
			return err
		}
	}
	w.header, w.current = second, 1
	return nil
}

// allocateAll gives every block its place, in order.
func (w *Writer) allocateAll() error {
	var b []byte
	at := w.batOffset
	for n := range w.blocks {
		b = le.AppendUint64(b, uint64(makeEntry(blockFull, w.next)))
		w.next += w.block
		if (n+1)%w.ratio == 0 && n+1 < w.blocks {
			b = le.AppendUint64(b, 0) // the chunk's sector bitmap
		}
		if len(b) >= 64*kib || n+1 == w.blocks {
			if _, err := w.f.WriteAt(b, at); err != nil {
				return err
			}
			at, b = at+int64(len(b)), b[:0]
		}
	}
	return nil
}

// A metaValue is a metadata item to write.
type metaValue struct {
	id    diskio.ID
	flags uint32
	value []byte
}

// values lists the metadata items of the disk. The mark of an incomplete file comes
// last, so that dropping it changes one sector.
func (s Spec) values() []metaValue {
	params := uint32(0)
	if s.Fixed {
		params |= paramLeaveAllocated
	}
	if s.Parent != nil {
		params |= paramHasParent
	}
	vs := []metaValue{
		{itemFileParameters, flagRequired, le.AppendUint32(le.AppendUint32(nil, uint32(s.BlockSize)), params)},
		{itemVirtualSize, flagRequired | flagVirtualDisk, le.AppendUint64(nil, uint64(s.VirtualSize))},
		{itemLogicalSector, flagRequired | flagVirtualDisk, le.AppendUint32(nil, uint32(s.LogicalSectorSize))},
		{itemPhysicalSector, flagRequired | flagVirtualDisk, le.AppendUint32(nil, uint32(s.PhysicalSectorSize))},
		{itemDiskID, flagRequired | flagVirtualDisk, s.DiskID[:]},
	}
	if p := s.Parent; p != nil {
		var zero diskio.ID
		pairs := [][2]string{{keyLinkage, "{" + p.DataWriteGUID.String() + "}"}}
		for _, kv := range [][2]string{
			{keyAbsolute, p.AbsolutePath}, {keyRelative, p.RelativePath}, {keyVolume, p.VolumePath},
		} {
			if kv[1] != "" {
				pairs = append(pairs, kv)
			}
		}
		pairs = append(pairs, [2]string{keyLinkage2, "{" + zero.String() + "}"})
		vs = append(vs, metaValue{itemParentLocator, flagRequired, encodeLocator(pairs)})
	}
	if s.Incomplete {
		vs = append(vs, incompleteMark)
	}
	return vs
}

var incompleteMark = metaValue{id: itemIncomplete, flags: flagRequired}

// encodeMetadata returns the metadata table and, behind it, the items.
func encodeMetadata(vs []metaValue) []byte {
	b := make([]byte, metaTableBytes)
	copy(b, "metadata")
	le.PutUint16(b[10:], uint16(len(vs)))
	for i, v := range vs {
		e := b[32+32*i:]
		copy(e, v.id[:])
		if len(v.value) > 0 {
			le.PutUint32(e[16:], uint32(len(b)))
			le.PutUint32(e[20:], uint32(len(v.value)))
		}
		le.PutUint32(e[24:], v.flags)
		b = append(b, v.value...)
	}
	return b
}
