package vhdx

import "wanrep/diskio"

// Files are the paths of the chain's files, the youngest first.
func (d *disk) Files() []string {
	var files []string
	for _, l := range d.layers {
		files = append(files, l.path)
	}
	return files
}

// NextChanged returns the first extent at or after off that the files above
// ancestor decide: whole blocks that they have or say are zeros, and the sectors
// that their bitmaps claim.
func (d *disk) NextChanged(ancestor string, off int64) (start, length int64, err error) {
	above, err := diskio.Ancestor(d.Files(), ancestor)
	if err != nil {
		return 0, 0, err
	}
	return d.nextChanged(above, off)
}

// ChangedSince finds the ancestor with that identity.
func (d *disk) ChangedSince(is func(identity string) bool) (next func(off int64) (start, length int64, err error), ok bool) {
	for above := 1; above < len(d.layers); above++ {
		if id, err := identity(d.layers[above:]); err == nil && is(id) {
			return func(off int64) (start, length int64, err error) { return d.nextChanged(above, off) }, true
		}
	}
	return nil, false
}

// nextChanged is NextChanged since the file at that place of the chain.
func (d *disk) nextChanged(above int, off int64) (start, length int64, err error) {
	return diskio.FirstRun(off, d.Size(), maxExtent, func(at int64) (bool, int64, error) {
		l, r, err := d.resolve(at, d.Size()-at)
		return d.changed(l, at, above), r.length, err
	})
}

// changed reports whether the disk at off, which layer l decides, may differ from
// the layers from above on. Where a file between is smaller than both its child and
// its parent, the disk has zeros, whatever the parent has.
func (d *disk) changed(l *layer, off int64, above int) bool {
	for _, younger := range d.layers[:above] {
		if l == younger || l == nil && off >= younger.size {
			return true
		}
	}
	return false
}
