package vhdx

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"wanrep/diskio"
)

// maxZeroExtents is how many separate zeroed extents a pending log may describe.
// Windows zeroes a sector bitmap or a part of the BAT at a time, a few for a log.
const maxZeroExtents = 16 << 10

// An overlay is a file as it will be once its log was replayed, without writing
// to it: reads see the log's updates. It keeps where in the log an update is, not
// the update itself.
type overlay struct {
	file   io.ReaderAt
	ring   ring
	pages  map[int64]logPage // by file offset; newer than any zeroed extent over it
	zero   []diskio.Extent   // sorted, disjoint
	bounds diskio.Extent     // everything that is overlaid lies within
	length int64             // size of the file
	end    int64             // size of the file after the replay
}

// A logPage is a data sector in the log and the bytes that its descriptor keeps.
type logPage struct {
	sector   int64 // offset in the log
	leading  [8]byte
	trailing [4]byte
}

// A pendingLog is a log as replay found it.
type pendingLog struct {
	entries []*logEntry // the active sequence
	updates int64       // descriptors in it
}

// replay returns the file with the pending log of h replayed, or the file itself if
// there is none. The descriptors are taken newest first, so that what is already
// there always wins.
func replay(f io.ReaderAt, fileSize int64, h header, allowEmpty bool) (io.ReaderAt, int64, pendingLog, error) {
	var p pendingLog
	if h.logGUID.IsZero() {
		return f, fileSize, p, nil
	}
	s := newLogScan(f, h)
	var err error
	if p.entries, err = s.active(); err != nil {
		return nil, 0, p, err
	}
	if len(p.entries) == 0 {
		if allowEmpty {
			return f, fileSize, p, nil
		}
		return nil, 0, p, formatErr("log", s.offset, "the header names a log but no sequence of entries in it is valid")
	}
	head := p.entries[len(p.entries)-1]
	switch {
	case head.flushed > uint64(fileSize):
		return nil, 0, p, formatErr("log", s.offset+head.offset, "the file has %d bytes but had %d when the log was written: it was truncated", fileSize, head.flushed)
	case head.last > maxFileSize:
		return nil, 0, p, formatErr("log", s.offset+head.offset+56, "a last file offset of %d", head.last)
	}
	o := &overlay{file: f, ring: s.ring, pages: map[int64]logPage{}, length: fileSize, end: max(fileSize, int64(head.last))}
	for _, e := range slices.Backward(p.entries) {
		if err := o.add(s, e); err != nil {
			return nil, 0, p, err
		}
		p.updates += e.descriptors
	}
	if o.bounds.Length == 0 && o.end == fileSize {
		return f, fileSize, p, nil
	}
	return o, o.end, p, nil
}

// add takes over what entry e says about space that no newer entry wrote.
func (o *overlay) add(s *logScan, e *logEntry) error {
	sector := descriptorSectors(e.descriptors) + e.data
	return s.descriptors(e, true, func(d []byte) error {
		x := diskio.Extent{Start: int64(le.Uint64(d[16:])), Length: logSectorBytes}
		data := string(d[:4]) == "desc"
		if !data {
			x.Length = int64(le.Uint64(d[8:]))
		}
		if err := o.mayWrite(x, e); err != nil {
			return err
		}
		if !data {
			return o.addZero(x)
		}
		sector--
		if _, newer := o.pages[x.Start]; newer || o.zeroed(x.Start) {
			return nil
		}
		p := logPage{sector: (e.offset + sector*logSectorBytes) % s.length}
		copy(p.leading[:], d[8:16])
		copy(p.trailing[:], d[4:8])
		o.pages[x.Start] = p
		o.cover(x)
		return nil
	})
}

// mayWrite refuses updates that no writer logs: to the file's identifier and
// headers, to the log itself, and to offsets that overflow.
func (o *overlay) mayWrite(x diskio.Extent, e *logEntry) error {
	at := o.ring.offset + e.offset
	switch {
	case x.Start < 0 || x.Length < 0 || x.Start > maxFileSize || x.Length > maxFileSize:
		return formatErr("log", at, "an update at %d, %d bytes", uint64(x.Start), uint64(x.Length))
	case x.Start < regionTable1 && x.Length > 0:
		return formatErr("log", at, "an update at %d overwrites the headers", x.Start)
	case x.Start < o.ring.offset+o.ring.length && x.End() > o.ring.offset:
		return formatErr("log", at, "an update at %d overwrites the log", x.Start)
	}
	return nil
}

// cover widens the bounds and the file to x.
func (o *overlay) cover(x diskio.Extent) {
	o.end = max(o.end, x.End())
	if o.bounds.Length == 0 {
		o.bounds = x
		return
	}
	start := min(o.bounds.Start, x.Start)
	o.bounds = diskio.Extent{Start: start, Length: max(o.bounds.End(), x.End()) - start}
}

// addZero adds x to the zeroed extents and joins those that touch it.
func (o *overlay) addZero(x diskio.Extent) error {
	if x.Length == 0 {
		return nil
	}
	o.cover(x)
	i, _ := slices.BinarySearchFunc(o.zero, x.Start, func(z diskio.Extent, s int64) int { return cmp.Compare(z.End(), s) })
	j := i
	for ; j < len(o.zero) && o.zero[j].Start <= x.End(); j++ {
		start := min(x.Start, o.zero[j].Start)
		x = diskio.Extent{Start: start, Length: max(x.End(), o.zero[j].End()) - start}
	}
	o.zero = slices.Replace(o.zero, i, j, x)
	if len(o.zero) > maxZeroExtents {
		return formatErr("log", o.ring.offset, "more than %d zeroed extents", maxZeroExtents)
	}
	return nil
}

// zeroed reports whether the page at off is in a zeroed extent.
func (o *overlay) zeroed(off int64) bool {
	i, _ := slices.BinarySearchFunc(o.zero, off+1, func(z diskio.Extent, s int64) int { return cmp.Compare(z.End(), s) })
	return i < len(o.zero) && o.zero[i].Start <= off
}

// ReadAt reads the file as it is after the replay.
func (o *overlay) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= o.bounds.Start || off >= o.bounds.End() {
		return o.readFile(p, off)
	}
	for done := 0; done < len(p); {
		page := (off + int64(done)) &^ (logSectorBytes - 1)
		skip := off + int64(done) - page
		n := min(len(p)-done, int(logSectorBytes-skip))
		part := p[done : done+n]
		var err error
		if lp, ok := o.pages[page]; ok {
			err = o.readPage(part, lp, skip)
		} else if o.zeroed(page) {
			clear(part)
		} else {
			_, err = o.readFile(part, page+skip)
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// readPage fills p from byte skip of an update on.
func (o *overlay) readPage(p []byte, lp logPage, skip int64) error {
	var b [logSectorBytes]byte
	if err := o.ring.readAt(b[:], lp.sector); err != nil {
		return err
	}
	copy(b[:], lp.leading[:])
	copy(b[logSectorBytes-len(lp.trailing):], lp.trailing[:])
	copy(p, b[skip:])
	return nil
}

// readFile reads the file below; what the replay adds behind its end is zeros.
func (o *overlay) readFile(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > o.end {
		return 0, io.EOF
	}
	n := int(max(0, min(int64(len(p)), o.length-off)))
	if n > 0 {
		if _, err := o.file.ReadAt(p[:n], off); err != nil {
			return 0, fmt.Errorf("read %d bytes at %d: %w", n, off, err)
		}
	}
	clear(p[n:])
	return len(p), nil
}
