package vhd

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"wanrep/diskio"
)

const (
	entryBytes = 4
	// noBlock is the entry of a block that is not in the file.
	noBlock = 0xffffffff
	// pageEntries is how many entries are read at once; with blocks of 2 MiB a
	// page describes 4 GiB.
	pageEntries   = 2048
	cachedPages   = 8
	cachedBitmaps = 8
)

// A table is the block allocation table. It stays in the file; the pages that
// were used last are kept.
type table struct {
	file    io.ReaderAt
	offset  int64
	entries int64
	pages   *cache
}

func newTable(file io.ReaderAt, offset, entries int64) *table {
	t := &table{file: file, offset: offset, entries: entries}
	t.pages = &cache{keep: cachedPages, read: t.readPage}
	return t
}

func (t *table) readPage(n int64) ([]byte, error) {
	count := min(pageEntries, t.entries-n*pageEntries)
	b := make([]byte, count*entryBytes)
	_, err := t.file.ReadAt(b, t.offset+n*pageEntries*entryBytes)
	return b, err
}

// sector returns block n's entry: the sector of the file where its bitmap is.
func (t *table) sector(n int64) (uint32, error) {
	page, err := t.pages.get(n / pageEntries)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(page[n%pageEntries*entryBytes:]), nil
}

// each calls f for each entry, from the first on.
func (t *table) each(f func(n int64, sector uint32) error) error {
	b := make([]byte, pageEntries*entryBytes)
	for first := int64(0); first < t.entries; first += pageEntries {
		page := b[:min(pageEntries, t.entries-first)*entryBytes]
		if _, err := t.file.ReadAt(page, t.offset+first*entryBytes); err != nil {
			return err
		}
		for i := range int64(len(page) / entryBytes) {
			if err := f(first+i, binary.BigEndian.Uint32(page[i*entryBytes:])); err != nil {
				return err
			}
		}
	}
	return nil
}

// block returns where in the file block n begins, with its bitmap. It checks the
// entry again, since the file may have changed after it was opened.
func (l *layer) block(n int64) (start int64, stored bool, err error) {
	sector, err := l.table.sector(n)
	if err != nil {
		return 0, false, fmt.Errorf("read the block allocation table of %s: %w", diskio.Printable(l.path), err)
	}
	if sector == noBlock {
		return 0, false, nil
	}
	if err := l.checkEntry(n, sector); err != nil {
		return 0, false, err
	}
	return int64(sector) * sectorSize, true, nil
}

// extent returns where in the file a block is, with its bitmap.
func (l *layer) extent(n int64, sector uint32) (start, end int64) {
	start = int64(sector) * sectorSize
	return start, start + l.bitmapBytes + l.used(n)
}

// checkEntry returns what is wrong with the place of a block that is stored.
func (l *layer) checkEntry(n int64, sector uint32) error {
	start, end := l.extent(n, sector)
	if end > l.footerAt {
		return l.brokenEntry(n, "block %d at %d to %d reaches behind the last one's place, which ends at %d", n, start, end, l.footerAt)
	}
	if s := l.structureIn(start, end); s != "" {
		return l.brokenEntry(n, "block %d at %d to %d shares space with the %s", n, start, end, s)
	}
	return nil
}

func (l *layer) brokenEntry(n int64, format string, args ...any) error {
	return l.broken("block allocation table", l.table.offset+n*entryBytes, format, args...)
}

// used returns how many bytes of block n belong to the disk. The last block need
// not be whole.
func (l *layer) used(n int64) int64 {
	return min(l.blockSize, l.size-n*l.blockSize)
}

// survey counts the blocks that are stored and refuses a table in which two
// blocks, or a block and a structure, share space: such a disk would show one
// block's bytes in another's place.
func (l *layer) survey(report func(error) error) error {
	err := l.table.each(func(n int64, sector uint32) error {
		if sector == noBlock {
			return nil
		}
		if err := l.checkEntry(n, sector); err != nil {
			return report(err)
		}
		l.allocated += l.used(n)
		return nil
	})
	if err != nil || l.allocated == 0 {
		return err
	}
	var end int64
	for from := int64(0); from < l.footerAt; from += surveyPlaces * l.stride() {
		if end, err = l.surveyWindow(from, end, report); err != nil {
			return err
		}
	}
	return nil
}

// surveyPlaces bounds how many blocks of a window are looked at together, which
// takes 4 MiB. A window has the length of as many.
const surveyPlaces = 512 << 10

// stride is how far blocks are apart at least, but for a last one that is short.
func (l *layer) stride() int64 { return l.bitmapBytes + l.blockSize }

// surveyWindow looks for blocks that overlap among those that begin in the window
// of the file at from. It takes and returns where the last block before ends.
func (l *layer) surveyWindow(from, end int64, report func(error) error) (int64, error) {
	// Each place is a start in sectors and, below, the block's number.
	var places []uint64
	to := from + surveyPlaces*l.stride()
	err := l.table.each(func(n int64, sector uint32) error {
		start := int64(sector) * sectorSize
		// One more than fit without an overlap, and the last one, are enough.
		if sector == noBlock || start < from || start >= to || len(places) == surveyPlaces+2 || l.checkEntry(n, sector) != nil {
			return nil
		}
		places = append(places, uint64(sector)<<32|uint64(n))
		return nil
	})
	if err != nil {
		return 0, err
	}
	slices.Sort(places)
	for _, p := range places {
		n, sector := int64(p&0xffffffff), uint32(p>>32)
		start, blockEnd := l.extent(n, sector)
		if start < end {
			err := report(l.brokenEntry(n, "block %d at %d to %d shares space with the one before, which ends at %d", n, start, blockEnd, end))
			if err != nil {
				return 0, err
			}
		}
		end = max(end, blockEnd)
	}
	return end, nil
}

// structureIn returns the name of the structure that overlaps [start, end).
func (l *layer) structureIn(start, end int64) string {
	header := int64(l.footer.dataOffset)
	switch {
	case start < footerBytes:
		return "copy of the footer"
	case start < header+headerBytes && header < end:
		return "dynamic disk header"
	case start < l.table.offset+l.table.entries*entryBytes && l.table.offset < end:
		return "block allocation table"
	}
	return ""
}

func (l *layer) readBitmap(n int64) ([]byte, error) {
	start, stored, err := l.block(n)
	if err != nil {
		return nil, err
	}
	if !stored {
		return nil, &diskio.ChangedError{Path: l.path, What: "block allocation table"}
	}
	b := make([]byte, l.bitmapBytes)
	if _, err := l.read(b, start); err != nil {
		return nil, err
	}
	return b, nil
}

// bitmapRun returns whether the sector at offset within of block n is in this
// file or in the parent, and for how many of at most limit bytes that holds.
func (l *layer) bitmapRun(n, within, limit int64) (own bool, length int64, err error) {
	bitmap, err := l.bitmaps.get(n)
	if err != nil {
		return false, 0, err
	}
	first := within / sectorSize
	end := (within + limit + sectorSize - 1) / sectorSize
	own = bit(bitmap, first)
	next := first + 1
	for next < end && bit(bitmap, next) == own {
		next++
		if next%8 == 0 {
			next = skipEqual(bitmap, next, end, own)
		}
	}
	return own, min(next*sectorSize-within, limit), nil
}

// skipEqual returns the first sector at or after next, which is a multiple of
// 8, whose whole byte does not hold the same bit eight times.
func skipEqual(bitmap []byte, next, end int64, own bool) int64 {
	want := byte(0)
	if own {
		want = 0xff
	}
	for next+8 <= end && bitmap[next/8] == want {
		next += 8
	}
	return next
}

// bit returns the bit of a sector. The first sector is the highest bit of the
// first byte, unlike in VHDX.
func bit(bitmap []byte, sector int64) bool {
	return bits.Reverse8(bitmap[sector/8])>>(sector%8)&1 == 1
}
