package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/diskio/vhd"
	"wanrep/diskio/vhdx"
)

// A writer takes the content of a new image, in ascending order; what is not
// written is zeros. Seal makes it whole.
type writer interface {
	io.WriterAt
	Seal() error
}

// Convert writes the content of an image to a new file in another format, or the
// same: dynamic for VHDX and VHD, with holes for raw. The file appears under its
// name, in place of one that was there, when it is whole and durable; until then
// it is called as out with ".part" behind it, and after an error that is gone.
func Convert(ctx context.Context, in diskio.Image, out, format string) (err error) {
	dir, err := durable.OS(filepath.Dir(out))
	if err != nil {
		return err
	}
	defer dir.Close()
	name := filepath.Base(out)
	part := name + durable.PartSuffix
	f, err := dir.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	if err := write(ctx, in, f, format); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", diskio.Printable(out), err), f.Close(), dir.Remove(part))
	}
	if err := f.Close(); err != nil {
		return errors.Join(err, dir.Remove(part))
	}
	if err := dir.Rename(part, name); err != nil {
		return errors.Join(err, dir.Remove(part))
	}
	return dir.SyncDir(".")
}

func write(ctx context.Context, in diskio.Image, f durable.File, format string) error {
	w, err := create(in, f, format)
	if err != nil {
		return err
	}
	if err := copyData(ctx, in, w); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := w.Seal(); err != nil {
		return err
	}
	return f.Sync()
}

// create begins an image like in.
func create(in diskio.Image, f durable.File, format string) (writer, error) {
	info := in.Info()
	switch format {
	case VHDX:
		return vhdx.Create(f, vhdx.Spec{
			VirtualSize: info.VirtualSize, DiskID: info.DiskID, Incomplete: true,
			LogicalSectorSize: info.LogicalSectorSize, PhysicalSectorSize: info.PhysicalSectorSize,
		})
	case VHD:
		if info.LogicalSectorSize > 512 {
			return nil, fmt.Errorf("a VHD has sectors of 512 bytes, and the disk has %d", info.LogicalSectorSize)
		}
		id := info.DiskID
		if id.IsZero() {
			if _, err := rand.Read(id[:]); err != nil {
				return nil, err
			}
		}
		return vhd.Create(f, vhd.Spec{VirtualSize: info.VirtualSize, DiskID: id})
	case Raw:
		return rawWriter{f}, f.Truncate(info.VirtualSize)
	}
	return nil, fmt.Errorf("format %q is unknown: it is vhdx, vhd or raw", format)
}

// rawWriter writes a raw disk, which is whole when its content is.
type rawWriter struct{ durable.File }

func (rawWriter) Seal() error { return nil }

// copyBytes is how much is read at once.
const copyBytes = 1 << 20

var zeros [diskio.BlockBytes]byte

// copyData copies the blocks that are not zeros, in runs as long as possible.
func copyData(ctx context.Context, in diskio.Image, w io.WriterAt) error {
	buffer := make([]byte, copyBytes)
	for next := int64(0); ; {
		start, length, err := in.NextData(next)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for next = start; next < start+length; {
			if err := ctx.Err(); err != nil {
				return err
			}
			p := buffer[:min(start+length-next, copyBytes)]
			if n, err := in.ReadAt(p, next); n < len(p) {
				return fmt.Errorf("read %d bytes at offset %d: %w", len(p), next, err)
			}
			if err := writeData(w, p, next); err != nil {
				return err
			}
			next += int64(len(p))
		}
	}
}

// writeData writes the runs of blocks in p that are not zeros.
func writeData(w io.WriterAt, p []byte, off int64) error {
	from := 0
	flush := func(to int) error {
		if from == to {
			return nil
		}
		_, err := w.WriteAt(p[from:to], off+int64(from))
		return err
	}
	for at := 0; at < len(p); {
		end := min(at+len(zeros), len(p))
		if bytes.Equal(p[at:end], zeros[:end-at]) {
			if err := flush(at); err != nil {
				return err
			}
			from = end
		}
		at = end
	}
	return flush(len(p))
}
