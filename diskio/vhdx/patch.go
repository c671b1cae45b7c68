package vhdx

import (
	"fmt"
	"io"

	"wanrep/diskio"
)

// Patch returns a writer that puts content back in place: it overwrites what the file
// of a disk holds and changes nothing else, neither the structures nor the GUIDs, so
// that whoever builds on the disk goes on to accept it. It is for blocks that have
// rotted. The writer's error is a [*diskio.FormatError] where the file does not hold
// all that is to be written: then what says so has rotted. The caller syncs.
func Patch(path string, f File) (io.WriterAt, error) {
	l, err := openLayer(path, unowned{f}, Options{})
	if err != nil {
		return nil, err
	}
	if !l.header.logGUID.IsZero() {
		return nil, withPath(formatErr("log", int64(l.header.logOffset), "not empty: another program wrote to the file"), path)
	}
	l.pages = newPages(l.src, pageSlots)
	return &patch{l, f}, nil
}

type patch struct {
	layer *layer
	f     File
}

func (p *patch) WriteAt(b []byte, off int64) (int, error) {
	if off < 0 || int64(len(b)) > p.layer.size-off {
		return 0, fmt.Errorf("vhdx: %d bytes at %d of a disk of %d", len(b), off, p.layer.size)
	}
	var runs []run
	for at := off; at < off+int64(len(b)); {
		r, err := p.layer.run(at, off+int64(len(b))-at)
		if err != nil {
			return 0, err
		}
		if r.kind != stored {
			return 0, &diskio.FormatError{Path: p.layer.path, Section: "BAT",
				Offset: p.layer.payloadAt(at >> p.layer.blockShift), Reason: fmt.Sprintf("the content at %d is not in the file", at)}
		}
		runs = append(runs, r)
		at += r.length
	}
	done := 0
	for _, r := range runs {
		n, err := p.f.WriteAt(b[done:done+int(r.length)], r.offset)
		if done += n; err != nil {
			return done, err
		}
	}
	return done, nil
}
