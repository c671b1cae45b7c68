package durable

import (
	"errors"
	"fmt"
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
