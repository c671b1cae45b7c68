package vhd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf16"

	"wanrep/diskio"
)

// A place is where a parent may be: a local name below a directory that may be
// looked into. It is opened such that no link leads out of the directory.
type place struct{ dir, name string }

// openParent finds and opens the parent of a differencing disk.
//
// What the disk says is no order to open a file: a path from an untrusted disk
// could name a share, and Windows would send that server the user's credentials.
// So only names below the child's directory and below dirs are tried, and of a
// path that leads anywhere else only its last element.
func (l *layer) openParent(dirs []string) (*layer, error) {
	paths, err := l.parentPaths()
	if err != nil {
		return nil, err
	}
	wanted := "without a name"
	if len(paths) > 0 {
		wanted = paths[0]
	}
	reason := fmt.Sprintf("not found in the directory of its child or another that is allowed; its ID is %s", l.header.parentID)
	allowed, err := absolute(append([]string{l.dir}, dirs...))
	if err != nil {
		return nil, err
	}
	for _, p := range places(allowed, paths) {
		parent, err := openPlace(p)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			reason = err.Error()
			continue
		case parent.footer.id != l.header.parentID || parent.footer.id.IsZero():
			reason = fmt.Sprintf("%s has the ID %s, not %s", parent.path, parent.footer.id, l.header.parentID)
			parent.close()
			continue
		}
		return parent, nil
	}
	return nil, &diskio.ParentError{Child: l.path, Wanted: wanted, Reason: reason}
}

func openPlace(p place) (*layer, error) {
	file, err := os.OpenInRoot(p.dir, p.name)
	if err != nil {
		return nil, err
	}
	full := filepath.Join(p.dir, p.name)
	l := &layer{path: full, dir: filepath.Dir(full), file: file}
	if err := l.load(stopAtFirst); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// parentPaths returns what the disk says about where its parent is: the relative
// path, the absolute one, and the plain name.
func (l *layer) parentPaths() ([]string, error) {
	var paths []string
	for _, code := range []string{"W2ru", "W2ku"} {
		for i, loc := range l.header.locators {
			if string(loc.code[:]) != code {
				continue
			}
			if loc.length > maxPathBytes || loc.length%2 != 0 {
				return nil, l.broken("parent locator", int64(l.footer.dataOffset)+locatorsAt+int64(i)*locatorBytes,
					"a path of %d bytes", loc.length)
			}
			b, err := l.bytesAt("parent locator", loc.offset, int(loc.length))
			if err != nil {
				return nil, err
			}
			paths = append(paths, text(b, binary.LittleEndian))
		}
	}
	paths = append(paths, text(l.header.parentName, binary.BigEndian))
	return nonEmpty(paths), nil
}

// text decodes UTF-16 up to the first NUL.
func text(b []byte, order binary.ByteOrder) string {
	u := make([]uint16, 0, len(b)/2)
	for i := 0; i+1 < len(b); i += 2 {
		c := order.Uint16(b[i:])
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}

func nonEmpty(list []string) []string {
	var out []string
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

func absolute(dirs []string) ([]string, error) {
	list := make([]string, len(dirs))
	for i, dir := range dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		list[i] = abs
	}
	return list, nil
}

// places lists where to look for a parent that its child names by paths, best
// first. The first of the allowed directories is the child's own. Nothing else
// is ever opened.
func places(allowed, paths []string) []place {
	var list []place
	add := func(dir, name string) {
		p := place{dir, name}
		if !isName(name) {
			return
		}
		for _, old := range list {
			if old == p {
				return
			}
		}
		list = append(list, p)
	}
	for _, p := range paths {
		slashed := strings.ReplaceAll(p, `\`, "/")
		full := filepath.FromSlash(slashed)
		if !strings.HasPrefix(slashed, "/") && !hasDrive(slashed) {
			full = filepath.Join(allowed[0], full)
		}
		if !strings.HasPrefix(slashed, "//") { // a share or a device
			for _, dir := range allowed {
				if name, err := filepath.Rel(dir, full); err == nil {
					add(dir, name)
				}
			}
		}
		for _, dir := range allowed {
			add(dir, path.Base(slashed))
		}
	}
	return list
}

// isName reports whether name stays below the directory that it is joined to. A
// colon would name a drive or, on NTFS, another stream of a file.
func isName(name string) bool {
	return filepath.IsLocal(name) && name != "." && !strings.Contains(name, ":")
}

func hasDrive(slashed string) bool {
	return len(slashed) >= 2 && slashed[1] == ':'
}
