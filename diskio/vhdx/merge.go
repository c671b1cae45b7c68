package vhdx

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"wanrep/diskio"
)

const mergeCopyBytes = mib

// Merge writes what a differencing disk has into its parent, after which the parent
// alone holds the child's content and has the child's data write GUID: it can take
// the child's place for whoever builds on the child. The child is only read. Of the
// parent's own ancestors nothing is needed, and nothing changes.
//
// At every moment, and after a crash at any, the child still reads the same over the
// parent: only sectors that the child hides are written, new blocks are synced before
// sector bitmaps name them, and those before the BAT does. The steps are:
//
//  1. the parent gets a new file write GUID; its data write GUID stays, so that the
//     child goes on to accept it;
//  2. the child's bytes and zeros are written to the parent and synced;
//  3. a larger child's size is written, and the child's disk ID;
//  4. the parent gets the child's data write GUID. From here on the child refuses
//     the parent, and the parent is what the child was.
//
// The caller then renames the parent over the child. A merge that was cut off is
// called again; one that had come to step 4 does that again. Nobody else may have the
// parent open as anything but the child's parent. Both may be marked incomplete, and
// the parent stays marked as it was.
//
// Steps 1 to 3 are [MergeContent], which may take long, and step 4 is
// [MergeIdentity], for a caller that has to choose the moment from which on only the
// parent can be used.
func Merge(ctx context.Context, child Source, parent File) error {
	m, err := openMerge(child, parent)
	if err != nil {
		return err
	}
	if !m.merged {
		if err := m.run(ctx); err != nil {
			return err
		}
	}
	return MergeIdentity(child, parent)
}

// MergeContent is [Merge] up to step 3. It may be called again, also after step 4.
func MergeContent(ctx context.Context, child Source, parent File) error {
	m, err := openMerge(child, parent)
	if err != nil || m.merged {
		return err
	}
	return m.run(ctx)
}

// MergeIdentity is step 4 of [Merge]. MergeContent must have returned without an error
// before, and nothing may have been written to either file since. It may be called
// again, and then writes again, since what is read may not be on the disk if a sync
// failed.
func MergeIdentity(child Source, parent File) error {
	m, err := openMerge(child, parent)
	if err != nil {
		return err
	}
	if m.parent.size != m.child.size || m.parent.meta.diskID != m.child.meta.diskID {
		return errors.New("vhdx: merge: the parent does not have the child's content yet")
	}
	m.w.header.dataWriteGUID = m.child.header.dataWriteGUID
	if err := m.w.writeHeaders(); err != nil {
		return err
	}
	return m.w.f.Sync()
}

// openMerge opens both files.
func openMerge(child Source, parent File) (*merge, error) {
	c, err := openLayer("child", child, Options{AllowIncomplete: true})
	if err != nil {
		return nil, err
	}
	c.pages = newPages(c.src, pageSlots)
	p, err := openLayer("parent", unowned{parent}, Options{AllowIncomplete: true})
	if err != nil {
		return nil, err
	}
	merged := p.header.dataWriteGUID == c.header.dataWriteGUID
	if !merged {
		if err := mayMerge(c, p); err != nil {
			return nil, err
		}
	}
	w, err := writerOf(parent, p)
	if err != nil {
		return nil, err
	}
	return &merge{child: c, parent: p, w: w, merged: merged}, nil
}

// CanMerge says what keeps a child from being merged into its parent. It changes nothing.
func CanMerge(child Source, parent File) error {
	m, err := openMerge(child, parent)
	if err != nil {
		return err
	}
	return m.parent.roomFor(m.child.size)
}

// Mergeable returns what a child of the disk in f must name as its parent's, like
// [DataWriteGUID], if the child can have that size and be merged into the disk later.
// The disk may be marked incomplete. name is for messages.
func Mergeable(name string, f Source, size int64) (diskio.ID, error) {
	l, err := openLayer(name, f, Options{AllowIncomplete: true})
	if err != nil {
		return diskio.ID{}, err
	}
	if err := l.roomFor(size); err != nil {
		return diskio.ID{}, withPath(err, name)
	}
	return l.header.dataWriteGUID, nil
}

// roomFor tells whether the BAT of l has room for a disk of that size.
func (l *layer) roomFor(size int64) error {
	g := l.geometry
	g.size = size
	g.derive()
	if g.entries*8 > g.batRegion {
		return formatErr("BAT", g.batOffset, "it has no room for a disk of %d bytes", size)
	}
	return nil
}

// mayMerge tells what keeps c from being merged into p.
func mayMerge(c, p *layer) error {
	if !c.meta.hasParent {
		return errors.New("vhdx: merge: the child has no parent")
	}
	guids, err := c.meta.locator.linkage()
	if err != nil {
		return err
	}
	switch {
	case !slices.Contains(guids, p.header.dataWriteGUID):
		return fmt.Errorf("vhdx: merge: the child builds on %s, the parent is %s", guids[0], p.header.dataWriteGUID)
	case !p.header.logGUID.IsZero():
		return errors.New("vhdx: merge: the parent's log is not empty: another program has it open or was killed")
	case c.sector != p.sector:
		return fmt.Errorf("vhdx: merge: the child's sectors have %d bytes, the parent's %d", c.sector, p.sector)
	case c.size < p.size:
		return errors.New("vhdx: merge: the child is smaller than the parent")
	}
	for _, l := range []*layer{c, p} {
		for _, it := range l.meta.items {
			if it.flags&flagVirtualDisk != 0 && (it.flags&flagUser != 0 || !it.known()) {
				return fmt.Errorf("vhdx: merge: the %s has %s, which would be lost", l.path, it.name())
			}
		}
	}
	return nil
}

// A merge is one call of MergeContent or MergeIdentity.
type merge struct {
	child, parent *layer
	w             *Writer
	merged        bool // the parent has the child's identity
}

func (m *merge) run(ctx context.Context) error {
	if err := m.begin(); err != nil {
		return err
	}
	if err := m.copy(ctx); err != nil {
		return err
	}
	if err := m.grownTail(); err != nil {
		return err
	}
	if err := m.flush(); err != nil {
		return err
	}
	return m.finish()
}

// begin makes the parent ready to be written to.
func (m *merge) begin() error {
	w, old := m.w, m.parent.geometry
	cs, err := claims(m.parent.header, m.parent.regions, m.parent.length)
	if err != nil {
		return err
	}
	w.next = max(m.parent.census.end, cs[len(cs)-1].End())
	w.fresh = w.next
	if err := m.parent.roomFor(m.child.size); err != nil {
		return fmt.Errorf("vhdx: merge into the parent: %w", err)
	}
	w.size = m.child.size
	w.derive()
	w.header.fileWriteGUID = newID()
	if err := w.writeHeaders(); err != nil {
		return err
	}
	// Nothing refers to what lies behind the last block.
	if err := w.f.Truncate(w.next); err != nil {
		return err
	}
	// Entries of blocks that the disk grows by may be left from a merge that was
	// cut off, whose blocks are gone with the end of the file.
	for i := old.entries; i < w.entries; i++ {
		if err := w.table.set(w.batOffset+8*i, 0); err != nil {
			return err
		}
	}
	w.table.bat = diskio.Extent{Start: w.batOffset, Length: w.batRegion}
	w.table.sync = func() error {
		if err := w.f.Truncate(w.next); err != nil {
			return err
		}
		return w.f.Sync()
	}
	if err := m.markLast(old); err != nil {
		return err
	}
	return m.flush()
}

// markLast marks all sectors of the last block that the parent had, if it decides all of
// them and the disk grows within it, so that [Reopen] can cut the block where the disk
// grew. A full block needs no sector bitmap and may have none, and zeros have no block.
func (m *merge) markLast(old geometry) error {
	w := m.w
	last := old.blocks - 1
	if !w.differing || w.size == old.size || old.size == old.blocks<<w.blockShift {
		return nil
	}
	e, err := w.table.entry(w.payloadAt(last))
	if err != nil {
		return err
	}
	switch e.state() {
	case blockNotPresent, blockPartial:
		return nil
	case blockFull:
		err = w.clearBits(last)
	default:
		_, err = w.place(last, true)
	}
	if err != nil {
		return err
	}
	bitmap, err := w.table.entry(w.bitmapAt(last / w.ratio))
	if err != nil {
		return err
	}
	first := last << w.blockShift / w.sector % chunkSectors
	return w.table.setBits(bitmap.offset(), first, first+w.block/w.sector, true)
}

// flush makes everything durable that was written so far.
func (m *merge) flush() error {
	if err := m.w.Flush(); err != nil {
		return err
	}
	return m.w.f.Sync()
}

// copy writes what the child itself has.
func (m *merge) copy(ctx context.Context) error {
	buf := make([]byte, mergeCopyBytes)
	for off := int64(0); off < m.child.size; {
		r, err := m.child.run(off, m.child.size-off)
		if err != nil {
			return err
		}
		switch r.kind {
		case zeroed:
			err = m.w.WriteZeros(off, r.length)
		case stored:
			r.length = min(r.length, mergeCopyBytes)
			p := buf[:r.length]
			if err = m.child.readData(p, r.offset); err == nil {
				_, err = m.w.WriteAt(p, off)
			}
		}
		if err == nil && r.kind != absent {
			err = m.rewrite(off, r.length)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		off += r.length
	}
	return nil
}

// rewrite lets the BAT entries of a run be written even if the file seems to have them:
// what an earlier merge wrote whose sync failed is read, and not on the disk.
func (m *merge) rewrite(off, length int64) error {
	w := m.w
	for n := off >> w.blockShift; n<<w.blockShift < off+length; n++ {
		if err := w.table.rewrite(w.payloadAt(n)); err != nil {
			return err
		}
		if !w.differing {
			continue
		}
		if err := w.table.rewrite(w.bitmapAt(n / w.ratio)); err != nil {
			return err
		}
	}
	return nil
}

// grownTail makes zeros of what the disk grows by and the child does not have: behind
// the parent's old end the child read zeros, whatever the parent's ancestors have.
func (m *merge) grownTail() error {
	for off := m.parent.size; off < m.child.size; {
		r, err := m.child.run(off, m.child.size-off)
		if err != nil {
			return err
		}
		if r.kind == absent {
			if err := m.w.WriteZeros(off, r.length); err != nil {
				return err
			}
			if err := m.rewrite(off, r.length); err != nil {
				return err
			}
		}
		off += r.length
	}
	return nil
}

// finish gives the parent the child's size and disk ID.
func (m *merge) finish() error {
	for _, v := range []struct {
		id    diskio.ID
		value []byte
	}{
		{itemVirtualSize, le.AppendUint64(nil, uint64(m.child.size))},
		{itemDiskID, m.child.meta.diskID[:]},
	} {
		if _, err := m.w.f.WriteAt(v.value, m.parent.meta.at(v.id)); err != nil {
			return err
		}
	}
	return m.w.f.Sync()
}
