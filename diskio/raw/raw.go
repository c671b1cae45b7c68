// Package raw reads disks that are stored as they are: files without any
// format, and block devices.
//
// It writes nothing, and it does not guess: whatever file it is given is taken
// for a disk, so package image asks every other format first. Start with [Open].
package raw

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"wanrep/diskio"
)

// sectorSize is what a regular file counts as its sector; devices say it
// themselves.
const sectorSize = 512

// Options says how to open a raw disk. There is nothing to choose so far.
type Options struct{}

// A disk is an open raw file or block device.
type disk struct {
	path   string
	file   *os.File
	device bool
	size   int64
	// logical and physical are the sector sizes in bytes.
	logical, physical int
	opened            state
}

// A state is what tells that a disk was written to. A block device has no sign
// of that: only its size and its number can be compared.
type state struct {
	size     int64
	modified int64  // nanoseconds since 1970; 0 for a device
	node     string // device and inode, or the like; empty where there is none
}

// Open opens the file or block device at path for reading. A pipe, a directory
// or a character device is an error.
func Open(path string, _ Options) (diskio.Image, error) {
	device, err := IsDevice(path)
	if err != nil {
		return nil, err
	}
	var file *os.File
	if device {
		file, err = os.Open(path)
	} else {
		file, err = OpenFile(path)
	}
	if err != nil {
		return nil, err
	}
	d := &disk{path: path, file: file, device: device, logical: sectorSize, physical: sectorSize}
	if err := d.measure(); err != nil {
		file.Close()
		return nil, err
	}
	return d, nil
}

// OpenFile opens a file for reading such that whoever uses it can go on to
// write, rename and delete it. On Windows only the functions of os.Root ask for
// this sharing.
func OpenFile(path string) (*os.File, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	return os.OpenInRoot(filepath.Dir(path), filepath.Base(path))
}

func (d *disk) measure() error {
	s, err := d.state()
	if err != nil {
		return err
	}
	if s.size < 0 || s.size > diskio.MaxVirtualSize {
		return &diskio.FormatError{Path: d.path, Section: "raw disk", Offset: 0,
			Reason: fmt.Sprintf("%d bytes; a disk has at most %d", s.size, int64(diskio.MaxVirtualSize))}
	}
	d.opened, d.size = s, s.size
	if d.device {
		d.logical, d.physical = deviceSectors(d.file)
	}
	return nil
}

// state looks at the open file, not at the path: the content that is read is
// that of the file that was opened, even when another now has its name.
func (d *disk) state() (state, error) {
	if d.device {
		size, err := deviceSize(d.file)
		return state{size: size, node: deviceNode(d.file)}, err
	}
	info, err := d.file.Stat()
	if err != nil {
		return state{}, err
	}
	return state{size: info.Size(), modified: info.ModTime().UnixNano(), node: diskio.Node(info)}, nil
}

// IsDevice reports whether path is a block device. It is an error if it is no
// file either. Windows' devices have no mode bits, only names that no file can
// have.
func IsDevice(path string) (bool, error) {
	if isDeviceName(path) {
		return true, nil
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return false, err
	case info.Mode().Type() == fs.ModeDevice:
		return true, nil
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("open %s: neither a file nor a block device", diskio.Printable(path))
	}
	return false, nil
}

func (d *disk) Size() int64 { return d.size }

func (d *disk) Info() diskio.Info {
	return diskio.Info{
		Format:             "raw",
		Subformat:          "fixed",
		VirtualSize:        d.size,
		LogicalSectorSize:  d.logical,
		PhysicalSectorSize: d.physical,
		Allocated:          d.allocated(),
	}
}

// allocated counts the bytes that are stored; a device stores all of them.
func (d *disk) allocated() int64 {
	if d.device {
		return d.size
	}
	info, err := d.file.Stat()
	if err != nil {
		return d.size
	}
	return stored(info)
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read %s at offset %d: a negative offset", diskio.Printable(d.path), off)
	}
	if off >= d.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > d.size-off
	if short {
		p = p[:d.size-off]
	}
	n, err := d.read(p, off)
	if n == len(p) {
		err = nil
	} else if err == io.EOF {
		// The file was cut since it was opened; that is no end of the disk.
		return n, &diskio.ChangedError{Path: d.path, What: "size"}
	}
	if short && err == nil {
		err = io.EOF
	}
	return n, err
}

// read reads what lies within the disk. Windows reads devices only by whole
// sectors, so for devices what is not aligned goes through a buffer.
func (d *disk) read(p []byte, off int64) (int, error) {
	unit := int64(d.logical)
	if !d.device || (off%unit == 0 && int64(len(p))%unit == 0) {
		return d.file.ReadAt(p, off)
	}
	start := off - off%unit
	end := (off + int64(len(p)) + unit - 1) / unit * unit
	whole := make([]byte, end-start)
	n, err := d.file.ReadAt(whole, start)
	return copy(p, whole[min(int(off-start), n):n]), err
}

// Map tells the holes of a sparse file, where the system can tell them.
func (d *disk) Map(off int64) (diskio.Mapping, error) {
	if off < 0 || off >= d.size {
		return diskio.Mapping{}, io.EOF
	}
	m := diskio.Mapping{Extent: diskio.Extent{Start: off, Length: d.size - off},
		Kind: diskio.Data, File: d.path, FileOffset: off}
	if d.device {
		return m, nil
	}
	start, end, err := diskio.NextStored(d.file, off, d.size)
	switch {
	case err != nil:
		return diskio.Mapping{}, fmt.Errorf("look for data in %s at offset %d: %w", diskio.Printable(d.path), off, err)
	case start > off:
		return diskio.Mapping{Extent: diskio.Extent{Start: off, Length: start - off}, Kind: diskio.Hole}, nil
	}
	m.Length = end - off
	return m, nil
}

func (d *disk) NextData(off int64) (start, length int64, err error) {
	return diskio.NextData(d, off)
}

func (d *disk) Files() []string { return []string{d.path} }

// ChangedSince finds nothing: a raw disk has no ancestor.
func (d *disk) ChangedSince(func(identity string) bool) (next func(off int64) (start, length int64, err error), ok bool) {
	return nil, false
}

// NextChanged finds nothing: a raw disk has no ancestor but itself.
func (d *disk) NextChanged(ancestor string, _ int64) (start, length int64, err error) {
	if _, err := diskio.Ancestor(d.Files(), ancestor); err != nil {
		return 0, 0, err
	}
	return 0, 0, io.EOF
}

func (d *disk) Identity() (string, error) {
	s, err := d.state()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("raw size=%d modified=%d node=%s", s.size, s.modified, s.node), nil
}

func (d *disk) Check() error {
	s, err := d.state()
	switch {
	case err != nil:
		return err
	case s.size != d.opened.size:
		return &diskio.ChangedError{Path: d.path, What: "size"}
	case s.modified != d.opened.modified:
		return &diskio.ChangedError{Path: d.path, What: "modification time"}
	}
	return nil
}

func (d *disk) Close() error { return d.file.Close() }
