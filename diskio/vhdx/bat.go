package vhdx

import (
	"io"
	"sync/atomic"

	"wanrep/diskio"
)

// States of a payload block in the BAT (MS-VHDX 2.5.1.1). A sector bitmap block
// is either blockNotPresent or blockFull (2.5.1.2).
const (
	blockNotPresent = 0 // the parent's, or zeros without one
	blockUndefined  = 1 // zeros, never the parent's
	blockZero       = 2 // zeros
	blockUnmapped   = 3 // zeros, never the parent's
	blockFull       = 6 // all of it is in this file
	blockPartial    = 7 // the sector bitmap says which sectors are in this file
)

// An entry is one entry of the BAT: a state and where the block lies (MS-VHDX 2.5.1).
type entry uint64

func makeEntry(state int, offset int64) entry { return entry(offset&^(mib-1)) | entry(state) }

func (e entry) state() int    { return int(e & 7) }
func (e entry) offset() int64 { return int64(e >> 20 << 20) }

// reserved reports bits that must be zero.
func (e entry) reserved() bool { return e>>3&(1<<17-1) != 0 }

// stored reports whether the file has bytes for the block.
func (e entry) stored() bool { return e.state() == blockFull || e.state() == blockPartial }

// A geometry is how a disk is cut into sectors, blocks and chunks.
type geometry struct {
	size       int64 // of the virtual disk
	block      int64
	sector     int64
	ratio      int64 // payload blocks in a chunk, MS-VHDX 2.4
	blocks     int64 // payload blocks
	entries    int64 // of the BAT, MS-VHDX 2.5
	differing  bool
	batOffset  int64
	batRegion  int64 // length of the BAT region
	blockShift uint
}

func (m *metadata) geometry(bat region) (geometry, error) {
	g := geometry{
		size: m.virtualSize, block: m.blockSize, sector: int64(m.logicalSector),
		differing: m.hasParent, batOffset: bat.offset, batRegion: bat.length,
	}
	g.derive()
	if g.entries*8 > bat.length {
		return g, formatErr("BAT", bat.offset, "the region has %d bytes, %d entries need %d", bat.length, g.entries, g.entries*8)
	}
	return g, nil
}

// derive computes what follows from the sizes.
func (g *geometry) derive() {
	g.ratio = chunkSectors * g.sector / g.block
	g.blocks = (g.size + g.block - 1) / g.block
	g.entries = g.blocks + (g.blocks-1)/g.ratio
	if g.differing {
		g.entries = (g.blocks + g.ratio - 1) / g.ratio * (g.ratio + 1)
	}
	for g.blockShift = 20; 1<<g.blockShift < g.block; g.blockShift++ {
	}
}

// payloadAt is where the BAT entry of payload block n lies in the file.
func (g *geometry) payloadAt(n int64) int64 { return g.batOffset + 8*(n+n/g.ratio) }

// bitmapAt is where the BAT entry of the sector bitmap of chunk c lies in the file.
func (g *geometry) bitmapAt(c int64) int64 { return g.batOffset + 8*(c*(g.ratio+1)+g.ratio) }

const (
	pageBytes = 8 * kib
	// pageSlots pages are kept for a disk's files together: 1 MiB.
	pageSlots = 128
	// minPageSlots are kept for each file of a long chain.
	minPageSlots = 4
)

// pages keeps the pages of the BAT and of sector bitmaps that were used last. It
// may be used by several goroutines at once.
type pages struct {
	r     io.ReaderAt
	slots []atomic.Pointer[page]
}

type page struct {
	offset int64
	data   [pageBytes]byte
}

func newPages(r io.ReaderAt, slots int) *pages {
	return &pages{r: r, slots: make([]atomic.Pointer[page], max(slots, minPageSlots))}
}

// at returns the page that holds the byte at off of the file, from that byte on.
func (p *pages) at(off int64) ([]byte, error) {
	start := off &^ (pageBytes - 1)
	slot := &p.slots[start/pageBytes%int64(len(p.slots))]
	pg := slot.Load()
	if pg == nil || pg.offset != start {
		pg = &page{offset: start}
		if _, err := p.r.ReadAt(pg.data[:], start); err != nil {
			return nil, err
		}
		slot.Store(pg)
	}
	return pg.data[off-start:], nil
}

// entry returns the BAT entry that lies at off of the file.
func (p *pages) entry(off int64) (entry, error) {
	b, err := p.at(off)
	if err != nil {
		return 0, err
	}
	return entry(le.Uint64(b)), nil
}

// A slotSet remembers which MiB of a file are taken. It grows with what is taken.
type slotSet map[int64]*[slotWords]uint64

const slotWords = 1024 // 64 GiB of a file in 8 KiB of memory

// take marks the MiB of x and reports whether one of them was taken already.
func (s slotSet) take(x diskio.Extent) (twice bool) {
	for i := x.Start / mib; i < x.End()/mib; {
		part := i / (slotWords * 64)
		words := s[part]
		if words == nil {
			words = new([slotWords]uint64)
			s[part] = words
		}
		w, bit := i/64%slotWords, i%64
		n := min(64-bit, x.End()/mib-i)
		mask := ^uint64(0) >> (64 - n) << bit
		twice = twice || words[w]&mask != 0
		words[w] |= mask
		i += n
	}
	return twice
}

// A census is what one pass over the whole BAT finds.
type census struct {
	allocated int64 // bytes that blocks take in the file
	end       int64 // where the last space that a block owns ends
	// empty has a bit for each page of the BAT without any entry that is not
	// zero, so that holes are crossed without reading.
	empty []uint64
}

func (c *census) setEmpty(pageNo int64)     { c.empty[pageNo/64] |= 1 << (pageNo % 64) }
func (c *census) isEmpty(pageNo int64) bool { return c.empty[pageNo/64]>>(pageNo%64)&1 != 0 }

// A batCheck verifies each entry of a BAT in one pass (MS-VHDX 2.5.1).
type batCheck struct {
	geometry
	claims   []claim
	fileSize int64
	taken    slotSet
	found    report
	census   census
	partial  int64 // file offset of the entry of a partial block in the chunk at hand; 0 without one
}

// run reads the BAT through r. holes tells where in the file nothing is stored.
func (c *batCheck) run(r io.ReaderAt, nextStored func(off int64) int64) error {
	c.taken = slotSet{}
	for _, cl := range c.claims {
		c.taken.take(cl.Extent)
	}
	npages := (c.entries*8 + pageBytes - 1) / pageBytes
	c.census.empty = make([]uint64, (npages+63)/64)
	var buf [logCopyBytes]byte
	for at := int64(0); at < npages*pageBytes; {
		if next := (nextStored(c.batOffset+at) - c.batOffset) &^ (pageBytes - 1); next > at && c.partial == 0 {
			for ; at < min(next, npages*pageBytes); at += pageBytes {
				c.census.setEmpty(at / pageBytes)
			}
			continue
		}
		b := buf[:min(int64(len(buf)), npages*pageBytes-at)]
		if _, err := r.ReadAt(b, c.batOffset+at); err != nil {
			return formatErr("BAT", c.batOffset+at, "unreadable: %v", err)
		}
		for ; len(b) > 0; b, at = b[pageBytes:], at+pageBytes {
			if allZero(b[:pageBytes]) {
				c.census.setEmpty(at / pageBytes)
				if c.partial == 0 {
					continue
				}
			}
			if err := c.page(b[:pageBytes], at/8); err != nil {
				return err
			}
		}
	}
	return nil
}

// page checks the entries of one page, the first of which is number first.
func (c *batCheck) page(b []byte, first int64) error {
	for i := first; i < min(first+pageBytes/8, c.entries); i++ {
		e := entry(le.Uint64(b[8*(i-first):]))
		at := c.batOffset + 8*i
		bitmap := i%(c.ratio+1) == c.ratio
		if e != 0 {
			if err := c.entry(e, at, bitmap); err != nil {
				if err := c.found(err); err != nil {
					return err
				}
			}
		}
		if !bitmap {
			continue
		}
		if c.partial != 0 && e.state() != blockFull {
			err := c.found(formatErr("BAT", at, "the entry at %d has a block that is partly present, but its chunk has no sector bitmap", c.partial))
			if err != nil {
				return err
			}
		}
		c.partial = 0
	}
	return nil
}

// entry checks one entry that is not zero and lies at off of the file.
func (c *batCheck) entry(e entry, at int64, bitmap bool) error {
	if e.reserved() {
		return formatErr("BAT", at, "reserved bits of the entry %016x are not zero", uint64(e))
	}
	what, length := "block", c.block
	if bitmap {
		what, length = "sector bitmap block", bitmapBytes
	}
	switch state := e.state(); {
	case state == 4 || state == 5 || bitmap && state != blockNotPresent && state != blockFull:
		return formatErr("BAT", at, "a %s in the reserved state %d", what, state)
	case state == blockPartial && !c.differing:
		return formatErr("BAT", at, "a block is partly present, but the file has no parent")
	case bitmap && state == blockFull && !c.differing:
		return formatErr("BAT", at, "a sector bitmap block, but the file has no parent")
	case state == blockPartial:
		c.partial = at
	case state == blockNotPresent || state == blockZero:
		return nil // the offset is reserved
	}
	if !e.stored() && e.offset() == 0 {
		return nil
	}
	return c.place(e, at, what, length)
}

// place checks where the block of an entry lies, and takes its space.
func (c *batCheck) place(e entry, at int64, what string, length int64) error {
	x := diskio.Extent{Start: e.offset(), Length: length}
	switch {
	case x.Start < headerAreaBytes:
		return formatErr("BAT", at, "a %s at %d overlaps the header area", what, x.Start)
	case x.Start > maxFileSize:
		return formatErr("BAT", at, "a %s at %d, far behind the largest file", what, x.Start)
	case e.stored() && x.End() > c.fileSize && !c.shortLast(at, x):
		return formatErr("BAT", at, "a %s at %d ends at %s", what, x.Start, behindEnd(x.End(), c.fileSize))
	case c.taken.take(x):
		return formatErr("BAT", at, "a %s at %d overlaps %s", what, x.Start, c.owner(x))
	}
	c.census.end = max(c.census.end, x.End())
	if e.stored() {
		c.census.allocated += length
	}
	return nil
}

// shortLast reports whether the block whose entry is at at is the disk's last one
// and the file has all of it that belongs to the disk. Old QEMU left such files.
func (c *batCheck) shortLast(at int64, x diskio.Extent) bool {
	tail := c.size - (c.blocks-1)*c.block
	return at == c.payloadAt(c.blocks-1) && x.Start+tail <= c.fileSize
}

func (c *batCheck) owner(x diskio.Extent) string {
	for _, cl := range c.claims {
		if x.Start < cl.End() && cl.Start < x.End() {
			return cl.owner
		}
	}
	return "another block"
}
