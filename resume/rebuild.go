package resume

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

// rebuildDigests makes a damaged digests file again from the content of the disk. That
// it gives the root in the manifest, which is signed, proves both.
func (h *healer) rebuildDigests(ctx context.Context) error {
	name := path.Join(h.layer.dir, h.layer.disk.DigestsFile)
	err := h.writeDigests(ctx, name+durable.PartSuffix)
	if err != nil {
		if removing := h.store.fsys.Remove(name + durable.PartSuffix); removing != nil && !isDamaged(err) {
			return errors.Join(err, removing)
		}
		return err
	}
	if err := h.store.fsys.Chmod(name+durable.PartSuffix, readOnlyPerm); err != nil {
		return err
	}
	if err := h.store.fsys.Rename(name+durable.PartSuffix, name); err != nil {
		return err
	}
	if err := h.store.fsys.SyncDir(h.layer.dir); err != nil {
		return err
	}
	h.damage.Digests, h.healed.Digests = "", true
	return h.note(func(d *Damage) { d.Digests = "" })
}

// writeDigests writes the records of all that the disk's own file has to a file.
func (h *healer) writeDigests(ctx context.Context, name string) error {
	s := h.store
	if err := s.checkSpace(); err != nil {
		return err
	}
	content, err := s.cfg.Format.Open(s.fsys, h.layer.file())
	if err != nil {
		return err
	}
	defer content.Close()
	f, err := s.fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return err
	}
	w := &digestsWriter{f: f}
	err = w.create(h.layer.shape())
	if err == nil {
		err = h.digestAll(ctx, content, w)
	}
	if err == nil {
		err = w.sync()
	}
	if err == nil && w.count != h.layer.disk.Digests {
		err = &damagedError{name, fmt.Sprintf("the content gives %d digests, and there were %d", w.count, h.layer.disk.Digests)}
	}
	if err == nil {
		err = s.proveRoot(f, name, h.layer, w.count)
	}
	return errors.Join(err, f.Close())
}

// own finds what a disk's own file has, and not what it builds on. It is nil if the
// format can't tell.
func (h *healer) own(content Content) func(off int64) (start, length int64, err error) {
	if h.layer.below == nil {
		return content.NextData
	}
	lister, ok := content.(interface {
		ChangedSince(is func(identity string) bool) (next func(off int64) (start, length int64, err error), ok bool)
	})
	if !ok {
		return nil
	}
	// The ancestor that is asked about first is the disk right below.
	next, _ := lister.ChangedSince(func(string) bool { return true })
	return next
}

func (h *healer) digestAll(ctx context.Context, content Content, w *digestsWriter) error {
	find := h.own(content)
	if find == nil {
		return &damagedError{h.layer.disk.DigestsFile, "the format can't tell which blocks it named"}
	}
	buf := make([]byte, diskio.BlockBytes)
	size, below := h.layer.disk.VirtualSize, h.layer.below.blocks()
	for off := int64(0); off < size; {
		start, length, err := find(off)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		end := start + length
		for off = max(off, start-start%diskio.BlockBytes); off < min(end, size); off += diskio.BlockBytes {
			if err := h.pace.wait(ctx, diskio.BlockBytes); err != nil {
				return err
			}
			b := buf[:min(diskio.BlockBytes, size-off)]
			if n, err := content.ReadAt(b, off); n < len(b) && err != nil {
				return err
			}
			index, sum := off/diskio.BlockBytes, digest.Block(b)
			if sum == digest.ZeroBlock() && index >= below {
				continue
			}
			if err := w.add(index, sum); err != nil {
				return err
			}
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
	}
	return nil
}
