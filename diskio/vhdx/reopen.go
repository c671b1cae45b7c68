package vhdx

import (
	"errors"
	"fmt"

	"wanrep/diskio"
)

// Reopen continues a disk that Create made and nobody used yet, and forgets
// everything at and after offset keep: it reads as zeros, or as the parent, again.
//
// It is made for the time after a crash. What was flushed and synced before the
// caller noted keep is certain, everything else may be there, torn, or missing:
//
//   - blocks wholly below keep must be sound, and the error is a FormatError if one
//     is not; their BAT entries never change again, so a torn write of the page
//     around them can't hurt them;
//   - the block that keep cuts may have got its place after the last sync. Its entry
//     is believed only if the place is nobody else's; what lies in it behind keep is
//     zeroed, and on a differencing disk only the sectors that the bitmap has below
//     keep are kept. Its part below keep was synced if there was one, and else it is
//     space that the file had not been extended to, which reads as zeros;
//   - entries of later blocks are dropped unread, and the file is cut behind the last
//     block that stays, so that the space of new blocks reads as zeros again.
//
// Everything is synced before Reopen returns, so that no write that follows can get
// to the disk ahead of that. Reopen may itself be cut off anywhere and called again.
func Reopen(f File, keep int64) (*Writer, error) {
	l := &layer{path: "", file: unowned{f}}
	if err := l.load(false); err != nil {
		return nil, err
	}
	if !l.header.logGUID.IsZero() {
		return nil, formatErr("log", int64(l.header.logOffset), "not empty: another program wrote to the file")
	}
	if keep < 0 || keep > l.size || l.differing && keep%l.sector != 0 {
		return nil, fmt.Errorf("vhdx: can't keep %d bytes of a disk of %d", keep, l.size)
	}
	w, err := writerOf(f, l)
	if err != nil {
		return nil, err
	}
	if w.fixed {
		err = w.cutFixed(keep)
	} else {
		err = w.cutBlocks(keep, l)
	}
	if err != nil {
		return nil, err
	}
	if !l.meta.incomplete {
		// Sealed, but the caller does not know of it.
		if err := w.setIncomplete(true); err != nil {
			return nil, err
		}
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return w, f.Sync()
}

// unowned is a Source over a File that somebody else closes.
type unowned struct{ File }

func (unowned) Close() error { return nil }

// writerOf returns a Writer for the file of l, whose end is not known yet.
func writerOf(f File, l *layer) (*Writer, error) {
	w := newWriter(f, l.geometry)
	w.fixed = l.meta.leaveAllocated && !l.differing
	w.header = l.header
	hs, errs := readHeaders(f)
	var err error
	if _, w.current, err = currentHeader(hs, errs); err != nil {
		return nil, err
	}
	w.meta = l.meta.region
	for _, it := range l.meta.items {
		v := make([]byte, it.length)
		if len(v) > 0 {
			if err := readFull(l.src, l.path, v, w.meta.offset+it.offset); err != nil {
				return nil, err
			}
		}
		w.values = append(w.values, metaValue{it.id, it.flags, v})
	}
	return w, nil
}

// cutFixed forgets what a fixed disk has at and after keep.
func (w *Writer) cutFixed(keep int64) error {
	first, err := w.table.entry(w.payloadAt(0))
	if err != nil {
		return err
	}
	for n := range w.blocks {
		e, err := w.table.entry(w.payloadAt(n))
		if err != nil {
			return err
		}
		if e != makeEntry(blockFull, first.offset()+n<<w.blockShift) {
			return formatErr("BAT", w.payloadAt(n), "not the fixed disk that was begun: block %d has the entry %016x", n, uint64(e))
		}
	}
	w.fresh = first.offset() + keep
	w.next = first.offset() + w.blocks<<w.blockShift
	if err := w.f.Truncate(w.fresh); err != nil {
		return err
	}
	return w.f.Truncate(w.next)
}

// A cut is the state of cutBlocks.
type cut struct {
	w     *Writer
	check batCheck
	keep  int64
	whole int64 // blocks that lie wholly below keep
	block entry // what stays of the block that keep cuts; 0 if nothing does
}

// cutBlocks forgets what a dynamic or differencing disk has at and after keep.
func (w *Writer) cutBlocks(keep int64, l *layer) error {
	cs, err := claims(l.header, l.regions, l.length)
	if err != nil {
		return err
	}
	c := &cut{w: w, keep: keep, whole: keep >> w.blockShift}
	if keep == w.size {
		c.whole = w.blocks
	}
	c.check = batCheck{geometry: w.geometry, claims: cs, fileSize: l.length, taken: slotSet{}}
	for _, cl := range cs {
		c.check.taken.take(cl.Extent)
		w.next = max(w.next, cl.End())
	}
	chunk, partial := c.whole/w.ratio, false
	for n := range c.whole {
		e, err := c.take(w.payloadAt(n), false)
		if err != nil {
			return err
		}
		partial = partial || e.state() == blockPartial
		if (n+1)%w.ratio == 0 {
			if err := c.keepBitmap(n/w.ratio, partial); err != nil {
				return err
			}
			partial = false
		}
	}
	if chunk*w.ratio < w.blocks {
		if err := c.cutChunk(chunk, partial); err != nil {
			return err
		}
	}
	if err := c.drop(c.entryBehind(chunk)); err != nil {
		return err
	}
	return c.cutFile()
}

// take checks the entry at at of the file and takes the space of its block.
func (c *cut) take(at int64, bitmap bool) (entry, error) {
	e, err := c.w.table.entry(at)
	if err != nil || e == 0 {
		return e, err
	}
	if err := c.check.entry(e, at, bitmap); err != nil {
		return e, err
	}
	if e.stored() {
		length := c.w.block
		if bitmap {
			length = bitmapBytes
		}
		c.w.next = max(c.w.next, e.offset()+length)
	}
	return e, nil
}

// keepBitmap keeps the sector bitmap of a chunk if a block that stays needs it.
func (c *cut) keepBitmap(chunk int64, needed bool) error {
	at := c.w.bitmapAt(chunk)
	if !needed {
		if c.w.differing || chunk < (c.w.blocks-1)/c.w.ratio {
			return c.w.table.set(at, 0)
		}
		return nil // a disk without a parent has no entry for its last bitmap
	}
	e, err := c.take(at, true)
	if err == nil && e.state() != blockFull {
		err = formatErr("BAT", at, "the sector bitmap of blocks that are partly present is gone")
	}
	return err
}

// cutChunk forgets what the chunk of keep has behind it. partial tells whether a
// block of the chunk that lies below keep is partly present.
func (c *cut) cutChunk(chunk int64, partial bool) error {
	w := c.w
	if partial {
		if err := c.keepBitmap(chunk, true); err != nil {
			return err
		}
	}
	if c.whole<<w.blockShift < c.keep {
		if err := c.cutBlock(chunk, partial); err != nil {
			return err
		}
	}
	for n := c.whole; n < min((chunk+1)*w.ratio, w.blocks); n++ {
		e := entry(0)
		if n == c.whole {
			e = c.block
		}
		if err := w.table.set(w.payloadAt(n), e); err != nil {
			return err
		}
	}
	if partial || c.block.state() == blockPartial {
		return nil
	}
	return c.keepBitmap(chunk, false)
}

// cutBlock finds out what stays of the block that keep cuts. haveBitmap tells that
// the chunk's sector bitmap is known to be good.
func (c *cut) cutBlock(chunk int64, haveBitmap bool) error {
	w := c.w
	next := w.next
	defer func() {
		if c.block == 0 {
			w.next = next
		}
	}()
	at := w.payloadAt(c.whole)
	start := c.whole << w.blockShift
	e, err := w.table.entry(at)
	if err != nil || !e.stored() {
		return err
	}
	if w.differing && !haveBitmap {
		b, err := c.take(w.bitmapAt(chunk), true)
		if ioErr(err) {
			return err
		}
		if err != nil || b.state() != blockFull {
			return nil // no sector of the block was synced
		}
	}
	// An earlier Reopen may have been cut off when it had shortened the file.
	size := c.check.fileSize
	if end := e.offset() + w.block; e.offset()+c.keep-start <= size {
		c.check.fileSize = max(size, end)
	}
	_, err = c.take(at, false)
	c.check.fileSize = size
	if err != nil {
		if ioErr(err) {
			return err
		}
		return nil // it got its place after the last sync
	}
	c.block = makeEntry(blockFull, e.offset())
	if !w.differing {
		return nil
	}
	bitmap, err := w.table.entry(w.bitmapAt(chunk))
	if err != nil {
		return err
	}
	first := start / w.sector % chunkSectors
	cutBit := first + (c.keep-start)/w.sector
	none, err := w.table.uniform(bitmap.offset(), first, cutBit, false)
	if err != nil {
		return err
	}
	if none {
		c.block = 0
		return nil
	}
	c.block = makeEntry(blockPartial, e.offset())
	return w.table.setBits(bitmap.offset(), cutBit, first+w.block/w.sector, false)
}

// ioErr reports an error that says nothing about what the file holds.
func ioErr(err error) bool {
	var fe *diskio.FormatError
	return err != nil && !errors.As(err, &fe)
}

// entryBehind is where in the file the first BAT entry behind a chunk lies.
func (c *cut) entryBehind(chunk int64) int64 {
	return c.w.batOffset + 8*(chunk+1)*(c.w.ratio+1)
}

// drop zeroes the BAT from off on.
func (c *cut) drop(off int64) error {
	if err := c.w.table.flush(); err != nil {
		return err
	}
	c.w.table = newTablePages(c.w.f)
	var buf [logCopyBytes]byte
	for end := c.w.batOffset + c.w.batRegion; off < end; {
		if next := nextStored(c.w.f, off); next > off {
			off = next
			continue
		}
		b := buf[:min(int64(len(buf)), end-off)]
		if err := readFull(c.w.f, "", b, off); err != nil {
			return err
		}
		if !allZero(b) {
			if _, err := c.w.f.WriteAt(zeros[:len(b)], off); err != nil {
				return err
			}
		}
		off += int64(len(b))
	}
	return nil
}

// cutFile cuts the file behind the last block that stays, and zeroes what the block
// that keep cuts has behind it.
func (c *cut) cutFile() error {
	w := c.w
	w.fresh = w.next
	if c.block == 0 {
		return w.f.Truncate(w.next)
	}
	end := c.block.offset() + w.block
	tail := end - ((c.whole+1)<<w.blockShift - c.keep)
	if end == w.next {
		// What Flush adds to the file again is zeros.
		w.fresh = tail
		return w.f.Truncate(tail)
	}
	if err := w.f.Truncate(w.next); err != nil {
		return err
	}
	return w.zeroData(tail, end-tail)
}
