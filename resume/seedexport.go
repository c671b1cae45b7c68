package resume

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"wanrep/diskio"
	"wanrep/diskio/durable"
)

// A SeedSource is a disk to export.
type SeedSource struct {
	Spec    DiskSpec
	Content Content
	// From is the offset below which the target has the disk.
	From int64
	// Check returns an error if the content has changed since Spec was made.
	Check func() error
}

// ExportSeed writes a seed of a VM's disks to a directory below the root of fsys, whose
// name it returns. Each file is read again once it is written. The error is
// fs.ErrExist if a whole seed is there; one that is not whole is written anew.
func ExportSeed(ctx context.Context, fsys durable.FS, format Format, s Seed, disks []SeedSource) (Seed, string, error) {
	dir := safeName(s.VM)
	s.Schema, s.Disks = seedSchema, nil
	for _, d := range disks {
		s.Disks = append(s.Disks, SeedDisk{
			Name: d.Spec.Name, ID: diskID(d.Spec.ID), VirtualSize: d.Spec.Size,
			LogicalSectorSize: d.Spec.LogicalSectorSize, PhysicalSectorSize: d.Spec.PhysicalSectorSize,
			Identity: d.Spec.Identity, From: d.From, File: safeName(d.Spec.Name) + format.Extension(),
		})
	}
	if err := s.check(); err != nil {
		return s, dir, err
	}
	if err := fsys.Mkdir(dir, dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
		return s, dir, err
	}
	if _, err := fsys.Stat(path.Join(dir, seedName)); !errors.Is(err, fs.ErrNotExist) {
		return s, dir, errors.Join(err, fmt.Errorf("%s: %w", path.Join(dir, seedName), fs.ErrExist))
	}
	if err := checkSeedSpace(fsys, disks); err != nil {
		return s, dir, err
	}
	for i := range disks {
		if err := exportSeedDisk(ctx, fsys, format, dir, disks[i], &s.Disks[i]); err != nil {
			return s, dir, fmt.Errorf("export disk %q: %w", diskio.Printable(disks[i].Spec.Name), err)
		}
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return s, dir, err
	}
	// What names the files has to be durable before what says that they are there.
	if err := errors.Join(fsys.SyncDir(dir), fsys.SyncDir(".")); err != nil {
		return s, dir, err
	}
	return s, dir, durable.WriteFile(fsys, path.Join(dir, seedName), append(b, '\n'), filePerm)
}

// checkSeedSpace looks whether all that is stored of the disks fits.
func checkSeedSpace(fsys durable.FS, disks []SeedSource) error {
	free, err := fsys.Free()
	if err != nil {
		return err
	}
	var stored int64
	for _, d := range disks {
		n, err := storedFrom(d.Content, d.From)
		if err != nil {
			return fmt.Errorf("disk %q: %w", diskio.Printable(d.Spec.Name), err)
		}
		stored += n
	}
	if stored > free {
		return fmt.Errorf("%w: the seed has up to %d MiB, and %d MiB are free", durable.ErrFull, stored>>20, free>>20)
	}
	return nil
}

// exportSeedDisk writes one disk, and reads it again.
func exportSeedDisk(ctx context.Context, fsys durable.FS, format Format, dir string, from SeedSource, d *SeedDisk) error {
	name := path.Join(dir, d.File)
	f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, filePerm)
	if err != nil {
		return err
	}
	if err := writeSeedDisk(ctx, f, format, from, d); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := from.Check(); err != nil {
		return err
	}
	return d.verify(ctx, fsys, format, dir)
}

func writeSeedDisk(ctx context.Context, f durable.File, format Format, from SeedSource, d *SeedDisk) error {
	w, err := format.Create(f, from.Spec)
	if err != nil {
		return err
	}
	if d.Root, err = rootFrom(ctx, from.Content, d.From, func(off int64, p []byte) error { return writeNonZero(w, off, p) }); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
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

var zeroBlock [diskio.BlockBytes]byte

// writeNonZero writes the runs of blocks of p that are not all zeros.
func writeNonZero(w io.WriterAt, off int64, p []byte) error {
	run := 0 // where the blocks that are to be written begin
	flush := func(end int) error {
		if run >= end {
			return nil
		}
		_, err := w.WriteAt(p[run:end], off+int64(run))
		return err
	}
	for at := 0; at < len(p); at += diskio.BlockBytes {
		end := min(at+diskio.BlockBytes, len(p))
		if !bytes.Equal(p[at:end], zeroBlock[:end-at]) {
			continue
		}
		if err := flush(at); err != nil {
			return err
		}
		run = end
	}
	return flush(len(p))
}

// storedFrom returns how many bytes are stored of a disk behind from.
func storedFrom(c Content, from int64) (int64, error) {
	var stored int64
	for at := from; at < c.Size(); {
		start, length, err := c.NextData(at)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		if length <= 0 || start+length <= at {
			return 0, fmt.Errorf("find data at %d: an extent of %d bytes at %d", at, length, start)
		}
		stored += start + length - max(start, at)
		at = start + length
	}
	return stored, nil
}
