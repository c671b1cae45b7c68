package vhdx

import (
	"fmt"
	"io"
	"os"
	"time"

	"wanrep/diskio"
)

// A layer is one file of a chain.
type layer struct {
	path    string
	file    Source
	src     io.ReaderAt // file, with the pending log replayed
	length  int64       // of src
	header  header
	log     pendingLog
	regions []region
	meta    metadata
	geometry
	pages  *pages
	census census
	opened stamp
}

// A stamp is what changes when somebody writes to a file.
type stamp struct {
	size      int64
	modified  time.Time
	fileWrite diskio.ID
	dataWrite diskio.ID
}

// openLayer reads the structures of a file and checks all of them.
func openLayer(path string, f Source, o Options) (*layer, error) {
	l := &layer{path: path, file: f}
	if err := l.load(o.AllowEmptyLog); err != nil {
		return nil, withPath(err, path)
	}
	if l.meta.incomplete && !o.AllowIncomplete {
		it, _ := l.meta.find(itemIncomplete)
		return nil, withPath(formatErr(it.name(), it.entry, "the disk was not received whole"), path)
	}
	if err := l.checkBAT(strict); err != nil {
		return nil, withPath(err, path)
	}
	return l, nil
}

// load reads everything but the blocks and the BAT.
func (l *layer) load(allowEmptyLog bool) error {
	fi, err := l.file.Stat()
	if err != nil {
		return err
	}
	size := fi.Size()
	if err := checkIdentifier(l.file); err != nil {
		return err
	}
	h, i, err := currentHeader(readHeaders(l.file))
	if err != nil {
		return err
	}
	if err := h.check(i, size); err != nil {
		return err
	}
	l.header = h
	l.opened = stamp{size, fi.ModTime(), h.fileWriteGUID, h.dataWriteGUID}
	if l.src, l.length, l.log, err = replay(l.file, size, h, allowEmptyLog); err != nil {
		return err
	}
	if l.regions, err = readRegions(l.src); err != nil {
		return err
	}
	if _, err := claims(h, l.regions, l.length); err != nil {
		return err
	}
	if l.meta, err = readMetadata(l.src, findRegion(l.regions, regionMetadata), strict); err != nil {
		return err
	}
	l.geometry, err = l.meta.geometry(findRegion(l.regions, regionBAT))
	return err
}

// checkIdentifier verifies the file type identifier (MS-VHDX 2.2.1).
func checkIdentifier(r io.ReaderAt) error {
	var b [8]byte
	if _, err := r.ReadAt(b[:], 0); err != nil && err != io.EOF {
		return err
	}
	if string(b[:]) != "vhdxfile" {
		return formatErr("file type identifier", 0, "no \"vhdxfile\" signature")
	}
	return nil
}

// checkBAT verifies the whole BAT and takes the census of it.
func (l *layer) checkBAT(found report) error {
	cs, err := claims(l.header, l.regions, l.length)
	if err != nil {
		return err
	}
	c := batCheck{geometry: l.geometry, claims: cs, fileSize: l.length, found: found}
	stored := func(off int64) int64 { return nextStored(l.file, off) }
	if l.overlaid() {
		stored = func(off int64) int64 { return off } // a hole may have an update over it
	}
	err = c.run(l.src, stored)
	l.census = c.census
	return err
}

// overlaid reports whether reads go through updates of a pending log.
func (l *layer) overlaid() bool {
	_, ok := l.src.(*overlay)
	return ok
}

// A runKind says who decides a run of a layer.
type runKind uint8

const (
	absent runKind = iota // the parent; zeros without one
	zeroed                // this layer: zeros
	stored                // this layer: bytes in its file
)

// A run is what a layer has for a part of the disk.
type run struct {
	kind   runKind
	length int64
	offset int64 // in the file, if stored
}

// run returns what the layer has at off, at most limit bytes of it: as far as one
// kind reaches and, for stored bytes, as far as they are contiguous in the file.
func (l *layer) run(off, limit int64) (run, error) {
	var r run
	for at := off; at < off+limit; {
		next, err := l.blockRun(at, off+limit-at)
		if err != nil {
			return r, err
		}
		if r.length > 0 && (next.kind != r.kind || next.kind == stored && next.offset != r.offset+r.length) {
			break
		}
		if r.length == 0 {
			r.kind, r.offset = next.kind, next.offset
		}
		r.length += next.length
		at += next.length
	}
	return r, nil
}

// blockRun is run within one block, or within blocks that a page of the BAT without
// any entry leaves out.
func (l *layer) blockRun(off, limit int64) (run, error) {
	n := off >> l.blockShift
	at := l.payloadAt(n)
	if pg := (at - l.batOffset) / pageBytes; l.census.isEmpty(pg) {
		return run{kind: absent, length: min(limit, l.pageEnd(pg)-off)}, nil
	}
	e, err := l.pages.entry(at)
	if err != nil {
		return run{}, l.readErr("BAT", at, err)
	}
	within := off - n<<l.blockShift
	r := run{length: min(limit, l.block-within)}
	switch e.state() {
	case blockNotPresent:
	case blockFull:
		r.kind, r.offset = stored, e.offset()+within
	case blockPartial:
		return l.sectorRun(off, r.length, e.offset()+within)
	default:
		r.kind = zeroed
	}
	return r, nil
}

// pageEnd is the first offset of the disk whose entry is behind page pg of the BAT.
func (l *layer) pageEnd(pg int64) int64 {
	next := (pg + 1) * pageBytes / 8 // entry number
	chunk, in := next/(l.ratio+1), next%(l.ratio+1)
	return min((chunk*l.ratio+min(in, l.ratio))<<l.blockShift, l.size)
}

// sectorRun returns what the sector bitmap says about off of a block that is partly
// present, where fileOff is the place of off in the file if it is there.
func (l *layer) sectorRun(off, limit, fileOff int64) (run, error) {
	sector := off / l.sector
	at := l.bitmapAt(sector / chunkSectors)
	e, err := l.pages.entry(at)
	if err != nil {
		return run{}, l.readErr("BAT", at, err)
	}
	if e.state() != blockFull {
		return run{}, &diskio.FormatError{Path: l.path, Section: "BAT", Offset: at, Reason: "the sector bitmap of a block that is partly present is gone"}
	}
	bit := sector % chunkSectors
	end := bit + (off+limit+l.sector-1)/l.sector - sector
	length, set, err := l.bits(e.offset(), bit, end)
	if err != nil {
		return run{}, l.readErr("sector bitmap", e.offset(), err)
	}
	r := run{length: min(limit, length*l.sector-off%l.sector)}
	if set {
		r.kind, r.offset = stored, fileOff
	}
	return r, nil
}

// readData fills p with bytes of the file. What the file's short last block lacks
// is behind the end of the disk and never asked for.
func (l *layer) readData(p []byte, off int64) error {
	return readFull(l.src, l.path, p, off)
}

func (l *layer) readErr(section string, off int64, err error) error {
	return fmt.Errorf("%s: read the %s at %d: %w", diskio.Printable(l.path), section, off, err)
}

// stampNow reads afresh what changes when somebody writes to the file.
func (l *layer) stampNow() (stamp, error) {
	fi, err := l.file.Stat()
	if err != nil {
		return stamp{}, err
	}
	h, _, err := currentHeader(readHeaders(l.file))
	if err != nil {
		return stamp{}, withPath(err, l.path)
	}
	return stamp{fi.Size(), fi.ModTime(), h.fileWriteGUID, h.dataWriteGUID}, nil
}

// same reports whether two layers are one file.
func (l *layer) same(other *layer) bool {
	a, err := l.file.Stat()
	if err != nil {
		return false
	}
	b, err := other.file.Stat()
	return err == nil && (os.SameFile(a, b) || l.path == other.path)
}
