package durable

import (
	"cmp"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// A beneath opens what is below a directory for reading with one call of the system.
// An os.Root takes two for each directory on the way and one for each entry that it
// lists, which is most of the time that a list of many points takes. Here the kernel
// keeps the name below the directory. When it does not open something it is asked by
// way of the os.Root, whose word counts: this kernel may not know the call, or a
// container not allow it.
type beneath struct{ dir *os.File }

func openBeneath(root *os.Root) (beneath, error) {
	dir, err := root.Open(".")
	return beneath{dir}, err
}

// open opens a file or directory, or returns nil. path is what it is called in errors.
func (b beneath) open(name, path string) *os.File {
	conn, err := b.dir.SyscallConn()
	if err != nil {
		return nil
	}
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	fd := -1
	err = conn.Control(func(dir uintptr) {
		var failed error
		if fd, failed = unix.Openat2(int(dir), name, &how); failed != nil {
			fd = -1
		}
	})
	if err != nil || fd < 0 {
		return nil
	}
	return os.NewFile(uintptr(fd), path)
}

func (b beneath) close() error { return b.dir.Close() }

// open opens a file for reading, or returns nil.
func (o *osFS) open(name string) *os.File {
	return o.beneath.open(name, filepath.Join(o.path, name))
}

func (o *osFS) ReadDir(name string) ([]fs.DirEntry, error) {
	dir := o.open(name)
	if dir == nil {
		return fs.ReadDir(o.root.FS(), name)
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	for i, e := range entries {
		entries[i] = entry{e, o.root, path.Join(name, e.Name())}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, err
}

// An entry looks itself up in the os.Root, and not by a path that may lead elsewhere by
// now.
type entry struct {
	fs.DirEntry
	root *os.Root
	name string
}

func (e entry) Info() (fs.FileInfo, error) { return e.root.Lstat(e.name) }
