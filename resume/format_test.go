package resume_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/resume"
)

// plain is a Format as simple as an honest one can be: a head that says how large
// the disk is, whether it is complete, and for a disk with a parent which blocks it
// has itself; and the content behind it. Each disk has a mark, by which a merge finds
// out whether one builds on the other.
type plain struct{}

const (
	plainHead = 4096
	// Where in the head the parent's name is, its mark and the disk's own, and the
	// byte for each block.
	plainParent = 32
	plainOn     = 496
	plainMark   = 504
	plainBlocks = 512
	// maxPlain is how large a disk can be that is merged.
	maxPlain = 100 * block
)

var plainMagic = []byte("plain disk")

func (plain) Extension() string { return ".img" }

func (plain) Create(f durable.File, s resume.DiskSpec) (resume.DiskFile, error) {
	d := &plainFile{f: f, size: s.Size, id: rand.Uint64()}
	return d, d.mark(false)
}

func (plain) CreateOn(f durable.File, s resume.DiskSpec, fsys durable.FS, _, parent string) (resume.DiskFile, error) {
	c, err := plain{}.Open(fsys, parent)
	if err != nil {
		return nil, err
	}
	return createPlainOn(f, s, c.(*plainContent).plainFile, parent, c.Close())
}

func (plain) CreateLayer(f durable.File, s resume.DiskSpec, fsys durable.FS, _, lower string) (resume.DiskFile, error) {
	below, err := fsys.OpenFile(lower, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	d, _, err := readPlain(below)
	if err = errors.Join(err, below.Close()); err != nil {
		return nil, err
	}
	if s.Size > maxPlain {
		return nil, &diskio.FormatError{Section: "head", Reason: "no room for so large a disk"}
	}
	return createPlainOn(f, s, d, lower, nil)
}

func createPlainOn(f durable.File, s resume.DiskSpec, below *plainFile, parent string, err error) (resume.DiskFile, error) {
	d := &plainFile{
		f: f, size: s.Size, parent: parent, id: rand.Uint64(), on: below.id, has: make([]byte, plainHead-plainBlocks),
	}
	return d, errors.Join(err, d.mark(false))
}

func (f plain) Merge(ctx context.Context, upper, lower durable.File) error {
	if err := f.MergeContent(ctx, upper, lower); err != nil {
		return err
	}
	return f.MergeIdentity(upper, lower)
}

// mergePlain reads two disks that are to be merged, or are already.
func mergePlain(upper, lower durable.File) (u, l *plainFile, complete bool, err error) {
	if u, _, err = readPlain(upper); err != nil {
		return nil, nil, false, err
	}
	l, complete, err = readPlain(lower)
	if err != nil || l.id == u.id {
		return u, l, complete, err
	}
	if u.on != l.id || u.parent == "" {
		return nil, nil, false, &diskio.FormatError{Section: "head", Reason: "the one does not build on the other"}
	}
	return u, l, complete, nil
}

func (plain) CanMerge(upper, lower durable.File) error {
	_, _, _, err := mergePlain(upper, lower)
	return err
}

func (plain) MergeContent(ctx context.Context, upper, lower durable.File) error {
	u, l, complete, err := mergePlain(upper, lower)
	if err != nil || l.id == u.id {
		return err
	}
	for at := int64(0); at < u.size; at += block {
		if err := ctx.Err(); err != nil {
			return err
		}
		if u.has[at/block] == 0 {
			continue
		}
		b := make([]byte, min(block, u.size-at))
		if n, err := upper.ReadAt(b, plainHead+at); n < len(b) {
			return err
		}
		if _, err := l.WriteAt(b, at); err != nil {
			return err
		}
	}
	if err := lower.Sync(); err != nil {
		return err
	}
	return l.markDurably(complete)
}

func (plain) MergeIdentity(upper, lower durable.File) error {
	u, l, complete, err := mergePlain(upper, lower)
	if err != nil {
		return err
	}
	l.id, l.size = u.id, u.size
	return l.markDurably(complete)
}

func (plain) Reopen(f durable.File, s resume.DiskSpec, keep int64) (resume.DiskFile, error) {
	d, _, err := readPlain(f)
	if err != nil {
		return nil, err
	}
	if d.size != s.Size {
		return nil, &diskio.FormatError{Section: "head", Reason: "another size"}
	}
	if d.parent != "" {
		clear(d.has[min(int64(len(d.has)), (keep+block-1)/block):])
	}
	if err := d.mark(false); err != nil {
		return nil, err
	}
	return d, f.Truncate(plainHead + keep)
}

func (plain) Patch(f durable.File, _ string) (io.WriterAt, error) {
	d, _, err := readPlain(f)
	return plainPatch{d}, err
}

// A plainPatch overwrites blocks that the file has.
type plainPatch struct{ *plainFile }

func (d plainPatch) WriteAt(p []byte, off int64) (int, error) {
	if d.has != nil && d.has[off/block] == 0 {
		return 0, &diskio.FormatError{Section: "head", Reason: "the block is not here"}
	}
	return d.f.WriteAt(p, plainHead+off)
}

func (plain) Open(fsys durable.FS, name string) (resume.Content, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	d, complete, err := readPlain(f)
	if err == nil && !complete {
		err = errors.New("the disk is incomplete")
	}
	c := &plainContent{plainFile: d}
	if err == nil && d.parent != "" {
		c.parent, err = plain{}.Open(fsys, d.parent)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return c, nil
}

func readPlain(f durable.File) (d *plainFile, complete bool, err error) {
	b := make([]byte, plainHead)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	if string(b[:len(plainMagic)]) != string(plainMagic) {
		return nil, false, &diskio.FormatError{Section: "head", Reason: "no plain disk"}
	}
	d = &plainFile{f: f, size: int64(binary.LittleEndian.Uint64(b[16:]))}
	d.id, d.on = binary.LittleEndian.Uint64(b[plainMark:]), binary.LittleEndian.Uint64(b[plainOn:])
	if n := int(b[25]); n > 0 {
		d.parent, d.has = string(b[plainParent:plainParent+n]), b[plainBlocks:]
	}
	return d, b[24] == 1, nil
}

type plainFile struct {
	f      durable.File
	size   int64
	id, on uint64 // the marks of the disk and of its parent
	parent string
	has    []byte // for each block 1 if it is here; nil without a parent
}

func (d *plainFile) mark(complete bool) error {
	b := make([]byte, plainBlocks, plainHead)
	copy(b, plainMagic)
	binary.LittleEndian.PutUint64(b[16:], uint64(d.size))
	if complete {
		b[24] = 1
	}
	b[25] = byte(copy(b[plainParent:plainOn], d.parent))
	binary.LittleEndian.PutUint64(b[plainMark:], d.id)
	binary.LittleEndian.PutUint64(b[plainOn:], d.on)
	_, err := d.f.WriteAt(append(b, d.has...), 0)
	return err
}

func (d *plainFile) markDurably(complete bool) error {
	if err := d.mark(complete); err != nil {
		return err
	}
	return d.f.Sync()
}

func (d *plainFile) WriteAt(p []byte, off int64) (int, error) {
	if d.has != nil {
		for at := off; at < off+int64(len(p)); at += block {
			d.has[at/block] = 1
		}
	}
	return d.f.WriteAt(p, plainHead+off)
}

func (d *plainFile) Flush() error {
	if d.has == nil {
		return nil
	}
	return d.mark(false)
}

func (d *plainFile) Seal() error {
	if err := d.f.Truncate(plainHead + d.size); err != nil {
		return err
	}
	return d.mark(true)
}

type plainContent struct {
	*plainFile
	parent resume.Content
}

func (c *plainContent) Size() int64 { return c.size }

func (c *plainContent) ReadAt(p []byte, off int64) (int, error) {
	if c.parent == nil {
		return c.f.ReadAt(p, plainHead+off)
	}
	for done := 0; done < len(p); {
		at := off + int64(done)
		if at >= c.size {
			return done, io.EOF
		}
		b := p[done:min(int64(len(p)), int64(done)+block-at%block, int64(done)+c.size-at)]
		if c.has[at/block] == 1 {
			if n, err := c.f.ReadAt(b, plainHead+at); n < len(b) {
				return done + n, err
			}
		} else {
			clear(b)
			if n, err := c.parent.ReadAt(b, at); n < len(b) && err != io.EOF {
				return done + n, err
			}
		}
		done += len(b)
	}
	return len(p), nil
}

func (c *plainContent) NextData(off int64) (start, length int64, err error) {
	if off >= c.size {
		return 0, 0, io.EOF
	}
	return off, c.size - off, nil
}

func (c *plainContent) Close() error {
	err := c.f.Close()
	if c.parent != nil {
		err = errors.Join(err, c.parent.Close())
	}
	return err
}
