package resume

import (
	"errors"
	"fmt"
	"path"

	"wanrep/diskio"
	"wanrep/diskio/durable"
)

// A NoStoreError says what a directory is that is not a store.
type NoStoreError struct {
	err  error
	hint string
}

func (e *NoStoreError) Error() string { return "this directory is not a store: " + e.err.Error() }

func (e *NoStoreError) Unwrap() error { return e.err }

// Hint says what to do.
func (e *NoStoreError) Hint() string { return e.hint }

// errEmpty tells that a directory can become a store.
var errEmpty = errors.New("it is empty")

// noStore says what a directory is that has no store.json. What systems put into the
// root of a file system does not count.
func (s *Store) noStore() error {
	entries, err := s.fsys.ReadDir(".")
	if err != nil {
		return err
	}
	foreign, mine := "", 0
	for _, e := range entries {
		switch name := e.Name(); {
		case name == lockName, name == storeName+durable.PartSuffix, name[0] == '.',
			name == "lost+found", name == "System Volume Information", name == "$RECYCLE.BIN":
		default:
			foreign = name
		}
	}
	if foreign == "" {
		return &NoStoreError{errEmpty, "a target makes its store when it first starts; " +
			"if there was one, look whether its file system is mounted"}
	}
	dirs, err := s.vmDirs()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		names, err := s.pointDirs(path.Join(dir, pointsName))
		if err != nil {
			return err
		}
		mine += len(names)
	}
	if mine > 0 {
		return &NoStoreError{
			fmt.Errorf("it has %d restore points and no %s, which names a store", mine, storeName),
			"copy " + storeName + " too from where the directory comes from",
		}
	}
	return &NoStoreError{
		fmt.Errorf("it has no %s but %q", storeName, diskio.Printable(foreign)),
		"[store] path must name a directory that is empty or a store",
	}
}
