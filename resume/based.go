package resume

import (
	"errors"
	"fmt"
	"io"

	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

// Based reports whether the disk builds on that of the part's base point, or on what
// was received of it before it changed. What is not written to it is then what those
// have, and not zeros.
func (d *PartDisk) Based() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.below != nil
}

// BaseIdentity returns what the source once said names the content on which the disk
// builds. It is empty if that is not known, as of what was received before the disk
// changed.
func (d *PartDisk) BaseIdentity() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.below == nil {
		return ""
	}
	return d.below.disk.Identity
}

// BaseDigests reads the digests of what the disk builds on: from the block from on,
// in ascending order, each block that is not all zeros, and digest.None for one that is
// known to be damaged, which has to be written whatever it is. next returns io.EOF behind
// the last; a disk that stands alone has none. It may be used while another
// goroutine writes to the disk. The caller has to call close. An error means that the
// Part has to be closed and begun again; the disk then builds on nothing that is damaged.
func (d *PartDisk) BaseDigests(from int64) (next func() (block int64, sum digest.Sum, err error), close func() error, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	const op = "read the base's digests"
	m, err := trustDigests(d.part.store.fsys, d.below, from)
	if err != nil {
		return nil, nil, d.spoil(op, err)
	}
	next = func() (int64, digest.Sum, error) {
		block, sum, err := m.read()
		if err != nil && err != io.EOF {
			d.mu.Lock()
			defer d.mu.Unlock()
			err = d.spoil(op, err)
		}
		return block, sum, err
	}
	return next, m.Close, nil
}

// Merges reports whether content up to end makes the disk one file of what was received
// before it changed and after, which may take long.
func (d *PartDisk) Merges(end int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.under) > 0 && end > d.reach
}

// fillTo takes the blocks up to end that were not written for the base's.
func (d *PartDisk) fillTo(end int64) error {
	if d.below == nil || d.tree.Next() >= end {
		d.tree.SkipTo(end)
		return nil
	}
	if d.fill == nil {
		fill, err := trustDigests(d.part.store.fsys, d.below, d.tree.Next())
		if err != nil {
			return err
		}
		d.fill = fill
	}
	return d.fill.extend(d.tree, end)
}

// Drop forgets what was received of the disk, complete or not, because it is not what
// the source has. The Part has to be closed then.
func (d *PartDisk) Drop() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.poison("drop", d.drop(ErrDigest))
}

// drop forgets what was received of the disk: when the part is begun again the disk
// starts at 0. It then stands alone, because with a base it would only come to the
// same again if the base is not what it says.
func (d *PartDisk) drop(err error) error {
	state := diskState{spec: d.spec, based: d.below != nil, alone: true}
	if again := d.part.journal.record(d.index, state); again != nil {
		return errors.Join(err, again)
	}
	d.durable.Store(0)
	return err
}

// spoil poisons the disk, and forgets what was received if that, or its base, is
// damaged.
func (d *PartDisk) spoil(op string, err error) error {
	if d.err != nil {
		return d.err
	}
	switch {
	case isBaseDamaged(err):
		err = d.drop(err)
	case len(d.under) > 0 && isDamaged(err):
		err = d.forget(err)
	}
	return d.poison(op, err)
}

// shape returns what the digests file's head has to say.
func (d *PartDisk) shape() digestsShape {
	return digestsShape{size: d.spec.Size, id: d.spec.ID, baseBlocks: d.below.blocks()}
}

// rebuildTree reads the digests that the journal counts, and the base's.
func (d *PartDisk) rebuildTree(f durable.File, state diskState) (*digest.Tree, error) {
	name, end := d.digestsName(), digest.Blocks(state.durable)
	own, err := readDigests(f, name, d.shape(), state.digests)
	if err != nil {
		return nil, err
	}
	m := newDigestsMerge()
	m.put(mergedLayer{r: own})
	tree := newTree()
	if err = m.open(d.part.store.fsys, d.below, nil, 0); err == nil {
		err = m.extend(tree, end)
	}
	switch {
	case err != nil:
	case m.layers[0].err == nil:
		err = &damagedError{name, fmt.Sprintf("a record for block %d of a disk that is durable up to block %d", m.layers[0].index, end)}
	case own.crc != state.crc:
		err = own.damagedRecords()
	}
	return tree, errors.Join(err, m.Close())
}

// standAlone begins the disk, of which nothing is there yet, without its base.
func (d *PartDisk) standAlone() error {
	d.base = nil
	return d.startAgain(true)
}

// startAgain begins the disk without what was received of it.
func (d *PartDisk) startAgain(alone bool) error {
	if err := d.closeFiles(); err != nil {
		return err
	}
	state := d.part.state
	state.disks[d.index] = d.anew(alone)
	state.dropUnusedBase()
	if err := d.part.journal.revise(func(p *partState) { *p = *state.clone() }); err != nil {
		return err
	}
	return d.create()
}
