package resume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// asideSuffix marks the child's files that were replaced.
const asideSuffix = ".aside"

// exchange puts the pruned point's files in the place of its child's, writes the
// manifests that change with that, and removes the point. Every step may have been done
// already. The caller has the VM's points for itself.
func (s *Store) exchange(v *vmState, r pruneRecord) error {
	points := path.Join(v.dir, pointsName)
	dir := path.Join(points, r.Point)
	there, err := s.exists(dir)
	if err != nil {
		return err
	}
	if there {
		if err := s.exchangeFiles(v, r); err != nil {
			return fmt.Errorf("put point %s in the place of %s: %w", r.Point, r.Child, err)
		}
		if err := s.moveDamage(v, r.Point, r.Child); err != nil {
			return err
		}
		if err := s.relink(v.dir, r); err != nil {
			return err
		}
		if err := s.fsys.Rename(dir, dir+removingSuffix); err != nil {
			return err
		}
	}
	if err := s.fsys.SyncDir(points); err != nil {
		return err
	}
	if err := s.fsys.RemoveAll(dir + removingSuffix); err != nil {
		return err
	}
	if err := s.fsys.SyncDir(points); err != nil {
		return err
	}
	r.State = pruneDone
	if err := s.record(v, r); err != nil {
		return err
	}
	s.cfg.Log.Info("point pruned", "vm", path.Base(v.dir), "point", r.Point, "into", r.Child)
	return nil
}

// exchangeFiles gives the child the merged files and a manifest that says so.
func (s *Store) exchangeFiles(v *vmState, r pruneRecord) error {
	if r.Child == "" {
		return nil
	}
	pairs, err := s.mergePairs(v, r)
	if err != nil {
		return err
	}
	if err := s.setAside(pairs); err != nil {
		return s.putBack(v, r, pairs, err)
	}
	merged := map[string]mergePair{}
	for _, p := range pairs {
		if err := s.exchangeDisk(p); err != nil {
			return err
		}
		merged[p.child.Name] = p
	}
	// The renames are durable before the manifest counts on them. They, and the
	// manifest, may be those of a process that died before it could sync them.
	child := path.Join(v.dir, pointsName, r.Child)
	for _, dir := range []string{child, path.Join(v.dir, pointsName, r.Point)} {
		if err := s.fsys.SyncDir(dir); err != nil {
			return err
		}
	}
	if err := s.exchangeManifest(v, r, merged); err != nil {
		return err
	}
	m, err := readManifest(s.fsys, child)
	if err != nil {
		return err
	}
	if err := s.removeOthers(child, append(m.fileNames(), manifestName)); err != nil {
		return err
	}
	return s.fsys.SyncDir(child)
}

// exchangeManifest writes the child's manifest, which says on what it builds now.
func (s *Store) exchangeManifest(v *vmState, r pruneRecord, merged map[string]mergePair) error {
	child := path.Join(v.dir, pointsName, r.Child)
	if len(merged) == 0 {
		return nil // it is written
	}
	m, err := readManifest(s.fsys, child)
	if err != nil {
		return err
	}
	m.Base = nil
	for i := range m.Disks {
		d := &m.Disks[i]
		p, ok := merged[d.Name]
		if !ok {
			continue
		}
		d.Base = p.parent.Base
		if d.Base != nil {
			m.Base = d.Base
		}
		if err := s.measure(p, d); err != nil {
			return err
		}
	}
	if m.Schema == manifestSchema1 { // it gets what it did not have
		if m.Previous, err = s.previous(v.dir, r.Child); err != nil {
			return err
		}
	}
	return s.writeManifest(child, &m)
}

// files returns the names of a disk's two files: where the child's is, where it is set
// aside, and where the one is that takes its place.
func (p mergePair) files() [2]exchangedFile {
	return [2]exchangedFile{
		{child: p.childFile(), aside: p.childFile() + asideSuffix, parent: p.parentFile(), merged: p.parentFile() + mergedSuffix},
		{child: p.childDigests(), aside: p.childDigests() + asideSuffix, merged: p.mergedDigests()},
	}
}

type exchangedFile struct {
	child, aside, merged string
	parent               string // of the content: what merged is called until it is set aside too
}

// setAside renames the child's files and those that take their place. A system may
// refuse that while a program has one open, and then nothing has changed yet.
func (s *Store) setAside(pairs []mergePair) error {
	for _, p := range pairs {
		for _, f := range p.files() {
			if f.parent != "" {
				if err := s.renameIfThere(f.parent, f.merged); err != nil {
					return err
				}
			}
			waits, err := s.exists(f.merged)
			if err != nil {
				return err
			}
			if !waits {
				continue // it has taken its place
			}
			if err := s.renameIfThere(f.child, f.aside); err != nil {
				return err
			}
		}
	}
	return nil
}

// putBack undoes setAside, and returns why that has to be.
func (s *Store) putBack(v *vmState, r pruneRecord, pairs []mergePair, why error) error {
	for _, p := range pairs {
		for _, f := range p.files() {
			waits, err := s.exists(f.merged)
			if err == nil && !waits && f.parent != "" {
				waits, err = s.exists(f.parent)
			}
			if err != nil || !waits { // it has taken its place: there is no way back
				return errors.Join(why, err)
			}
		}
	}
	for _, p := range pairs {
		for _, f := range p.files() {
			if err := s.renameIfThere(f.aside, f.child); err != nil {
				return errors.Join(why, err)
			}
			if f.parent == "" {
				continue
			}
			if err := s.renameIfThere(f.merged, f.parent); err != nil {
				return errors.Join(why, err)
			}
		}
		for _, dir := range []string{p.childDir, p.parentDir} {
			if err := s.fsys.SyncDir(dir); err != nil {
				return errors.Join(why, err)
			}
		}
	}
	r.State = pruneMerged
	return errors.Join(why, s.record(v, r))
}

// renameIfThere renames a file that may have been renamed before.
func (s *Store) renameIfThere(from, to string) error {
	there, err := s.exists(from)
	if err != nil || !there {
		return err
	}
	return s.fsys.Rename(from, to)
}

// exchangeDisk puts the merged files of a disk in the place of the child's.
func (s *Store) exchangeDisk(p mergePair) error {
	for _, f := range p.files() {
		waits, err := s.exists(f.merged)
		if err != nil {
			return err
		}
		if !waits {
			continue
		}
		if f.parent != "" {
			if err := s.withFiles(f.aside, f.merged, os.O_RDWR, s.cfg.Format.MergeIdentity); err != nil {
				return err
			}
		}
		if err := s.setReadOnly(f.merged); err != nil {
			return err
		}
		if err := s.fsys.Rename(f.merged, f.child); err != nil {
			return err
		}
	}
	return nil
}

// setReadOnly makes a file read-only, and that durable.
func (s *Store) setReadOnly(name string) error {
	if err := s.fsys.Chmod(name, filePerm); err != nil {
		return err
	}
	f, err := s.fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = s.fsys.Chmod(name, readOnlyPerm)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// measure fills in what the manifest says of a disk's merged files.
func (s *Store) measure(p mergePair, d *ManifestDisk) error {
	info, err := s.fsys.Stat(p.childFile())
	if err != nil {
		return err
	}
	d.Stored = info.Size()
	if info, err = s.fsys.Stat(p.childDigests()); err != nil {
		return err
	}
	d.Digests = (info.Size() - digestsHead) / digestsRecord
	return nil
}

// relink ties the points that came after the pruned one to the one before it.
func (s *Store) relink(vmDir string, r pruneRecord) error {
	pruned, err := s.readPoint(vmDir, r.Point)
	if err != nil || pruned == nil {
		return err
	}
	if pruned.Schema == manifestSchema1 {
		if pruned.Previous, err = s.previous(vmDir, r.Point); err != nil {
			return err
		}
	}
	after, err := s.linked(vmDir, r.Point)
	if err != nil {
		return err
	}
	for _, m := range after {
		dir := path.Join(vmDir, pointsName, m.Point)
		if m.Previous == nil || m.Previous.Point != r.Point {
			// Perhaps it was written just now, and not synced.
			err = s.fsys.SyncDir(dir)
		} else {
			m.Previous = pruned.Previous
			err = s.writeManifest(dir, &m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// linked returns the manifests of the points that name one as the point before them, or
// an earlier one.
func (s *Store) linked(vmDir, point string) (after []Manifest, err error) {
	names, err := s.pointDirs(path.Join(vmDir, pointsName))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if name <= point {
			continue
		}
		m, err := s.readPoint(vmDir, name)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		if m.Previous != nil && m.Previous.Point > point {
			break // and so do all that follow
		}
		after = append(after, *m)
	}
	return after, nil
}

// readPoint returns the manifest of a point, or nil if that is damaged.
func (s *Store) readPoint(vmDir, point string) (*Manifest, error) {
	m, err := readManifest(s.fsys, path.Join(vmDir, pointsName, point))
	if isDamaged(err) || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// mayRewrite says what keeps the manifests from being written that change with a prune.
func (s *Store) mayRewrite(vmDir string, r pruneRecord) error {
	change, err := s.linked(vmDir, r.Point)
	if err != nil {
		return err
	}
	if r.Child != "" {
		child, err := readManifest(s.fsys, path.Join(vmDir, pointsName, r.Child))
		if err != nil {
			return err
		}
		change = append(change, child)
	}
	for _, m := range change {
		if _, err := s.mayReplace(path.Join(vmDir, pointsName, m.Point), m); err != nil {
			return err
		}
	}
	return nil
}
