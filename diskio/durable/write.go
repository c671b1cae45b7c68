package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"wanrep/diskio"
)

// PartSuffix is what WriteFile appends to the name of a file that it has not
// finished. After a crash such a file holds nothing of worth.
const PartSuffix = ".part"

// WriteFile makes name hold data, whole or not at all: it writes name with
// PartSuffix, syncs it, renames it over name and syncs the directory. After an
// error name holds the old content or the new.
func WriteFile(fsys FS, name string, data []byte, perm fs.FileMode) error {
	if err := writePart(fsys, name+PartSuffix, data, perm); err != nil {
		return fmt.Errorf("write %s: %w", diskio.Printable(name), err)
	}
	if err := fsys.Rename(name+PartSuffix, name); err != nil {
		return fmt.Errorf("write %s: %w", diskio.Printable(name), err)
	}
	if err := fsys.SyncDir(path.Dir(name)); err != nil {
		return fmt.Errorf("sync directory of %s: %w", diskio.Printable(name), err)
	}
	return nil
}

func writePart(fsys FS, part string, data []byte, perm fs.FileMode) error {
	// What an earlier crash left may not be writable.
	if err := fsys.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, 0); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// ErrTooLarge is wrapped by the error of ReadFile for a file over its limit.
var ErrTooLarge = errors.New("the file is too large")

// usualBytes is more than most files have that ReadFile reads, so that one read does.
const usualBytes = 4 << 10

// ReadFile reads a file of at most limit bytes, as WriteFile writes them.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	b.Grow(usualBytes)
	if _, err := b.ReadFrom(io.NewSectionReader(f, 0, limit+1)); err != nil {
		return nil, fmt.Errorf("read %s: %w", diskio.Printable(name), err)
	}
	if int64(b.Len()) > limit {
		return nil, fmt.Errorf("read %s: %w: it has more than %d bytes", diskio.Printable(name), ErrTooLarge, limit)
	}
	return b.Bytes(), nil
}
