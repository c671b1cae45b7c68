package resume_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/resume"
)

// plain is a Format as simple as an honest one can be: a head that says how large
// the disk is, whether it is complete, and for a disk with a parent which blocks it
// has itself; and the content behind it.
type plain struct{}

const (
	plainHead = 4096
	// Where in the head the parent's name is, and the byte for each block.
	plainParent = 32
	plainBlocks = 512
)

var plainMagic = []byte("plain disk")

func (plain) Extension() string { return ".img" }

func (plain) Create(f durable.File, s resume.DiskSpec) (resume.DiskFile, error) {
	d := &plainFile{f: f, size: s.Size}
	return d, d.mark(false)
}

func (plain) CreateOn(f durable.File, s resume.DiskSpec, fsys durable.FS, _, parent string) (resume.DiskFile, error) {
	c, err := plain{}.Open(fsys, parent)
	if err != nil {
		return nil, err
	}
	d := &plainFile{f: f, size: s.Size, parent: parent, has: make([]byte, plainHead-plainBlocks)}
	return d, errors.Join(c.Close(), d.mark(false))
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
	if n := int(b[25]); n > 0 {
		d.parent, d.has = string(b[plainParent:plainParent+n]), b[plainBlocks:]
	}
	return d, b[24] == 1, nil
}

type plainFile struct {
	f      durable.File
	size   int64
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
	b[25] = byte(copy(b[plainParent:], d.parent))
	_, err := d.f.WriteAt(append(b, d.has...), 0)
	return err
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
