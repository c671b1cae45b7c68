package resume

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"syscall"

	"wanrep/diskio"
	"wanrep/diskio/durable"
)

// The layers of a disk become one file in these steps, of which each may be done
// again after a crash:
//
//  1. everything is synced, and the digests of all layers are written to one file;
//  2. the journal says that the layers are being merged, and what the digests are;
//  3. from the top down, each layer's file is merged into the one below it. The upper
//     one hides what is written there, so that the disk stays what it is;
//  4. the digests file takes the place of the lowest layer's;
//  5. the journal says that there is one file.
//
// What the journal says after step 2 is finished by whoever begins the part next.

// leaveLayers merges the layers once content behind their reach follows.
func (d *PartDisk) leaveLayers(end int64) error {
	if len(d.under) == 0 || end <= d.reach {
		return nil
	}
	d.next = max(d.next, d.reach)
	if err := d.fillTo(d.reach / diskio.BlockBytes); err != nil {
		return err
	}
	return d.merge()
}

// merge makes one file of the layers and of what was written over them, up to their
// reach, and continues it there.
func (d *PartDisk) merge() error {
	if err := d.sync(false); err != nil {
		return err
	}
	state, err := d.decideMerge(d.state(false), d.part.journal.revise)
	if err != nil {
		return err
	}
	if err := d.closeFiles(); err != nil {
		return err
	}
	if err := d.settle(&state); err != nil {
		return err
	}
	if err := d.part.journal.revise(func(p *partState) { p.put(state) }); err != nil {
		return err
	}
	merged := len(d.under)
	d.lieOn(nil)
	d.removeLayers(merged)
	return d.continueAt(&state)
}

// decideMerge writes the digests of all layers to one file, makes the journal say so
// through revise, and returns the state with that.
func (d *PartDisk) decideMerge(state diskState, revise func(func(*partState)) error) (diskState, error) {
	merged, err := d.writeMerged(state)
	if err != nil {
		return state, fmt.Errorf("merge the digests of what was received: %w", err)
	}
	state.merged = &merged
	return state, revise(func(p *partState) { p.put(state) })
}

func (d *PartDisk) mergedName() string { return d.name + "~merged" + digestsExtension }

// writeMerged writes the digests file that the merged layers have.
func (d *PartDisk) writeMerged(state diskState) (layerState, error) {
	s := d.part.store
	if err := s.checkSpace(); err != nil {
		return layerState{}, err
	}
	m := newDigestsMerge()
	defer m.Close()
	if err := m.open(s.fsys, d.pile(state.layers()), d.base, 0); err != nil {
		return layerState{}, err
	}
	f, err := d.part.openFile(d.mergedName(), true)
	if err != nil {
		return layerState{}, err
	}
	w := &digestsWriter{f: f}
	err = w.takeAll(m, digestsShape{size: d.spec.Size, id: d.spec.ID, baseBlocks: d.base.blocks()})
	if err = errors.Join(err, f.Close()); err != nil {
		return layerState{}, err
	}
	merged := layerState{size: d.spec.Size, durable: state.reach(), digests: w.count, crc: w.crc}
	return merged, s.fsys.SyncDir(d.part.dir)
}

// takeAll makes the file one of all records of a merge that a disk of that shape can
// have, and durable.
func (w *digestsWriter) takeAll(m *digestsMerge, shape digestsShape) error {
	if err := w.create(shape); err != nil {
		return err
	}
	for {
		l, err := m.peek()
		if err == io.EOF {
			return w.sync()
		}
		if err != nil {
			return err
		}
		index, sum := l.index, l.sum
		m.pass(index)
		if sum == m.zero && index >= shape.baseBlocks {
			continue
		}
		if err := w.add(index, sum); err != nil {
			return err
		}
	}
}

// settle does what is left of a merge on which the journal has decided, and changes
// the state to that after it.
func (d *PartDisk) settle(state *diskState) error {
	for n := len(state.under); n > 0; n-- {
		if err := d.mergeInto(n-1, n); err != nil {
			return fmt.Errorf("merge %s into %s: %w", d.dataOf(n), d.dataOf(n-1), err)
		}
	}
	fsys, dir := d.part.store.fsys, d.part.dir
	err := fsys.Rename(path.Join(dir, d.mergedName()), path.Join(dir, d.digestsOf(0)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.SyncDir(dir); err != nil {
		return err
	}
	merged := *state.merged
	state.merged = nil
	if state.durable == merged.durable {
		state.under, state.digests, state.crc = nil, merged.digests, merged.crc
		return nil
	}
	// It was merged because there were too many layers: what there is of the disk is
	// not of one snapshot.
	state.under = []layerState{merged}
	state.durable, state.digests, state.crc, state.tree = 0, 0, 0, nil
	return nil
}

// mergeInto merges the file of one layer into that of the one below it.
func (d *PartDisk) mergeInto(lower, upper int) error {
	from, err := d.part.openFile(d.dataOf(upper), false)
	if err != nil {
		return err
	}
	defer from.Close()
	into, err := d.part.openFile(d.dataOf(lower), false)
	if err != nil {
		return err
	}
	var fault error
	s := d.part.store
	err = s.cfg.Format.Merge(s.working, &watchedFile{from, &fault}, &watchedFile{&spaceFile{File: into, store: s}, &fault})
	if fault != nil {
		err = fault
	}
	return errors.Join(err, into.Close())
}

// A spaceFile takes nothing more when the reserve of free space is touched.
type spaceFile struct {
	durable.File
	store     *Store
	unchecked int64 // bytes written since the last look
}

// SyscallConn lets a format find and punch holes, if the file can.
func (f *spaceFile) SyscallConn() (syscall.RawConn, error) { return rawConn(f.File) }

func (f *spaceFile) WriteAt(p []byte, off int64) (int, error) {
	if f.unchecked += int64(len(p)); f.unchecked > spaceCheckBytes {
		if err := f.store.checkSpace(); err != nil {
			return 0, err
		}
		f.unchecked = 0
	}
	return f.File.WriteAt(p, off)
}
