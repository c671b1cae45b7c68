package vhdx

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"wanrep/diskio"
)

// Options say how a disk may be opened. The zero value works.
type Options struct {
	// ParentDirs are the directories, besides that of the file that is opened, in
	// which and below which parents may be. Only for Open.
	ParentDirs []string
	// AllowEmptyLog opens files whose header names a log that has no valid entry,
	// as if the log were empty. The specification calls such a file corrupt; QEMU
	// leaves it behind when it is killed at the wrong moment.
	AllowEmptyLog bool
	// AllowIncomplete opens files that carry the IncompleteFile mark.
	AllowIncomplete bool
}

// Open opens the disk that the file at path holds, with all its parents, for
// reading. It returns a [diskio.FormatError] for a file that breaks the format and
// a [diskio.ParentError] if a parent can't be had.
//
// A path from a file is untrusted: parents are opened only in and below the
// directory of path and o.ParentDirs, however the file names them.
func Open(path string, o Options) (diskio.Image, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dirs, err := newDirectories(abs, o.ParentDirs)
	if err != nil {
		return nil, err
	}
	f, err := openPath(abs)
	if err != nil {
		return nil, err
	}
	return openChain(abs, f, dirs, o)
}

// OpenFiles is Open for a disk whose files are all in and below one directory.
func OpenFiles(files Files, name string, o Options) (diskio.Image, error) {
	p := below{files}
	f, err := p.open(name)
	if err != nil {
		return nil, err
	}
	return openChain(name, f, p, o)
}

// DataWriteGUID returns what a child of the disk in f must name as its parent's
// (see [Parent]), after it has checked the file as Open does. name is for messages.
func DataWriteGUID(name string, f Source) (diskio.ID, error) {
	l, err := openLayer(name, f, Options{})
	if err != nil {
		return diskio.ID{}, err
	}
	return l.header.dataWriteGUID, nil
}

// openChain opens the file f and its parents. It closes f on an error.
func openChain(name string, f Source, p place, o Options) (*disk, error) {
	d := &disk{}
	l, err := openLayer(name, f, o)
	if err != nil {
		f.Close()
		return nil, err
	}
	for d.layers = append(d.layers, l); l.meta.hasParent; d.layers = append(d.layers, l) {
		if l, err = d.openParent(l, p, o); err != nil {
			d.Close()
			return nil, err
		}
	}
	for _, l := range d.layers {
		l.pages = newPages(l.src, pageSlots/len(d.layers))
	}
	return d, nil
}

// openParent opens the parent of the last layer of d, which is child.
func (d *disk) openParent(child *layer, p place, o Options) (*layer, error) {
	loc := child.meta.locator
	refuse := func(format string, args ...any) error {
		return &diskio.ParentError{Child: child.path, Wanted: loc.wanted(), Reason: fmt.Sprintf(format, args...)}
	}
	if loc.kind != locatorVHDX {
		return nil, refuse("the parent locator has the unknown type %s", loc.kind)
	}
	guids, err := loc.linkage()
	if err != nil {
		return nil, withPath(err, child.path)
	}
	if len(d.layers) >= maxChain {
		return nil, refuse("the chain has more than %d files", maxChain)
	}
	var reasons []string
	tried := map[string]bool{}
	for _, key := range []string{keyRelative, keyVolume, keyAbsolute} {
		for _, name := range p.tries(child.path, loc.values[key]) {
			if tried[name] {
				continue
			}
			tried[name] = true
			l, err := d.tryParent(child, name, guids, p, o)
			if err == nil {
				return l, nil
			}
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			reasons = append(reasons, err.Error())
		}
	}
	switch {
	case len(tried) == 0:
		return nil, refuse("its paths lead out of the directories in which parents may be")
	case len(reasons) == 0:
		return nil, refuse("not found")
	}
	return nil, refuse("not found where parents may be: %s", strings.Join(reasons, "; "))
}

// tryParent opens the file name as the parent of child.
func (d *disk) tryParent(child *layer, name string, guids []diskio.ID, p place, o Options) (*layer, error) {
	f, err := p.open(name)
	if err != nil {
		return nil, err
	}
	l, err := openLayer(name, f, o)
	if err != nil {
		f.Close()
		return nil, err
	}
	switch {
	case slices.ContainsFunc(d.layers, l.same):
		err = fmt.Errorf("%s is its own ancestor", name)
	case !slices.Contains(guids, l.header.dataWriteGUID) || l.header.dataWriteGUID.IsZero():
		err = fmt.Errorf("%s has the data write GUID %s, the child wants %s: another disk, or one that was written to after the child was made", name, l.header.dataWriteGUID, guids[0])
	case l.sector != child.sector:
		err = fmt.Errorf("%s has sectors of %d bytes, the child of %d", name, l.sector, child.sector)
	default:
		return l, nil
	}
	f.Close()
	return nil, err
}
