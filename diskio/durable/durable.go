// Package durable is the only way to a file that must survive a crash. It syncs
// and renames; no other package does.
//
// An [FS] is rooted at one directory and cannot leave it. [OS] gives the real
// one. Package crashfs has one for tests that can fail at any operation and drop
// what was not synced, which is how the promises of package resume are proved.
package durable

import (
	"errors"
	"io"
	"io/fs"
)

// An FS is a directory and all below it. Names are relative, with slashes, and
// satisfy fs.ValidPath; nothing follows a link out of the directory.
type FS interface {
	// OpenFile opens a file. The flags are those of package os.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	// Mkdir makes a directory whose parent exists.
	Mkdir(name string, perm fs.FileMode) error
	// Rename moves a file or a directory. It is durable once SyncDir was called
	// for both directories.
	Rename(from, to string) error
	Remove(name string) error
	RemoveAll(name string) error
	Chmod(name string, mode fs.FileMode) error
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the entries of a directory durable.
	SyncDir(name string) error
	// Lock takes the kernel's lock on a file, which it creates. It fails at once
	// with a [LockedError] if another process has it; the kernel frees it when
	// this process ends.
	Lock(name string) (io.Closer, error)
	// Free returns how many bytes can still be written.
	Free() (int64, error)
	Close() error
}

// A File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	// Sync makes the content durable. After an error nothing that was written
	// since the last Sync may be trusted, and calling it again proves nothing.
	Sync() error
	Stat() (fs.FileInfo, error)
}

// A LockedError says who has the lock.
type LockedError struct {
	Name  string
	Owner string // "wanrep, pid 4711 on host dr1, since 2026-11-24T10:00:00Z"
}

func (e *LockedError) Error() string { return e.Name + " is in use by " + e.Owner }

// ErrFull is what an operation's error is when the disk or the quota is full.
var ErrFull = errors.New("no space left")
