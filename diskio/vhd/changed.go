package vhd

import "wanrep/diskio"

// Files are the paths of the chain's files, the youngest first.
func (img *image) Files() []string {
	var files []string
	for _, l := range img.layers {
		files = append(files, l.path)
	}
	return files
}

// NextChanged returns the first extent at or after off whose sectors the bitmaps of
// the files above ancestor claim.
func (img *image) NextChanged(ancestor string, off int64) (start, length int64, err error) {
	above, err := diskio.Ancestor(img.Files(), ancestor)
	if err != nil {
		return 0, 0, err
	}
	return img.nextChanged(above, off)
}

// ChangedSince finds the ancestor with that identity.
func (img *image) ChangedSince(is func(identity string) bool) (next func(off int64) (start, length int64, err error), ok bool) {
	for above := 1; above < len(img.layers); above++ {
		if id, err := identity(img.layers[above:]); err == nil && is(id) {
			return func(off int64) (start, length int64, err error) { return img.nextChanged(above, off) }, true
		}
	}
	return nil, false
}

// nextChanged is NextChanged since the file at that place of the chain.
func (img *image) nextChanged(above int, off int64) (start, length int64, err error) {
	return diskio.FirstRun(off, img.size, img.size, func(at int64) (bool, int64, error) {
		r, err := img.layers[0].run(at, img.size-at)
		return img.changed(r.layer, at, above), r.length, err
	})
}

// changed reports whether the disk at off, which layer l decides, may differ from
// the layers from above on. Behind the end of a file that is smaller than its child
// the disk has zeros, whatever the files below have.
func (img *image) changed(l *layer, off int64, above int) bool {
	for _, younger := range img.layers[:above] {
		if l == younger || l == nil && off >= younger.size {
			return true
		}
	}
	return false
}
