package vhd

import (
	"io"

	"wanrep/diskio"
)

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
	for at := max(off, 0); at < img.size; {
		r, err := img.layers[0].run(at, img.size-at)
		if err != nil {
			return 0, 0, err
		}
		switch changed := img.changed(r.layer, at, above); {
		case changed && length == 0:
			start, length = at, r.length
		case changed:
			length += r.length
		case length > 0:
			return start, length, nil
		}
		at += r.length
	}
	if length == 0 {
		return 0, 0, io.EOF
	}
	return start, length, nil
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
