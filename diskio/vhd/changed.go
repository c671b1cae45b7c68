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
