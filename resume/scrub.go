package resume

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
)

// Scrub is VerifySome that remembers, durably, what it finds damaged, and forgets what
// it finds to be good again. Damage is remembered of the point whose file has it, which
// may be one on which p builds.
func (s *Store) Scrub(ctx context.Context, p Point, o VerifyOptions, report func(VerifyProblem)) error {
	if s.readOnly {
		return ErrReadOnly
	}
	dir, err := vmDir(p.Source, p.VM)
	if err != nil {
		return err
	}
	v := s.state(dir)
	known, err := s.damageOf(dir)
	if err != nil {
		return err
	}
	f := &findings{known: known, disks: map[pointAndDisk]*finding{}}
	err = verifySome(ctx, s, p, o, report, f)
	// What was found before it ended early counts.
	return errors.Join(err, s.changeDamage(v, func(all []Damage) []Damage { return f.apply(all, s) }))
}

// findings are what a verification comes to, by the point that has the files. The nil
// findings note nothing.
type findings struct {
	known []Damage
	disks map[pointAndDisk]*finding
}

// A finding is about the files of one disk of a point.
type finding struct {
	size      int64 // of the disk
	bad, good []int64
	// file and digests say what is wrong with those; seen that they were looked at.
	file, digests         string
	fileSeen, digestsSeen bool
}

func (f *findings) of(point, disk string, size int64) *finding {
	key := pointAndDisk{point, disk}
	if f.disks[key] == nil {
		f.disks[key] = &finding{}
	}
	f.disks[key].size = max(f.disks[key].size, size)
	return f.disks[key]
}

// block notes whether a block is what it was. Of the good ones only those count that
// were damaged.
func (f *findings) block(point string, d ManifestDisk, block int64, good bool) {
	if f == nil {
		return
	}
	if !good {
		if at := f.of(point, d.Name, d.VirtualSize); len(at.bad) <= maxDamagedBlocks {
			at.bad = append(at.bad, block)
		}
		return
	}
	if i := indexOfDamage(f.known, pointAndDisk{point, d.Name}); i >= 0 && f.known[i].has(block) {
		at := f.of(point, d.Name, d.VirtualSize)
		at.good = append(at.good, block)
	}
}

// file notes what is wrong with a disk as a whole, or that nothing is.
func (f *findings) file(point string, d ManifestDisk, what string) {
	if f != nil {
		at := f.of(point, d.Name, d.VirtualSize)
		at.file, at.fileSeen = what, true
	}
}

// digests notes what is wrong with a digests file, or that nothing is.
func (f *findings) digests(point string, d ManifestDisk, what string) {
	if f != nil {
		at := f.of(point, d.Name, d.VirtualSize)
		at.digests, at.digestsSeen = what, true
	}
}

// apply changes what is known of a VM's damage by what was found. What was known when
// the scrub began and is not known any more was healed meanwhile, maybe after it was read.
func (f *findings) apply(all []Damage, s *Store) []Damage {
	for key, found := range f.disks {
		at := indexOfDamage(all, key)
		if at < 0 {
			all = append(all, Damage{Point: key.point, Disk: key.disk, Found: s.cfg.Now().UTC()})
			at = len(all) - 1
		}
		if was := indexOfDamage(f.known, key); was >= 0 {
			found.bad = slices.DeleteFunc(found.bad, func(b int64) bool { return f.known[was].has(b) && !all[at].has(b) })
			found.digestsSeen = found.digestsSeen && (f.known[was].Digests == "" || all[at].Digests != "")
		}
		all[at].take(found)
	}
	return all
}

func (d *Damage) take(found *finding) {
	good := map[int64]bool{}
	for _, b := range found.good {
		good[b] = true
	}
	var left []int64
	for _, b := range append(d.blocks(), found.bad...) {
		if !good[b] {
			left = append(left, b)
		}
	}
	if found.fileSeen {
		d.File = found.file
	}
	if found.digestsSeen {
		d.Digests = found.digests
	}
	were := d.Blocks()
	if len(found.bad) > 0 || len(found.good) > 0 {
		d.put(left, found.size)
	}
	if d.Blocks() > were {
		d.Stays = ""
	}
}

// holder returns the point among those of which a disk consists whose file can't be
// opened: that of l unless one below it can't either.
func (s *Store) holder(l *layer) *layer {
	holder := l
	for below := l.below; below != nil; below = below.below {
		content, err := s.cfg.Format.Open(s.fsys, below.file())
		if err == nil {
			content.Close()
			break
		}
		holder = below
	}
	return holder
}

// noteUnopened remembers that a disk can't be opened, if that is the file's fault and
// not the moment's.
func (v *verifier) noteUnopened(err error) {
	if v.found == nil || !isDamaged(err) && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	l, missing := v.chains.layer(v.problem.Point, v.disk.Name)
	if missing != nil {
		return // the point itself is shown as damaged
	}
	holder := v.store.holder(l)
	v.found.file(holder.point, holder.disk, err.Error())
}

// noteDigests remembers what is wrong with the digests of the disk.
func (v *verifier) noteDigests(err error) {
	if v.found == nil {
		return
	}
	var below *baseError
	point := v.problem.Point
	if errors.As(err, &below) {
		point = below.point
	}
	l, missing := v.chains.layer(point, v.disk.Name)
	switch {
	case missing != nil:
	case err == nil:
		v.found.digests(point, l.disk, "")
	case isDamaged(err) || errors.Is(err, errRoot):
		v.found.digests(point, l.disk, cmp.Or(errors.Unwrap(err), err).Error())
	}
}

// errRoot is a digests file of which every record may be one.
var errRoot = errors.New("it does not give the root in the manifest")
