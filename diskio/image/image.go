// Package image opens disk images whatever their format, and converts one format
// into another. The formats themselves are in vhdx, vhd and raw.
//
// A format is recognised by what is in the file, never by its name alone. But a
// file whose name says VHDX or VHD and whose content does not is damaged, and not
// a raw disk. Start with [Open].
package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wanrep/diskio"
	"wanrep/diskio/raw"
	"wanrep/diskio/vhd"
	"wanrep/diskio/vhdx"
)

// Formats, as Info.Format and Convert name them.
const (
	VHDX = "vhdx"
	VHD  = "vhd"
	Raw  = "raw"
)

// Options says how to open an image. The zero value works.
type Options struct {
	// ParentDirs are directories besides the image's own in which, or below
	// which, its parents may be.
	ParentDirs []string
	// AllowRaw takes a file that no format recognises for a raw disk, even if its
	// name says otherwise. Without it, only a file whose name ends like no disk
	// image's is one. A block device always is.
	AllowRaw bool
	// AllowEmptyLog opens a VHDX whose header tells of a log that has nothing
	// valid in it, as QEMU leaves it after a crash.
	AllowEmptyLog bool
}

// Open opens the image at path, and the chain of its parents, for reading. The
// error is a [diskio.FormatError] for a broken image, a [diskio.ParentError] for a
// parent that can't be had, and wraps [diskio.ErrUnknownFormat] for a file that is
// none.
func Open(path string, o Options) (diskio.Image, error) {
	format, err := detect(path, o.AllowRaw)
	if err != nil {
		return nil, err
	}
	switch format {
	case VHDX:
		return vhdx.Open(path, vhdx.Options{ParentDirs: o.ParentDirs, AllowEmptyLog: o.AllowEmptyLog})
	case VHD:
		return vhd.Open(path, vhd.Options{ParentDirs: o.ParentDirs})
	}
	return raw.Open(path, raw.Options{})
}

// otherImages are the name endings of images that no package here reads. Such a
// file is not taken for a raw disk just because it is not a VHDX.
var otherImages = []string{".vmdk", ".vdi", ".qcow", ".qcow2", ".qed", ".vhds", ".avhds", ".rct", ".mrt"}

// detect says which format a file has.
func detect(path string, allowRaw bool) (string, error) {
	device, err := raw.IsDevice(path)
	if err != nil {
		return "", err
	}
	if device {
		return Raw, nil
	}
	f, err := raw.OpenFile(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	format, err := signature(f)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", diskio.Printable(path), err)
	}
	if format != Raw || allowRaw {
		return format, nil
	}
	ext := strings.ToLower(filepath.Ext(path))
	switch {
	case ext == ".vhdx" || ext == ".avhdx":
		return VHDX, nil // which will say what is wrong with it
	case ext == ".vhd" || ext == ".avhd":
		return VHD, nil
	case slices.Contains(otherImages, ext):
		return "", fmt.Errorf("open %s: %w", diskio.Printable(path), diskio.ErrUnknownFormat)
	}
	return Raw, nil
}

// What a VHDX begins with (MS-VHDX 2.2.1), and a VHD's footer, which is at its end
// and, if the disk is dynamic, at its start too.
var (
	vhdxMagic = []byte("vhdxfile")
	vhdMagic  = []byte("conectix")
)

// signature looks for a format's mark. Old VHDs have a footer of 511 bytes.
func signature(f *os.File) (string, error) {
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	size := info.Size()
	for _, mark := range []struct {
		format string
		magic  []byte
		offset int64
	}{{VHDX, vhdxMagic, 0}, {VHD, vhdMagic, size - 512}, {VHD, vhdMagic, size - 511}, {VHD, vhdMagic, 0}} {
		if mark.offset < 0 {
			continue
		}
		b := make([]byte, len(mark.magic))
		if _, err := f.ReadAt(b, mark.offset); err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if bytes.Equal(b, mark.magic) {
			return mark.format, nil
		}
	}
	return Raw, nil
}
