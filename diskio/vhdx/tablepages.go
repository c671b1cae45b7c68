package vhdx

import (
	"cmp"
	"errors"
	"io"
	"slices"

	"wanrep/diskio"
)

const (
	tablePageBytes = 4 * kib
	// maxTablePages are kept by a Writer: 1 MiB, the BAT of 128 GiB of a disk with
	// blocks of 1 MiB.
	maxTablePages = 256
)

// tablePages are the pages of the BAT and of sector bitmaps that a Writer works on.
// They get into the file when there are too many, or at a flush.
type tablePages struct {
	f     File
	pages map[int64]*tablePage
	last  *tablePage
	// sync, if set, makes durable what was written so far. It is called before
	// entries get into the file that rely on it: the file is in use, and has to
	// be sound after a crash at every moment.
	sync func() error
	bat  diskio.Extent // of the file, with sync
}

type tablePage struct {
	offset int64
	dirty  bool
	data   [tablePageBytes]byte
}

func newTablePages(f File) *tablePages {
	return &tablePages{f: f, pages: map[int64]*tablePage{}}
}

// page returns the page that holds the byte at off of the file. What the file does
// not have yet is zeros.
func (t *tablePages) page(off int64) (*tablePage, error) {
	start := off &^ (tablePageBytes - 1)
	if t.last != nil && t.last.offset == start {
		return t.last, nil
	}
	p := t.pages[start]
	if p == nil {
		if len(t.pages) >= maxTablePages {
			if err := t.flush(); err != nil {
				return nil, err
			}
			clear(t.pages)
			t.last = nil
		}
		p = &tablePage{offset: start}
		if _, err := t.f.ReadAt(p.data[:], start); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		t.pages[start] = p
	}
	t.last = p
	return p, nil
}

// flush writes the dirty pages in ascending order. With sync set, sector bitmaps go
// before the BAT.
func (t *tablePages) flush() error {
	var bitmaps, bat []*tablePage
	for _, p := range t.pages {
		switch {
		case !p.dirty:
		case t.bat.Start <= p.offset && p.offset < t.bat.End():
			bat = append(bat, p)
		default:
			bitmaps = append(bitmaps, p)
		}
	}
	for _, dirty := range [][]*tablePage{bitmaps, bat} {
		if len(dirty) == 0 {
			continue
		}
		if t.sync != nil {
			if err := t.sync(); err != nil {
				return err
			}
		}
		slices.SortFunc(dirty, func(a, b *tablePage) int { return cmp.Compare(a.offset, b.offset) })
		for _, p := range dirty {
			if _, err := t.f.WriteAt(p.data[:], p.offset); err != nil {
				return err
			}
			p.dirty = false
		}
	}
	return nil
}

// entry returns the BAT entry at off of the file.
func (t *tablePages) entry(off int64) (entry, error) {
	p, err := t.page(off)
	if err != nil {
		return 0, err
	}
	return entry(le.Uint64(p.data[off-p.offset:])), nil
}

// set changes the BAT entry at off of the file.
func (t *tablePages) set(off int64, e entry) error {
	p, err := t.page(off)
	if err != nil {
		return err
	}
	if entry(le.Uint64(p.data[off-p.offset:])) != e {
		le.PutUint64(p.data[off-p.offset:], uint64(e))
		p.dirty = true
	}
	return nil
}

// rewrite lets the next flush write the page of the entry at off, changed or not.
func (t *tablePages) rewrite(off int64) error {
	p, err := t.page(off)
	if err == nil {
		p.dirty = true
	}
	return err
}

// setBits gives the bits from, below end, of the sector bitmap block at off one value.
func (t *tablePages) setBits(off, from, end int64, on bool) error {
	for from < end {
		p, err := t.page(off + from/8)
		if err != nil {
			return err
		}
		p.dirty = true
		base := (p.offset - off) * 8 // the page's first bit
		for stop := min(end, base+tablePageBytes*8); from < stop; {
			b := &p.data[(from-base)/8]
			mask := byte(0xff) << (from % 8)
			next := min(from/8*8+8, stop)
			if cut := from/8*8 + 8 - next; cut > 0 {
				mask &= 0xff >> cut
			}
			if on {
				*b |= mask
			} else {
				*b &^= mask
			}
			from = next
		}
	}
	return nil
}

// uniform reports whether all bits from, below end, of the bitmap block at off are as
// set says.
func (t *tablePages) uniform(off, from, end int64, set bool) (bool, error) {
	for from < end {
		p, err := t.page(off + from/8)
		if err != nil {
			return false, err
		}
		base := (p.offset - off) * 8
		stop := min(end, base+tablePageBytes*8)
		if base+sameBits(p.data[:], from-base, stop-base, set) < stop {
			return false, nil
		}
		from = stop
	}
	return true, nil
}
