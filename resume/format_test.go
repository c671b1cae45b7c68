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

// plain is a Format as simple as an honest one can be: one sector that says how
// large the disk is and whether it is complete, and the content behind it.
type plain struct{}

const plainHead = 4096

var plainMagic = []byte("plain disk")

func (plain) Extension() string { return ".img" }

func (plain) Create(f durable.File, s resume.DiskSpec) (resume.DiskFile, error) {
	d := &plainFile{f: f, size: s.Size}
	return d, d.mark(false)
}

func (plain) Reopen(f durable.File, s resume.DiskSpec, keep int64) (resume.DiskFile, error) {
	size, _, err := plainState(f)
	if err != nil {
		return nil, err
	}
	if size != s.Size {
		return nil, &diskio.FormatError{Section: "head", Reason: "another size"}
	}
	d := &plainFile{f: f, size: s.Size}
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
	size, complete, err := plainState(f)
	if err == nil && !complete {
		err = errors.New("the disk is incomplete")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &plainContent{f, size}, nil
}

func plainState(f durable.File) (size int64, complete bool, err error) {
	b := make([]byte, 32)
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, false, err
	}
	if string(b[:len(plainMagic)]) != string(plainMagic) {
		return 0, false, &diskio.FormatError{Section: "head", Reason: "no plain disk"}
	}
	return int64(binary.LittleEndian.Uint64(b[16:])), b[24] == 1, nil
}

type plainFile struct {
	f    durable.File
	size int64
}

func (d *plainFile) mark(complete bool) error {
	b := make([]byte, 512)
	copy(b, plainMagic)
	binary.LittleEndian.PutUint64(b[16:], uint64(d.size))
	if complete {
		b[24] = 1
	}
	_, err := d.f.WriteAt(b, 0)
	return err
}

func (d *plainFile) WriteAt(p []byte, off int64) (int, error) { return d.f.WriteAt(p, plainHead+off) }

func (d *plainFile) Flush() error { return nil }

func (d *plainFile) Seal() error {
	if err := d.f.Truncate(plainHead + d.size); err != nil {
		return err
	}
	return d.mark(true)
}

type plainContent struct {
	f    durable.File
	size int64
}

func (c *plainContent) Size() int64 { return c.size }

func (c *plainContent) ReadAt(p []byte, off int64) (int, error) { return c.f.ReadAt(p, plainHead+off) }

func (c *plainContent) NextData(off int64) (start, length int64, err error) {
	if off >= c.size {
		return 0, 0, io.EOF
	}
	return off, c.size - off, nil
}

func (c *plainContent) Close() error { return c.f.Close() }
