package vhdx

import (
	"fmt"
	"slices"

	"wanrep/diskio"
)

// A Writer fills a disk that nobody reads yet. It is for one goroutine.
//
// Blocks go to the end of the file as they are first written; ascending writes are
// the fast case. What was never written takes no space, and neither do zeros that
// are written to blocks without a place, nor, on Linux, zeros inside a new block.
//
// Nothing is durable until the caller syncs the file after a Flush.
type Writer struct {
	f File
	geometry
	fixed   bool
	header  header // the current one
	current int    // which of the two it is
	meta    region
	values  []metaValue
	table   *tablePages
	next    int64 // where the next block goes; everything in use lies below
	fresh   int64 // from here on the file reads as zeros
}

func newWriter(f File, g geometry) *Writer {
	return &Writer{f: f, geometry: g, table: newTablePages(f)}
}

// Size returns the virtual size in bytes.
func (w *Writer) Size() int64 { return w.size }

// DataWriteGUID is what a child of the disk must name as its parent's. It is final
// once the disk is sealed.
func (w *Writer) DataWriteGUID() diskio.ID { return w.header.dataWriteGUID }

// WriteAt writes p to the disk at off. A differencing disk is written in whole
// sectors.
func (w *Writer) WriteAt(p []byte, off int64) (int, error) {
	if err := w.inside(off, int64(len(p))); err != nil {
		return 0, err
	}
	for done := 0; done < len(p); {
		n, within, length := w.cut(off+int64(done), int64(len(p)-done))
		if err := w.writeBlock(n, within, p[done:done+int(length)]); err != nil {
			return done, err
		}
		done += int(length)
	}
	return len(p), nil
}

// WriteZeros makes length bytes at off read as zeros, and frees or leaves out the
// blocks that hold nothing else. On a differencing disk it hides the parent there.
func (w *Writer) WriteZeros(off, length int64) error {
	if err := w.inside(off, length); err != nil {
		return err
	}
	for end := off + length; off < end; {
		n, within, part := w.cut(off, end-off)
		if err := w.zeroBlock(n, within, part); err != nil {
			return err
		}
		off += part
	}
	return nil
}

func (w *Writer) inside(off, length int64) error {
	switch {
	case off < 0 || length < 0 || length > w.size-off:
		return fmt.Errorf("vhdx: write of %d bytes at %d to a disk of %d", length, off, w.size)
	case w.differing && (off%w.sector != 0 || length%w.sector != 0):
		return fmt.Errorf("vhdx: write of %d bytes at %d to a differencing disk, not whole sectors of %d", length, off, w.sector)
	}
	return nil
}

// cut returns the block of off, where off is in it, and how much of length is in it.
func (w *Writer) cut(off, length int64) (n, within, part int64) {
	n = off >> w.blockShift
	within = off - n<<w.blockShift
	return n, within, min(length, w.block-within)
}

// blockLength is how much of block n belongs to the disk.
func (w *Writer) blockLength(n int64) int64 { return min(w.block, w.size-n<<w.blockShift) }

// writeBlock writes p into block n.
func (w *Writer) writeBlock(n, within int64, p []byte) error {
	e, err := w.table.entry(w.payloadAt(n))
	if err != nil {
		return err
	}
	if e.stored() {
		if err := w.writeData(p, e.offset()+within); err != nil {
			return err
		}
		return w.mark(n, e, within, int64(len(p)))
	}
	whole := int64(len(p)) == w.blockLength(n)
	inherits := w.differing && e.state() == blockNotPresent
	if (!inherits || whole) && allZero(p) {
		if inherits {
			return w.table.set(w.payloadAt(n), makeEntry(blockZero, 0))
		}
		return nil // it reads as zeros already
	}
	if e, err = w.place(n, inherits && !whole); err != nil {
		return err
	}
	if err := w.writeData(p, e.offset()+within); err != nil {
		return err
	}
	return w.mark(n, e, within, int64(len(p)))
}

// zeroBlock makes length bytes of block n read as zeros.
func (w *Writer) zeroBlock(n, within, length int64) error {
	e, err := w.table.entry(w.payloadAt(n))
	if err != nil {
		return err
	}
	inherits := w.differing && e.state() == blockNotPresent
	switch {
	case e.stored():
		if err := w.zeroData(e.offset()+within, length); err != nil {
			return err
		}
	case !inherits:
		return nil
	case length == w.blockLength(n):
		return w.table.set(w.payloadAt(n), makeEntry(blockZero, 0))
	default:
		if e, err = w.place(n, true); err != nil {
			return err
		}
	}
	return w.mark(n, e, within, length)
}

// place gives block n its place at the end of the file, where everything is zeros.
// A partial block gets a sector bitmap in which none of its sectors is set.
func (w *Writer) place(n int64, partial bool) (entry, error) {
	state := blockFull
	if partial {
		state = blockPartial
		if err := w.clearBits(n); err != nil {
			return 0, err
		}
	}
	e := makeEntry(state, w.next)
	w.fresh = max(w.fresh, w.next)
	w.next += w.block
	return e, w.table.set(w.payloadAt(n), e)
}

// mark notes that length bytes at within of block n are in this file. A block that
// has all of its sectors becomes a full one.
func (w *Writer) mark(n int64, e entry, within, length int64) error {
	if e.state() != blockPartial {
		return nil
	}
	bitmap, err := w.table.entry(w.bitmapAt(n / w.ratio))
	if err != nil {
		return err
	}
	first := n << w.blockShift / w.sector % chunkSectors
	at := bitmap.offset()
	from := first + within/w.sector
	if err := w.table.setBits(at, from, from+length/w.sector, true); err != nil {
		return err
	}
	full, err := w.table.uniform(at, first, first+w.blockLength(n)/w.sector, true)
	if err != nil || !full {
		return err
	}
	return w.table.set(w.payloadAt(n), makeEntry(blockFull, e.offset()))
}

// clearBits clears the sectors of block n in the bitmap of its chunk, which it
// makes if there is none.
func (w *Writer) clearBits(n int64) error {
	at := w.bitmapAt(n / w.ratio)
	bitmap, err := w.table.entry(at)
	if err != nil {
		return err
	}
	if bitmap.state() != blockFull {
		bitmap = makeEntry(blockFull, w.next)
		w.next += bitmapBytes
		w.fresh = w.next
		return w.table.set(at, bitmap)
	}
	first := n << w.blockShift / w.sector % chunkSectors
	return w.table.setBits(bitmap.offset(), first, first+w.block/w.sector, false)
}

// writeData writes p to the file at off, without the zeros that are there already.
func (w *Writer) writeData(p []byte, off int64) error {
	const piece = int64(len(zeros))
	for len(p) > 0 {
		// What lies behind fresh is cut into aligned pieces; zero ones stay holes.
		n := int64(len(p))
		if off >= w.fresh {
			n = min(n, piece-off%piece)
			if allZero(p[:n]) {
				p, off = p[n:], off+n
				continue
			}
			for n < int64(len(p)) {
				next := min(piece, int64(len(p))-n)
				if allZero(p[n : n+next]) {
					break
				}
				n += next
			}
		}
		if _, err := w.f.WriteAt(p[:n], off); err != nil {
			return err
		}
		w.fresh = max(w.fresh, off+n)
		p, off = p[n:], off+n
	}
	return nil
}

// zeroData makes length bytes of the file at off zeros.
func (w *Writer) zeroData(off, length int64) error {
	length = min(length, max(0, w.fresh-off)) // the rest is zeros already
	if length == 0 || punchHole(w.f, off, length) {
		return nil
	}
	for length > 0 {
		n := min(length, int64(len(zeros)))
		if _, err := w.f.WriteAt(zeros[:n], off); err != nil {
			return err
		}
		off, length = off+n, length-n
	}
	return nil
}

// Flush writes the BAT and the sector bitmaps and makes the file as long as its
// blocks need. It does not sync.
func (w *Writer) Flush() error {
	if err := w.table.flush(); err != nil {
		return err
	}
	fi, err := w.f.Stat()
	if err != nil || fi.Size() >= w.next {
		return err
	}
	return w.f.Truncate(w.next)
}

// Seal makes the disk a whole one: it flushes, drops the IncompleteFile mark, and
// writes both headers with new GUIDs. The caller syncs before, so that nothing of
// the content is missing when the mark is gone, and after. A disk that is sealed is
// not written to any more.
func (w *Writer) Seal() error {
	if err := w.Flush(); err != nil {
		return err
	}
	if err := w.setIncomplete(false); err != nil {
		return err
	}
	w.header.fileWriteGUID, w.header.dataWriteGUID = newID(), newID()
	return w.writeHeaders()
}

// setIncomplete puts the IncompleteFile mark into the metadata table or drops it.
func (w *Writer) setIncomplete(on bool) error {
	vs := slices.DeleteFunc(slices.Clone(w.values), func(v metaValue) bool { return v.id == itemIncomplete })
	if on {
		vs = append(vs, incompleteMark)
	}
	// The items do not move, and the table's entries are all in its first sectors.
	if _, err := w.f.WriteAt(encodeMetadata(vs)[:logSectorBytes], w.meta.offset); err != nil {
		return err
	}
	w.values = vs
	return nil
}

// writeHeaders writes w.header as the new current header and then once more over
// the other, so that one of the two is valid at every moment (MS-VHDX 2.2.2.1).
func (w *Writer) writeHeaders() error {
	for i := range headerOffsets {
		if i > 0 {
			if err := w.f.Sync(); err != nil {
				return err
			}
		}
		w.header.sequence++
		w.current = 1 - w.current
		if _, err := w.f.WriteAt(w.header.encode(), headerOffsets[w.current]); err != nil {
			return err
		}
	}
	return nil
}
