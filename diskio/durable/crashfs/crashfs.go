// Package crashfs is a file system in memory for tests that ask what is left
// after a crash. It gives no more than POSIX and Windows together promise:
//
//   - What was written to a file and not synced may be kept, lost or torn at a
//     crash, each sector of 512 bytes on its own.
//   - A directory's entry that was made, renamed or removed may be kept or lost
//     until the directory is synced. Each such change is atomic, and changes of
//     the same name keep their order.
//   - A failed sync drops what it should have made durable, and the next one
//     succeeds without it, as on Linux.
//   - A file or directory can't be renamed or removed while it, or anything
//     below it, is open, and a file without write permission can't be opened for
//     writing, whoever asks.
//
// [FS.Inject] makes one operation fail or cuts the power there, [FS.Crash] is
// what a power cut leaves and [FS.Kill] what a killed process leaves. Files are
// sparse: only pages that were written cost memory. It is not for
// programs. Start with [New].
package crashfs

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"wanrep/diskio/durable"
)

// An FS is one file system in memory.
type FS struct {
	mu      sync.Mutex
	root    *node
	changes []*change // of directories, not yet durable, in order
	locked  map[*node]bool
	epoch   int // counts kills; what was opened before one is dead
	space   int64

	ops   int
	fault Fault
	trace func(Op)
	dead  bool
}

// New returns an empty file system with room enough.
func New() *FS {
	return &FS{root: newDir(0o755), locked: map[*node]bool{}, space: math.MaxInt64}
}

// A node is a file or a directory.
type node struct {
	dir           bool
	mode, durMode fs.FileMode
	open          int
	entries       map[string]*node
	durEntries    map[string]*node
	data          content
}

func newDir(perm fs.FileMode) *node {
	return &node{
		dir: true, mode: perm, durMode: perm,
		entries: map[string]*node{}, durEntries: map[string]*node{},
	}
}

func newFile(perm fs.FileMode) *node {
	return &node{mode: perm, durMode: perm, data: newContent()}
}

// busy reports whether the node or anything below it is open.
func (n *node) busy() bool {
	if n.open > 0 {
		return true
	}
	for _, e := range n.entries {
		if e.busy() {
			return true
		}
	}
	return false
}

// SetSpace makes bytes the space that is left. Data that is freed does not add
// to it.
func (f *FS) SetSpace(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.space = bytes
}

// lookup returns the node of a name and, if its directory exists, that directory.
func (f *FS) lookup(op, name string) (dir, n *node, err error) {
	if !fs.ValidPath(name) {
		return nil, nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n = f.root
	if name == "." {
		return nil, n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if n == nil || !n.dir {
			return nil, nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		dir, n = n, n.entries[part]
	}
	return dir, n, nil
}

func (f *FS) existing(op, name string) (*node, *node, error) {
	dir, n, err := f.lookup(op, name)
	if err == nil && n == nil {
		err = &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return dir, n, err
}

// OpenFile opens a file.
func (f *FS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, err := f.openFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return h, nil
}

func (f *FS) openFile(name string, flag int, perm fs.FileMode) (*file, error) {
	write := flag&(os.O_WRONLY|os.O_RDWR) != 0
	dir, n, err := f.lookup("open", name)
	if err != nil {
		return nil, err
	}
	op := Op{Kind: "open", Name: name}
	switch {
	case n == nil && flag&os.O_CREATE == 0:
		err = fs.ErrNotExist
	case n == nil:
		op.Kind, op.Changes = "create", true
	case flag&os.O_EXCL != 0:
		err = fs.ErrExist
	case n.dir:
		err = errors.New("is a directory")
	case write && n.mode&0o200 == 0:
		err = fs.ErrPermission
	case flag&os.O_TRUNC != 0:
		op.Kind, op.Changes = "truncate", true
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	err = f.do(op, func() {
		if n == nil {
			n = newFile(perm)
			f.change(entry{dir, path.Base(name), n})
		}
		if flag&os.O_TRUNC != 0 {
			n.data.truncate(0)
		}
	})
	if err != nil {
		return nil, err
	}
	n.open++
	return &file{fs: f, node: n, name: name, writable: write, epoch: f.epoch}, nil
}

// Mkdir makes a directory.
func (f *FS) Mkdir(name string, perm fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, n, err := f.lookup("mkdir", name)
	if err != nil {
		return err
	}
	if n != nil {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	return f.do(Op{Kind: "mkdir", Name: name, Changes: true}, func() {
		f.change(entry{dir, path.Base(name), newDir(perm)})
	})
}

// Rename moves a file, over another if there is one, or a directory.
func (f *FS) Rename(from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fromDir, n, err := f.existing("rename", from)
	if err != nil {
		return err
	}
	toDir, over, err := f.lookup("rename", to)
	if err != nil {
		return err
	}
	switch {
	case fromDir == nil || toDir == nil:
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrInvalid}
	case over != nil && (over.dir || n.dir):
		return &fs.PathError{Op: "rename", Path: to, Err: fs.ErrExist}
	case n.busy() || over != nil && over.busy():
		return &fs.PathError{Op: "rename", Path: from, Err: errOpen}
	}
	return f.do(Op{Kind: "rename", Name: from, To: to, Changes: true}, func() {
		f.change(entry{fromDir, path.Base(from), nil}, entry{toDir, path.Base(to), n})
	})
}

var errOpen = errors.New("is open, or something below it is")

// Remove removes a file or an empty directory.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, n, err := f.existing("remove", name)
	if err != nil {
		return err
	}
	switch {
	case dir == nil:
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrInvalid}
	case n.busy():
		return &fs.PathError{Op: "remove", Path: name, Err: errOpen}
	case len(n.entries) > 0:
		return &fs.PathError{Op: "remove", Path: name, Err: errors.New("directory not empty")}
	}
	return f.do(Op{Kind: "remove", Name: name, Changes: true}, func() {
		f.change(entry{dir, path.Base(name), nil})
	})
}

// RemoveAll removes a name and all below it, one entry after the other.
func (f *FS) RemoveAll(name string) error {
	list, err := f.ReadDir(name)
	if err == nil {
		for _, e := range list {
			if err := f.RemoveAll(path.Join(name, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := f.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Chmod changes a mode. It is durable once the file is synced.
func (f *FS) Chmod(name string, mode fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, n, err := f.existing("chmod", name)
	if err != nil {
		return err
	}
	return f.do(Op{Kind: "chmod", Name: name, Changes: true}, func() { n.mode = mode })
}

// ReadDir returns the entries of a directory in the order of their names.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, n, err := f.existing("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	if err := f.do(Op{Kind: "readdir", Name: name}, func() {}); err != nil {
		return nil, err
	}
	var list []fs.DirEntry
	for base, e := range n.entries {
		list = append(list, fs.FileInfoToDirEntry(infoOf(base, e)))
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// Stat describes a file or directory.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, n, err := f.existing("stat", name)
	if err != nil {
		return nil, err
	}
	if err := f.do(Op{Kind: "stat", Name: name}, func() {}); err != nil {
		return nil, err
	}
	return infoOf(path.Base(name), n), nil
}

// SyncDir makes the entries of a directory durable.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, n, err := f.existing("syncdir", name)
	if err != nil {
		return err
	}
	return f.do(Op{Kind: "syncdir", Name: name, Changes: true}, func() { f.settle(n) })
}

// Lock takes the lock on a file until it is closed or the process is killed.
func (f *FS) Lock(name string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, err := f.openFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if f.locked[h.node] {
		h.node.open--
		return nil, &durable.LockedError{Name: name, Owner: "another store of this test"}
	}
	f.locked[h.node] = true
	h.lock = true
	return h, nil
}

// Free returns the space that is left.
func (f *FS) Free() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.space, f.do(Op{Kind: "free", Name: "."}, func() {})
}

// Close does nothing: the file system stays for the test to look at.
func (f *FS) Close() error { return nil }

type info struct {
	name string
	size int64
	mode fs.FileMode
}

func infoOf(name string, n *node) info {
	mode := n.mode
	if n.dir {
		mode |= fs.ModeDir
	}
	return info{name, n.data.size, mode}
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
