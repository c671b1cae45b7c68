package vhdx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// A Source is one open file of a chain. Both *os.File and durable.File are one.
type Source interface {
	io.ReaderAt
	io.Closer
	Stat() (fs.FileInfo, error)
}

// Files opens the files below one directory. Names are relative to it, with
// slashes, and satisfy fs.ValidPath; nothing may lead out of the directory.
type Files interface {
	// Open opens a file for reading. If there is none, the error is fs.ErrNotExist.
	Open(name string) (Source, error)
}

// A place opens the parents that a file names: it is where the file lies and
// where else its parents may be.
type place interface {
	// tries lists what the path in a parent locator may mean here, best first.
	// child is the file that has the locator.
	tries(child, locatorPath string) []string
	open(name string) (Source, error)
}

// locatorParts cuts a path from a parent locator into names and tells whether it
// is absolute. It returns nothing for a path that is never followed: a share or a
// device, since opening one can send credentials to whoever wrote the disk.
func locatorParts(p string) (parts []string, absolute bool) {
	s := strings.ReplaceAll(p, `\`, "/")
	switch {
	case strings.HasPrefix(s, "//?/"):
		s = s[len("//?/"):]
		if len(s) >= 4 && strings.EqualFold(s[:4], "unc/") {
			return nil, false
		}
		if first, rest, ok := strings.Cut(s, "/"); ok && strings.HasPrefix(strings.ToLower(first), "volume{") {
			s = rest
		} else if !hasDrive(s) {
			return nil, false
		}
		absolute = true
	case strings.HasPrefix(s, "//"):
		return nil, false
	case strings.HasPrefix(s, "/"):
		absolute = true
	}
	if hasDrive(s) {
		s, absolute = s[2:], true
	}
	for n := range strings.SplitSeq(s, "/") {
		switch {
		case n == "" || n == ".":
		case n == ".." && absolute, strings.ContainsAny(n, ":\x00"):
			return nil, false // a stream, a device, or an attempt to leave
		default:
			parts = append(parts, n)
		}
	}
	if len(parts) == 0 || parts[len(parts)-1] == ".." {
		return nil, false
	}
	return parts, absolute
}

func hasDrive(s string) bool {
	return len(s) >= 2 && s[1] == ':' && ('a' <= s[0]|0x20 && s[0]|0x20 <= 'z')
}

// maxSuffixes is how many trailing names of an absolute path are tried: the disks
// of a VM that moved keep their last directories.
const maxSuffixes = 8

// suffixes lists the ends of parts as relative paths, the base name first.
func suffixes(parts []string) []string {
	var s []string
	for i := len(parts) - 1; i >= 0 && len(s) < maxSuffixes; i-- {
		if parts[i] == ".." {
			break
		}
		s = append(s, strings.Join(parts[i:], "/"))
	}
	return s
}

// below is a place inside a Files: every name below its directory is allowed.
type below struct{ files Files }

func (b below) tries(child, p string) []string {
	parts, absolute := locatorParts(p)
	dir := path.Dir(child)
	var names []string
	if !absolute && len(parts) > 0 {
		names = append(names, path.Join(dir, path.Join(parts...)))
	}
	for _, s := range suffixes(parts) {
		names = append(names, path.Join(dir, s))
	}
	var valid []string
	for _, n := range names {
		if fs.ValidPath(n) && filepath.IsLocal(filepath.FromSlash(n)) {
			valid = append(valid, n)
		}
	}
	return valid
}

func (b below) open(name string) (Source, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	return b.files.Open(name)
}

// directories is a place on the machine's file system: the child's directory and
// those that the caller allows besides.
type directories []string

func newDirectories(childPath string, more []string) (directories, error) {
	var ds directories
	for _, d := range append([]string{filepath.Dir(childPath)}, more...) {
		abs, err := filepath.Abs(d)
		if err != nil {
			return nil, err
		}
		ds = append(ds, abs)
	}
	return ds, nil
}

func (ds directories) tries(child, p string) []string {
	parts, absolute := locatorParts(p)
	if len(parts) == 0 {
		return nil
	}
	dir := filepath.Dir(child)
	var names []string
	if absolute {
		if filepath.IsAbs(p) {
			names = append(names, filepath.Clean(p))
		}
	} else {
		names = append(names, filepath.Join(dir, filepath.Join(parts...)))
	}
	for _, s := range suffixes(parts) {
		names = append(names, filepath.Join(dir, filepath.FromSlash(s)))
		for _, d := range ds {
			names = append(names, filepath.Join(d, filepath.FromSlash(s)))
		}
	}
	var allowed []string
	for _, n := range names {
		if _, _, ok := ds.within(n); ok {
			allowed = append(allowed, n)
		}
	}
	return allowed
}

// within returns the allowed directory that holds name, and name relative to it.
func (ds directories) within(name string) (dir, rel string, ok bool) {
	for _, d := range ds {
		if rel, err := filepath.Rel(d, name); err == nil && filepath.IsLocal(rel) {
			return d, rel, true
		}
	}
	return "", "", false
}

// open opens a parent. No link in its path leads out of the allowed directory.
func (ds directories) open(name string) (Source, error) {
	dir, rel, ok := ds.within(name)
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(rel, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, err
	}
	return regular(f)
}

// openPath opens the file that the caller named.
func openPath(name string) (Source, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, err
	}
	return regular(f)
}

// regular refuses what is not a regular file: a pipe could block for ever.
func regular(f *os.File) (Source, error) {
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: f.Name(), Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readFull reads all of p at off and names the file in an error.
func readFull(r io.ReaderAt, name string, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s: read %d bytes at %d: %w", name, len(p), off, err)
}
