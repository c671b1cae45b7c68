package resume

import (
	"errors"
	"fmt"
	"io"
	"path"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

func (d *PartDisk) dataName() string { return d.name + d.part.store.cfg.Format.Extension() }

func (d *PartDisk) digestsName() string { return d.name + digestsExtension }

// continueAt opens the files of a disk where it has come to, and adds the tree to
// its state. The error is fs.ErrNotExist or about damage if they do not hold what
// the journal says. A complete disk is only looked at; Commit opens it.
func (d *PartDisk) continueAt(state *diskState) error {
	fsys := d.part.store.fsys
	info, err := fsys.Stat(path.Join(d.part.dir, d.digestsName()))
	if err != nil {
		return err
	}
	if info.Size() < digestsHead+state.digests*digestsRecord {
		return &damagedError{d.digestsName(), fmt.Sprintf("it has %d bytes, too few for %d digests", info.Size(), state.digests)}
	}
	if state.complete {
		_, err := fsys.Stat(path.Join(d.part.dir, d.dataName()))
		return err
	}
	if err := d.reopen(state.durable); err != nil {
		return err
	}
	f, err := d.part.openFile(d.digestsName(), false)
	if err != nil {
		return err
	}
	d.digests = &digestsWriter{f: f}
	if state.tree == nil {
		if state.tree, err = rebuildTree(f, d.digestsName(), *state); err != nil {
			return err
		}
	}
	return d.digests.continueAt(state.digests, state.crc)
}

// rebuildTree reads the digests that the journal counts.
func rebuildTree(f durable.File, name string, state diskState) (*digest.Tree, error) {
	r, err := readDigests(f, name, state.spec.Size, state.spec.ID, state.digests)
	if err != nil {
		return nil, err
	}
	tree, err := r.tree(digest.Blocks(state.durable))
	if err == nil && r.crc != state.crc {
		err = &damagedError{name, "its records do not match the journal's checksum"}
	}
	return tree, err
}

// reopen opens the disk's file and forgets what lies at and behind keep.
func (d *PartDisk) reopen(keep int64) (err error) {
	if d.data, err = d.part.openFile(d.dataName(), false); err != nil {
		return err
	}
	f := &watchedFile{File: d.data}
	d.file, err = d.part.store.cfg.Format.Reopen(f, d.spec, keep)
	d.dirty = true
	if f.err != nil {
		// The disk is at fault, and not what is on it, whatever the format makes of
		// it: what was received must not be dropped for that.
		return fmt.Errorf("reopen %s: %w", d.dataName(), f.err)
	}
	return err
}

// A watchedFile keeps the first error of the disk below it.
type watchedFile struct {
	durable.File
	err error
}

func (f *watchedFile) keep(n int, err error) (int, error) {
	if f.err == nil && err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

func (f *watchedFile) ReadAt(p []byte, off int64) (int, error) { return f.keep(f.File.ReadAt(p, off)) }

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	return f.keep(f.File.WriteAt(p, off))
}

func (f *watchedFile) Truncate(size int64) error {
	_, err := f.keep(0, f.File.Truncate(size))
	return err
}

func (f *watchedFile) Sync() error {
	_, err := f.keep(0, f.File.Sync())
	return err
}

// create makes the disk's files anew.
func (d *PartDisk) create() (err error) {
	if d.data, err = d.part.openFile(d.dataName(), true); err != nil {
		return err
	}
	if err := d.data.Truncate(0); err != nil {
		return err
	}
	if d.file, err = d.part.store.cfg.Format.Create(d.data, d.spec); err != nil {
		return fmt.Errorf("create disk %q: %w", diskio.Printable(d.spec.Name), err)
	}
	d.dirty = true
	f, err := d.part.openFile(d.digestsName(), true)
	if err != nil {
		return err
	}
	d.digests = &digestsWriter{f: f}
	return d.digests.create(d.spec)
}

func (d *PartDisk) closeFiles() error {
	var errs []error
	if d.data != nil {
		errs = append(errs, d.data.Close())
	}
	if d.digests != nil {
		errs = append(errs, d.digests.f.Close())
	}
	d.data, d.file, d.digests = nil, nil, nil
	return errors.Join(errs...)
}
