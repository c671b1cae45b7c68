package resume

import (
	"errors"
	"fmt"
	"path"

	"wanrep/diskio"
)

// dataOf and digestsOf return the names of the files of the disk's n-th layer, counted
// from the bottom.
func (d *PartDisk) dataOf(n int) string {
	return layerName(d.name, n) + d.part.store.cfg.Format.Extension()
}

func (d *PartDisk) digestsOf(n int) string { return layerName(d.name, n) + digestsExtension }

// dataName and digestsName return the names of the files that are written.
func (d *PartDisk) dataName() string { return d.dataOf(len(d.under)) }

func (d *PartDisk) digestsName() string { return d.digestsOf(len(d.under)) }

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
		if state.tree, err = d.rebuildTree(f, *state); err != nil {
			return err
		}
	}
	return d.digests.continueAt(state.digests, state.crc)
}

// reopen opens the disk's file and forgets what lies at and behind keep.
func (d *PartDisk) reopen(keep int64) (err error) {
	if d.data, err = d.part.openFile(d.dataName(), false); err != nil {
		return err
	}
	var fault error
	d.file, err = d.part.store.cfg.Format.Reopen(&watchedFile{d.data, &fault}, d.spec, keep)
	d.dirty = true
	if fault != nil {
		return fmt.Errorf("reopen %s: %w", d.dataName(), fault)
	}
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
	if err := d.createFile(); err != nil {
		return fmt.Errorf("create disk %q: %w", diskio.Printable(d.spec.Name), err)
	}
	d.dirty = true
	f, err := d.part.openFile(d.digestsName(), true)
	if err != nil {
		return err
	}
	d.digests = &digestsWriter{f: f}
	return d.digests.create(d.shape())
}

func (d *PartDisk) createFile() (err error) {
	format, p := d.part.store.cfg.Format, d.part
	if d.below == nil {
		d.file, err = format.Create(d.data, d.spec)
		return err
	}
	var fault error
	fsys, name := watchedFS{p.store.fsys, &fault}, path.Join(p.dir, d.dataName())
	if len(d.under) > 0 {
		d.file, err = format.CreateLayer(d.data, d.spec, fsys, name, d.below.file())
	} else {
		d.file, err = format.CreateOn(d.data, d.spec, fsys, name, d.below.file())
	}
	if fault != nil {
		return fault
	}
	if err != nil && isDamaged(err) && len(d.under) == 0 {
		return &baseError{d.below.point, err}
	}
	return err
}

func (d *PartDisk) closeFiles() error {
	var errs []error
	if d.data != nil {
		errs = append(errs, d.data.Close())
	}
	if d.digests != nil {
		errs = append(errs, d.digests.f.Close())
	}
	if d.fill != nil {
		errs = append(errs, d.fill.Close())
	}
	d.data, d.file, d.digests, d.fill = nil, nil, nil, nil
	return errors.Join(errs...)
}
