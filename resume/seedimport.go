package resume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

// verify compares a disk of the seed in dir with its root.
func (d SeedDisk) verify(ctx context.Context, fsys durable.FS, format Format, dir string) error {
	c, err := format.Open(fsys, path.Join(dir, d.File))
	if err != nil {
		return fmt.Errorf("open the seed: %w", err)
	}
	defer c.Close()
	if c.Size() != d.VirtualSize {
		return fmt.Errorf("the seed's disk has %d bytes, and %d were exported", c.Size(), d.VirtualSize)
	}
	root, err := rootFrom(ctx, c, 0, nil)
	if err != nil {
		return fmt.Errorf("read the seed: %w", err)
	}
	if root != d.Root {
		return fmt.Errorf("%s is not what was exported: its root is %v, and %v was written", path.Join(dir, diskio.Printable(d.File)), root, d.Root)
	}
	return nil
}

// VerifySeed reads all disks of the seed in a directory and compares them with its
// roots.
func VerifySeed(ctx context.Context, fsys durable.FS, format Format, dir string, s Seed) error {
	for _, d := range s.Disks {
		if err := d.verify(ctx, fsys, format, dir); err != nil {
			return fmt.Errorf("disk %q: %w", diskio.Printable(d.Name), err)
		}
	}
	return nil
}

// ImportSeed takes the seed in a directory, which VerifySeed found right, into the
// part of its VM. Each disk then is durable to its end and not complete: the source's
// root proves it in the next run. An import that was cut off goes on where it was
// durable.
func (s *Store) ImportSeed(ctx context.Context, fsys durable.FS, dir string, seed Seed) (Position, error) {
	if s.readOnly {
		return Position{}, ErrReadOnly
	}
	if err := s.canTake(seed); err != nil {
		return Position{}, err
	}
	part, err := s.Begin(seed.Source, seed.VM, seed.specs())
	if err != nil {
		return Position{}, err
	}
	for i, d := range part.Disks() {
		if err := s.importDisk(ctx, fsys, path.Join(dir, seed.Disks[i].File), d); err != nil {
			err = fmt.Errorf("import disk %q: %w", diskio.Printable(d.Spec().Name), err)
			return Position{}, errors.Join(err, part.Close())
		}
	}
	if err := part.Close(); err != nil {
		return Position{}, err
	}
	s.cfg.Log.Info("seed imported", "vm", seed.VM, "point", part.Point())
	return s.Position(seed.Source, seed.VM)
}

// canTake looks whether the part has what a seed leaves out.
func (s *Store) canTake(seed Seed) error {
	at, err := s.Position(seed.Source, seed.VM)
	if err != nil && !errors.Is(err, ErrNoPart) {
		return err
	}
	for _, d := range seed.Disks {
		if d.From == 0 {
			continue
		}
		var durable int64
		same := true
		for _, has := range at.Disks {
			if has.Name == d.Name {
				durable, same = has.Durable, has.DiskSpec == d.Spec()
			}
		}
		switch name := diskio.Printable(d.Name); {
		case !same:
			return fmt.Errorf("disk %q: the seed has it from %d on, and what is here below that is of another time of the disk", name, d.From)
		case durable < d.From:
			return fmt.Errorf("disk %q: the seed has it from %d on, and it is durable here up to %d: the bytes between are missing", name, d.From, durable)
		}
	}
	return nil
}

// importDisk takes what is missing of one disk.
func (s *Store) importDisk(ctx context.Context, fsys durable.FS, file string, d *PartDisk) error {
	if _, complete := d.Root(); complete {
		return nil
	}
	c, err := s.cfg.Format.Open(fsys, file)
	if err != nil {
		return fmt.Errorf("open the seed: %w", err)
	}
	defer c.Close()
	if c.Size() != d.Spec().Size {
		return fmt.Errorf("the seed's disk has %d bytes, and %d were exported", c.Size(), d.Spec().Size)
	}
	from := d.Durable()
	if from == c.Size() { // the last block may be part of one
		return nil
	}
	next, done, err := d.BaseDigests(from / diskio.BlockBytes)
	if err != nil {
		return err
	}
	w := &seedWriter{disk: d, next: next}
	err = w.advance()
	if err == nil {
		err = eachPiece(ctx, c, from, func(off int64, p []byte) error { return w.take(ctx, off, p) })
	}
	if err == nil {
		err = w.clearTo(ctx, digest.Blocks(c.Size()))
	}
	if err == nil {
		err = d.SkipTo(c.Size())
	}
	if err == nil {
		_, err = d.Sync()
	}
	return errors.Join(err, done())
}

// A seedWriter writes to a disk of a part what differs from what it builds on.
type seedWriter struct {
	disk *PartDisk
	next func() (int64, digest.Sum, error)
	// block is the next one of the base that is not zeros, and sum its digest; there
	// is none if done.
	block int64
	sum   digest.Sum
	done  bool
}

func (w *seedWriter) advance() error {
	var err error
	w.block, w.sum, err = w.next()
	if err == io.EOF {
		w.done, err = true, nil
	}
	return err
}

// take writes the blocks of p that differ, and zeros where the base has content before
// them.
func (w *seedWriter) take(ctx context.Context, off int64, p []byte) error {
	if w.done && !w.disk.Based() {
		return w.write(off, p)
	}
	for at := 0; at < len(p); at += diskio.BlockBytes {
		block := p[at:min(at+diskio.BlockBytes, len(p))]
		index := (off + int64(at)) / diskio.BlockBytes
		if err := w.clearTo(ctx, index); err != nil {
			return err
		}
		below := digest.ZeroBlock()
		if !w.done && w.block == index {
			below = w.sum
			if err := w.advance(); err != nil {
				return err
			}
		}
		if digest.Block(block) == below {
			continue
		}
		if err := w.write(index*diskio.BlockBytes, block); err != nil {
			return err
		}
	}
	return nil
}

// clearTo writes zeros below the block end where the base has content.
func (w *seedWriter) clearTo(ctx context.Context, end int64) error {
	for !w.done && w.block < end {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		length := min(diskio.BlockBytes, w.disk.Spec().Size-w.block*diskio.BlockBytes)
		if err := w.write(w.block*diskio.BlockBytes, zeroBlock[:length]); err != nil {
			return err
		}
		if err := w.advance(); err != nil {
			return err
		}
	}
	return nil
}

func (w *seedWriter) write(off int64, p []byte) error {
	if err := w.disk.Write(off, p); err != nil {
		return err
	}
	if w.disk.Unsynced() < seedSyncBytes {
		return nil
	}
	_, err := w.disk.Sync()
	return err
}
