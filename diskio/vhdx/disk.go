package vhdx

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"wanrep/diskio"
)

// maxExtent is how far NextData joins runs that are stored in different places.
const maxExtent = 1 << 30

// A disk is an open chain of files, the youngest first.
type disk struct {
	layers []*layer
}

// Size returns the virtual size in bytes.
func (d *disk) Size() int64 { return d.layers[0].size }

// Info describes the file that was opened.
func (d *disk) Info() diskio.Info {
	l := d.layers[0]
	info := diskio.Info{
		Format:             "vhdx",
		Subformat:          "dynamic",
		VirtualSize:        l.size,
		BlockSize:          l.block,
		LogicalSectorSize:  l.meta.logicalSector,
		PhysicalSectorSize: l.meta.physicalSector,
		DiskID:             l.meta.diskID,
		LogPending:         l.log.updates > 0,
		Allocated:          l.census.allocated,
	}
	switch {
	case l.meta.hasParent:
		info.Subformat = "differencing"
		info.Parent = d.layers[1].path
	case l.meta.leaveAllocated:
		info.Subformat = "fixed"
	}
	return info
}

// resolve returns the layer that decides the disk at off and what it has there, at
// most limit bytes of it. The layer is nil where no file has anything.
func (d *disk) resolve(off, limit int64) (*layer, run, error) {
	for _, l := range d.layers {
		if off >= l.size {
			break // a child may be larger than its parent: zeros behind it
		}
		r, err := l.run(off, min(limit, l.size-off))
		if err != nil || r.kind != absent {
			return l, r, err
		}
		limit = r.length
	}
	return nil, run{kind: absent, length: limit}, nil
}

// ReadAt reads the disk's content.
func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("vhdx: negative offset")
	}
	if off >= d.Size() {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), d.Size()-off))
	for done := 0; done < n; {
		l, r, err := d.resolve(off+int64(done), int64(n-done))
		if err != nil {
			return done, err
		}
		part := p[done : done+int(r.length)]
		if r.kind == stored {
			if err := l.readData(part, r.offset); err != nil {
				return done, err
			}
		} else {
			clear(part)
		}
		done += len(part)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Map returns the mapping that begins at off.
func (d *disk) Map(off int64) (diskio.Mapping, error) {
	m := diskio.Mapping{Extent: diskio.Extent{Start: off}}
	if off < 0 {
		return m, errors.New("vhdx: negative offset")
	}
	if off >= d.Size() {
		return m, io.EOF
	}
	l, r, err := d.resolve(off, d.Size()-off)
	if err != nil {
		return m, err
	}
	m.Length = r.length
	switch {
	case r.kind == stored:
		m.Kind, m.File, m.FileOffset = diskio.Data, l.path, r.offset
	case r.kind == zeroed:
		m.Kind, m.File = diskio.Zero, l.path
	}
	return m, nil
}

// NextData returns the first extent at or after off whose bytes are stored.
func (d *disk) NextData(off int64) (start, length int64, err error) {
	if off < 0 {
		return 0, 0, errors.New("vhdx: negative offset")
	}
	return diskio.FirstRun(off, d.Size(), maxExtent, func(at int64) (bool, int64, error) {
		_, r, err := d.resolve(at, d.Size()-at)
		return r.kind == stored, r.length, err
	})
}

// Identity names the content by size, modification time and the write GUIDs of
// every file of the chain.
func (d *disk) Identity() (string, error) { return identity(d.layers) }

func identity(layers []*layer) (string, error) {
	var b strings.Builder
	for i, l := range layers {
		s, err := l.stampNow()
		if err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteString(" on ")
		}
		fmt.Fprintf(&b, "vhdx size=%d modified=%s file=%s data=%s",
			s.size, s.modified.UTC().Format(time.RFC3339Nano), s.fileWrite, s.dataWrite)
	}
	return b.String(), nil
}

// Check returns a ChangedError if a file of the chain was written to since the
// disk was opened.
func (d *disk) Check() error {
	for _, l := range d.layers {
		now, err := l.stampNow()
		if err != nil {
			return err
		}
		what := ""
		switch was := l.opened; {
		case now.dataWrite != was.dataWrite:
			what = "data write GUID"
		case now.fileWrite != was.fileWrite:
			what = "file write GUID"
		case now.size != was.size:
			what = "size"
		case !now.modified.Equal(was.modified):
			what = "modification time"
		}
		if what != "" {
			return &diskio.ChangedError{Path: l.path, What: what}
		}
	}
	return nil
}

// Close closes all files.
func (d *disk) Close() error {
	var errs []error
	for _, l := range d.layers {
		errs = append(errs, l.file.Close())
	}
	return errors.Join(errs...)
}
