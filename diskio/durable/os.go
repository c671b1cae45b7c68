package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"wanrep/diskio"
)

// OS returns the directory dir of this machine, which must exist.
func OS(dir string) (FS, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	beneath, err := openBeneath(root)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &osFS{root: root, beneath: beneath, path: path}, nil
}

type osFS struct {
	root    *os.Root
	beneath beneath
	path    string // absolute; for questions that a Root does not answer
}

func (o *osFS) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if flag == os.O_RDONLY {
		if f := o.open(name); f != nil {
			return osFile{f}, nil
		}
	}
	f, err := o.root.OpenFile(filepath.FromSlash(name), flag, perm)
	if err != nil {
		return nil, full(err)
	}
	return osFile{f}, nil
}

func (o *osFS) Mkdir(name string, perm fs.FileMode) error {
	return full(o.root.Mkdir(filepath.FromSlash(name), perm))
}

func (o *osFS) Rename(from, to string) error {
	return full(o.root.Rename(filepath.FromSlash(from), filepath.FromSlash(to)))
}

func (o *osFS) Remove(name string) error {
	return full(o.root.Remove(filepath.FromSlash(name)))
}

func (o *osFS) RemoveAll(name string) error {
	return full(o.root.RemoveAll(filepath.FromSlash(name)))
}

func (o *osFS) Chmod(name string, mode fs.FileMode) error {
	return full(o.root.Chmod(filepath.FromSlash(name), mode))
}

func (o *osFS) Stat(name string) (fs.FileInfo, error) {
	return o.root.Stat(filepath.FromSlash(name))
}

func (o *osFS) SyncDir(name string) error {
	return full(syncDir(o.root, filepath.FromSlash(name)))
}

func (o *osFS) Free() (int64, error) {
	free, _, err := Space(o.path)
	return free, err
}

func (o *osFS) Close() error { return errors.Join(o.beneath.close(), o.root.Close()) }

// ownerBytes is as much of a lock file as is read for a message.
const ownerBytes = 512

func (o *osFS) Lock(name string) (io.Closer, error) {
	f, err := o.root.OpenFile(filepath.FromSlash(name), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, full(err)
	}
	if err := lock(f); err != nil {
		defer f.Close()
		if !errors.Is(err, errLocked) {
			return nil, fmt.Errorf("lock %s: %w", diskio.Printable(name), err)
		}
		return nil, &LockedError{Name: filepath.Join(o.path, name), Owner: readOwner(f)}
	}
	// The text only tells people who has the lock; the kernel keeps it.
	if err := writeOwner(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("write owner to %s: %w", diskio.Printable(name), full(err))
	}
	return f, nil
}

func writeOwner(f *os.File) error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	text := fmt.Sprintf("wanrep, pid %d on host %s, since %s\n", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(text), 0)
	return err
}

// readOwner returns what the lock's owner wrote. An owner that has only just
// taken the lock may not have written yet.
func readOwner(f *os.File) string {
	b := make([]byte, ownerBytes)
	n, _ := f.ReadAt(b, 0)
	line, _, _ := bytes.Cut(b[:n], []byte("\n"))
	if len(line) == 0 {
		return "another process"
	}
	return diskio.Printable(string(line))
}

// osFile is an os.File that tells a full disk apart.
type osFile struct{ *os.File }

func (f osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	return n, full(err)
}

func (f osFile) Truncate(size int64) error { return full(f.File.Truncate(size)) }

func (f osFile) Sync() error { return full(f.File.Sync()) }

func (f osFile) Close() error { return full(f.File.Close()) }

// A fullError is a system's error that is also ErrFull.
type fullError struct{ error }

func (e fullError) Is(target error) bool { return target == ErrFull }

func (e fullError) Unwrap() error { return e.error }

// full makes errors.Is(err, ErrFull) true for what a full disk or quota gives.
func full(err error) error {
	for _, e := range fullErrnos {
		if errors.Is(err, e) {
			return fullError{err}
		}
	}
	return err
}
