package resume

import (
	"slices"

	"wanrep/diskio/digest"
)

// spoiled is what of a disk can't be relied on.
type spoiled struct {
	blocks []int64 // ascending
	whole  bool
}

func (s spoiled) any() bool { return s.whole || len(s.blocks) > 0 }

// markInherited marks the points of a VM, in their order, that have damaged content of
// one on which they build. It costs nothing where no damage is known.
func (c *chains) markInherited(points []Point) error {
	if len(c.damage) == 0 {
		return nil
	}
	disks := map[pointAndDisk]spoiled{}
	for i := range points {
		p := &points[i]
		for _, d := range p.Disks {
			l, err := c.layer(p.Point, d.Disk)
			if isDamaged(err) {
				continue // the point is, and shown as such
			}
			if err != nil {
				return err
			}
			var has spoiled
			if l.below != nil {
				if has, err = c.store.inherited(l, disks[pointAndDisk{l.below.point, d.Disk}]); err != nil {
					return err
				}
				p.OnDamage = p.OnDamage || has.any()
			}
			if own := l.damage; own != nil {
				has.blocks = append(has.blocks, own.blocks()...)
				slices.Sort(has.blocks)
				has.whole = has.whole || own.File != ""
			}
			disks[pointAndDisk{p.Point, d.Disk}] = has
		}
	}
	return nil
}

// inherited is what a disk has of what is spoiled below it: all but the blocks of which
// it has something itself.
func (s *Store) inherited(l *layer, below spoiled) (spoiled, error) {
	if len(below.blocks) == 0 {
		return below, nil
	}
	own := map[int64]bool{}
	err := s.records(l, below.blocks, func(block int64, _ digest.Sum) error {
		own[block] = true
		return nil
	})
	if isDamaged(err) {
		return below, nil // which it has is not known
	}
	has := spoiled{whole: below.whole}
	for _, block := range below.blocks {
		if !own[block] {
			has.blocks = append(has.blocks, block)
		}
	}
	return has, err
}
