package resume

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"wanrep/diskio"
	"wanrep/diskio/digest"
)

// A disk of a point may build on the disk of the same name in an earlier one: its
// file has only what was written for this point, and so has its digests file. What
// they lack is the base's, which may build on another in turn.

const (
	// maxLayers is how many files a disk may consist of: Microsoft's open reader
	// of VHDX stops at 256.
	maxLayers = 256
	// maxBaseLayers is how many files a base may consist of to be built on. It
	// bounds the files and the memory that an open disk takes.
	maxBaseLayers = 128
)

// A layer is the disk of a committed point, on top of those that it builds on; or what
// a part received of a disk before it changed.
type layer struct {
	dir    string // of the point
	point  string // empty for that of a part
	disk   ManifestDisk
	crc    uint32  // of the digests; only of a part's
	below  *layer  // nil for a disk that stands alone
	damage *Damage // what is known of it, or nil
	depth  int     // how many layers it and those below are
}

// file returns the path of the disk's file in the store.
func (l *layer) file() string { return path.Join(l.dir, l.disk.File) }

// shape returns what the digests file's head has to say.
func (l *layer) shape() digestsShape {
	return digestsShape{size: l.disk.VirtualSize, id: diskio.ID(l.disk.ID), baseBlocks: l.below.blocks()}
}

// blocks returns how many blocks the disk has; none without a layer.
func (l *layer) blocks() int64 {
	if l == nil {
		return 0
	}
	return digest.Blocks(l.disk.VirtualSize)
}

// fits reports whether a disk can build on the layer.
func (l *layer) fits(s DiskSpec) bool {
	return diskio.ID(l.disk.ID) == s.ID && l.disk.VirtualSize <= s.Size &&
		l.disk.LogicalSectorSize == s.LogicalSectorSize && l.disk.PhysicalSectorSize == s.PhysicalSectorSize
}

// ruined says what is known to be wrong with the disk as a whole, or one below it, or
// with its digests; it is empty if nothing is.
func (l *layer) ruined() error {
	for ; l != nil; l = l.below {
		if d := l.damage; d != nil && d.File+d.Digests != "" {
			return &baseError{l.point, &damagedError{l.file(), cmp.Or(d.File, d.Digests)}}
		}
	}
	return nil
}

// A baseError is an error of a disk on which another builds.
type baseError struct {
	point string
	err   error
}

func (e *baseError) Error() string { return fmt.Sprintf("base point %s: %v", e.point, e.err) }
func (e *baseError) Unwrap() error { return e.err }

// isBaseDamaged reports whether the disk below is what is damaged.
func isBaseDamaged(err error) bool {
	var b *baseError
	return errors.As(err, &b) && isDamaged(b.err)
}

// chains looks up of what the disks of a VM's points consist. It reads what it
// needs once, so it is for one look only.
type chains struct {
	store  *Store
	dir    string // of the VM
	points map[string]*pointFiles
	// pruned is the VM's last prune, if err is nil.
	pruned pruneRecord
	err    error
	layers map[pointAndDisk]*layerOrError
	damage map[pointAndDisk]*Damage
}

// pointFiles are the manifest of a point and the names of what is beside it.
type pointFiles struct {
	manifest Manifest
	names    []string
	err      error
}

type pointAndDisk struct{ point, disk string }

type layerOrError struct {
	layer *layer
	err   error
}

func (s *Store) chains(vmDir string) *chains {
	c := &chains{store: s, dir: vmDir, points: map[string]*pointFiles{}, layers: map[pointAndDisk]*layerOrError{}, damage: map[pointAndDisk]*Damage{}}
	c.pruned, c.err = s.currentPrune(vmDir)
	damage, err := s.damageOf(vmDir)
	if c.err == nil {
		c.err = err
	}
	for i := range damage {
		c.damage[pointAndDisk{damage[i].Point, damage[i].Disk}] = &damage[i]
	}
	return c
}

// files returns the manifest of a point and what is beside it. The error is about
// damage if the manifest is missing.
func (c *chains) files(point string) *pointFiles {
	p := c.points[point]
	if p == nil {
		p = &pointFiles{err: c.err}
		if c.err == nil {
			p.manifest, p.names, p.err = c.read(path.Join(c.dir, pointsName, point))
		}
		c.points[point] = p
	}
	return p
}

func (c *chains) read(dir string) (Manifest, []string, error) {
	m, err := readManifest(c.store.fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = &damagedError{path.Join(dir, manifestName), "it is missing"}
	}
	if err != nil {
		return m, nil, err
	}
	entries, err := c.store.fsys.ReadDir(dir)
	if err != nil {
		return m, nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return m, names, nil
}

// layer returns the disk of that name in a point. The error is about damage if a
// file of it, or of what it builds on, is missing or is not what it has to be.
func (c *chains) layer(point, disk string) (*layer, error) {
	key := pointAndDisk{point, disk}
	known := c.layers[key]
	if known == nil {
		known = &layerOrError{}
		known.layer, known.err = c.find(point, disk)
		c.layers[key] = known
	}
	return known.layer, known.err
}

func (c *chains) find(point, disk string) (*layer, error) {
	p := c.files(point)
	if p.err != nil {
		return nil, p.err
	}
	dir := path.Join(c.dir, pointsName, point)
	d, ok := p.manifest.disk(disk)
	if !ok {
		return nil, &damagedError{dir, fmt.Sprintf("it has no disk %q", disk)}
	}
	for _, name := range []string{d.File, d.DigestsFile} {
		// Files that are being exchanged are in one place or the other.
		if !slices.Contains(p.names, name) && !c.pruned.exchanges(point) {
			return nil, &damagedError{path.Join(dir, name), "it is missing"}
		}
	}
	l := &layer{dir: dir, point: point, disk: d, depth: 1, damage: c.damage[pointAndDisk{point, disk}]}
	if d.Base == nil {
		return l, nil
	}
	below, err := c.layer(*d.Base, disk)
	if err != nil {
		return nil, &baseError{*d.Base, err}
	}
	if !below.fits(d.spec()) {
		return nil, &baseError{*d.Base, &damagedError{below.file(), "it is another disk"}}
	}
	if l.below, l.depth = below, below.depth+1; l.depth > maxLayers {
		return nil, &damagedError{l.file(), fmt.Sprintf("it builds on more than %d others", maxLayers-1)}
	}
	return l, nil
}

// check looks whether all files of a point are there, and all those on which it
// builds. The error is about damage if not, or if the point is being pruned.
func (c *chains) check(point string) error {
	if c.pruned.hides(point) {
		return &damagedError{path.Join(c.dir, pointsName, point), "it is being pruned"}
	}
	p := c.files(point)
	for _, d := range p.manifest.Disks {
		if _, err := c.layer(point, d.Name); err != nil {
			return err
		}
	}
	return p.err
}

// base returns the point on which a part is to build: that on which it builds
// already, or the newest one that is not damaged; "" if there is none.
func (c *chains) base(part *partState) (string, error) {
	names, err := c.store.pointDirs(path.Join(c.dir, pointsName))
	if err != nil {
		return "", err
	}
	if part.base != "" {
		names = append(names, part.base)
	}
	for _, name := range slices.Backward(names) {
		if name >= part.point {
			continue
		}
		err := c.check(name)
		if err == nil {
			return name, nil
		}
		if !isDamaged(err) {
			return "", err
		}
		c.store.cfg.Log.Warn("point can't be built on, it is damaged", "point", name, "err", err)
	}
	return "", nil
}

// under returns the layer of a point on which a disk can build, or nil.
func (c *chains) under(base string, s DiskSpec) *layer {
	if base == "" {
		return nil
	}
	l, err := c.layer(base, s.Name)
	if err != nil || !l.fits(s) || l.depth > maxBaseLayers {
		return nil
	}
	return l
}
