package resume

import (
	"errors"
	"io"
	"io/fs"
	"syscall"

	"wanrep/diskio/durable"
)

// A format may make an error of its own from one of the disk below it. What is
// watched keeps the disk's, since the disk is at fault then, and not what is on it:
// what was received must not be dropped for that.

// A watchedFile keeps the first error of the disk.
type watchedFile struct {
	durable.File
	fault *error
}

func (f *watchedFile) keep(n int, err error) (int, error) {
	if *f.fault == nil && err != nil && err != io.EOF {
		*f.fault = err
	}
	return n, err
}

func (f *watchedFile) ReadAt(p []byte, off int64) (int, error) { return f.keep(f.File.ReadAt(p, off)) }

func (f *watchedFile) WriteAt(p []byte, off int64) (int, error) {
	return f.keep(f.File.WriteAt(p, off))
}

func (f *watchedFile) Truncate(size int64) error {
	_, err := f.keep(0, f.File.Truncate(size))
	return err
}

func (f *watchedFile) Sync() error {
	_, err := f.keep(0, f.File.Sync())
	return err
}

// SyscallConn lets a format find and punch holes, if the file can.
func (f *watchedFile) SyscallConn() (syscall.RawConn, error) { return rawConn(f.File) }

func rawConn(f durable.File) (syscall.RawConn, error) {
	if c, ok := f.(syscall.Conn); ok {
		return c.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

// A watchedFS watches the files that are opened in it.
type watchedFS struct {
	durable.FS
	fault *error
}

func (w watchedFS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := w.FS.OpenFile(name, flag, perm)
	if err == nil {
		return &watchedFile{f, w.fault}, nil
	}
	if *w.fault == nil && !errors.Is(err, fs.ErrNotExist) {
		*w.fault = err
	}
	return nil, err
}
