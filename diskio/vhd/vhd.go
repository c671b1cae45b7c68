// Package vhd reads and writes the disk format of Virtual PC, Hyper-V before
// 2012, Azure and disk2vhd: fixed, dynamic and differencing, up to 2040 GiB.
//
// The source is Microsoft's "Virtual Hard Disk Image Format Specification"
// (2006). It opens nothing but what the caller names and, for a differencing
// disk, parents that lie below the child's directory or one that the caller
// allows. It never writes to a disk that it reads.
//
// The size of a disk is what its footer says in bytes. The cylinders, heads and
// sectors beside it are for a BIOS: disk2vhd writes the largest there are, and
// Virtual PC rounds them down, by up to 2 MiB that hold data nevertheless.
//
// Start with [Open] in this file; layer.go has one file of a chain, parent.go
// how the next one is found, and writer.go makes new disks.
package vhd

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"wanrep/diskio"
)

const (
	sectorSize = 512
	// maxDepth is how long a chain may be. Hyper-V allows 50 checkpoints.
	maxDepth = 256
)

// Options says how to open a disk. The zero value works.
type Options struct {
	// ParentDirs are directories besides the child's own in which, or below
	// which, parents may be.
	ParentDirs []string
}

// An image is an open disk: a chain of files, of which a fixed or a dynamic disk
// has one.
type image struct {
	layers []*layer // the disk's own file first
	size   int64
}

// Open opens the disk at path and its whole chain for reading. It returns a
// [diskio.FormatError] for a broken file and a [diskio.ParentError] for a parent
// that is missing or not the one that the child was made for.
func Open(path string, o Options) (diskio.Image, error) {
	l, err := openLayer(path)
	if err != nil {
		return nil, err
	}
	img := &image{layers: []*layer{l}, size: l.size}
	for l.footer.kind == differencing {
		parent, err := l.openParent(o.ParentDirs)
		if err == nil {
			err = img.admit(l, parent)
		}
		if err != nil {
			img.Close()
			return nil, err
		}
		img.layers = append(img.layers, parent)
		l.parent, l = parent, parent
	}
	return img, nil
}

// admit checks that a parent does not close a loop and that the chain ends.
func (img *image) admit(child, parent *layer) error {
	reason := ""
	for _, l := range img.layers {
		if l.sameFile(parent) {
			reason = "the chain of parents comes back to a file that is already in it"
		}
	}
	if len(img.layers) == maxDepth {
		reason = fmt.Sprintf("the chain is longer than %d files", maxDepth)
	}
	if reason == "" {
		return nil
	}
	parent.close()
	return &diskio.ParentError{Child: child.path, Wanted: parent.path, Reason: reason}
}

func (img *image) Size() int64 { return img.size }

func (img *image) Info() diskio.Info {
	l := img.layers[0]
	info := diskio.Info{
		Format:             "vhd",
		Subformat:          l.footer.kind.String(),
		VirtualSize:        l.size,
		BlockSize:          l.blockSize,
		LogicalSectorSize:  sectorSize,
		PhysicalSectorSize: sectorSize,
		DiskID:             l.footer.id,
		Allocated:          l.allocated,
	}
	if l.parent != nil {
		info.Parent = l.parent.path
	}
	return info
}

func (img *image) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s at offset %d: a negative offset", diskio.Printable(img.layers[0].path), off)
	}
	n := 0
	for n < len(p) && off < img.size {
		r, err := img.layers[0].run(off, min(int64(len(p)-n), img.size-off))
		if err != nil {
			return n, err
		}
		part := p[n : n+int(r.length)]
		if r.layer == nil {
			clear(part)
		} else if k, err := r.layer.read(part, r.offset); err != nil {
			return n + k, err
		}
		n += len(part)
		off += r.length
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Map returns one run. Of a fixed disk it tells the holes of the file where the
// system can tell them.
func (img *image) Map(off int64) (diskio.Mapping, error) {
	if off < 0 || off >= img.size {
		return diskio.Mapping{}, io.EOF
	}
	r, err := img.layers[0].run(off, img.size-off)
	if err != nil {
		return diskio.Mapping{}, err
	}
	m := diskio.Mapping{Extent: diskio.Extent{Start: off, Length: r.length}}
	if r.layer == nil {
		return m, nil
	}
	if r.layer.footer.kind == fixed {
		start, end, err := diskio.NextStored(r.layer.file, r.offset, r.offset+r.length)
		if err != nil {
			return diskio.Mapping{}, fmt.Errorf("look for data in %s at offset %d: %w", diskio.Printable(r.layer.path), r.offset, err)
		}
		if start > r.offset {
			m.Length = start - r.offset
			return m, nil
		}
		m.Length = end - start
	}
	m.Kind, m.File, m.FileOffset = diskio.Data, r.layer.path, r.offset
	return m, nil
}

func (img *image) NextData(off int64) (start, length int64, err error) {
	return diskio.NextData(img, off)
}

// Identity is a digest over what changes when a file of the chain is written to.
func (img *image) Identity() (string, error) { return identity(img.layers) }

func identity(layers []*layer) (string, error) {
	h := sha256.New()
	for _, l := range layers {
		s, err := l.state()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%d %d %s %x\n", s.size, s.modified, s.node, s.footer)
	}
	return fmt.Sprintf("vhd %s %s", layers[0].footer.id, hex.EncodeToString(h.Sum(nil)[:16])), nil
}

func (img *image) Check() error {
	for _, l := range img.layers {
		if err := l.check(); err != nil {
			return err
		}
	}
	return nil
}

func (img *image) Close() error {
	var first error
	for _, l := range img.layers {
		if err := l.close(); first == nil {
			first = err
		}
	}
	return first
}
