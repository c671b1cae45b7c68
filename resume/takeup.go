package resume

import (
	"errors"
	"fmt"
	"io/fs"
)

// takeUp returns the state in which the disk begins: that of old if it goes on, else
// one that has nothing yet. under is the disk of the base on which it can build.
func (d *PartDisk) takeUp(old *partState, under *layer) (diskState, error) {
	was, ok := old.disk(d.spec.Name)
	alone := ok && was.alone
	if ok && was.received() {
		err := d.unfit(old, was, under)
		if err == nil {
			if was.based {
				d.base = under
			}
			err = d.goOn(&was)
		}
		if err == nil {
			return was, nil
		}
		if again := d.closeFiles(); again != nil || !isUseless(err) {
			return diskState{}, errors.Join(err, again)
		}
		d.part.store.cfg.Log.Warn(startsAgain, "disk", d.spec.Name, "err", err)
		alone = alone || isBaseDamaged(err)
	}
	d.base = under
	if err := under.ruined(); err != nil && !alone {
		d.part.store.cfg.Log.Warn("disk stands alone, its base is damaged", "disk", d.spec.Name, "err", err)
		d.base = nil
	}
	if alone {
		d.base = nil
	}
	return d.anew(alone), nil
}

// anew returns the state of a disk that has nothing yet.
func (d *PartDisk) anew(alone bool) diskState {
	d.lieOn(nil)
	return diskState{spec: d.spec, tree: newTree(), based: d.base != nil, alone: alone}
}

const startsAgain = "disk starts again, what was received is of no use"

// An unfitError says why what was received of a disk can't be continued.
type unfitError string

func (e unfitError) Error() string { return string(e) }

// isUseless reports whether an error means that what was received is of no use.
func isUseless(err error) bool {
	return isDamaged(err) || errors.Is(err, fs.ErrNotExist) || errors.As(err, new(unfitError))
}

// unfit says why what was received can't be continued, whatever it is worth; nil if it
// can.
func (d *PartDisk) unfit(old *partState, was diskState, under *layer) error {
	switch is := d.spec; {
	case is.ID != was.spec.ID, is.LogicalSectorSize != was.spec.LogicalSectorSize, is.PhysicalSectorSize != was.spec.PhysicalSectorSize:
		return unfitError("another disk has its name now")
	case is.Size < was.spec.Size:
		return unfitError(fmt.Sprintf("it had %d bytes and has only %d now", was.spec.Size, is.Size))
	case was.based && (under == nil || old.base != d.part.state.base):
		return unfitError(fmt.Sprintf("point %s, on which it builds, is gone or damaged", old.base))
	}
	return nil
}

// goOn takes up what was received and adds the tree to the state. If the disk has
// changed, it is compared from offset 0 on.
func (d *PartDisk) goOn(state *diskState) error {
	if state.merged != nil {
		if err := d.as(*state).settle(state); err != nil {
			return err
		}
	}
	if state.spec != d.spec {
		if err := d.change(state); err != nil {
			return err
		}
	}
	d.lieOn(state.under)
	if state.durable > 0 {
		return d.continueAt(state)
	}
	state.tree = newTree()
	return nil
}

// change makes the state that of a disk which is compared with what was received.
func (d *PartDisk) change(state *diskState) error {
	if len(state.under) == maxPartLayers && state.durable > 0 {
		was := d.as(*state)
		merging, err := was.decideMerge(*state, d.part.reviseOld)
		if err == nil {
			err = was.settle(&merging)
		}
		if err != nil {
			return err
		}
		*state = merging
	}
	if state.durable > 0 {
		return d.cover(state)
	}
	state.spec = d.spec
	return nil
}
