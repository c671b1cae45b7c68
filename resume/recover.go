package resume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
)

// recover returns what the disk holds of a VM's part, nil without one, and
// finishes what was decided. It changes nothing that is not settled, so it may
// itself crash and run again.
func (s *Store) recover(vmDir string) (*partState, error) {
	parts := path.Join(vmDir, partsName)
	names, err := s.pointDirs(parts)
	if err != nil {
		return nil, err
	}
	var part *partState
	for _, name := range names {
		dir := path.Join(parts, name)
		m, err := readManifest(s.fsys, dir)
		switch {
		case err == nil:
			if err := s.publish(vmDir, m); err != nil {
				return nil, err
			}
			s.cfg.Log.Info("commit completed", "vm", m.VM, "point", m.Point)
			continue
		case !errors.Is(err, fs.ErrNotExist) && !isDamaged(err):
			return nil, err
		}
		state, err := s.recoverPart(dir)
		if err != nil {
			return nil, err
		}
		if state != nil {
			part = state
		}
	}
	return part, nil
}

// recoverPart returns what the journal of a part says, or nil if there is none. Its
// last record may still be on its way to the disk, so it is made durable before
// anybody hears of it. The journal's name was durable before its first record.
func (s *Store) recoverPart(dir string) (*partState, error) {
	name := path.Join(dir, journalName)
	state, err := readJournal(s.fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, s.fsys.RemoveAll(dir)
	case isDamaged(err):
		s.cfg.Log.Warn("part is lost, its journal is damaged", "err", err)
		return nil, nil
	case err != nil:
		return nil, err
	}
	return state, s.syncFile(name)
}

func (s *Store) syncFile(name string) error {
	f, err := s.fsys.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return fmt.Errorf("sync %s: %w", name, err)
	}
	return f.Close()
}

// ensureDir makes a directory and those above it, and makes their entries
// durable: also of those that are there, since who made them may have died
// before.
func (s *Store) ensureDir(dir string) error {
	if dir == "." {
		return nil
	}
	if err := s.ensureDir(path.Dir(dir)); err != nil {
		return err
	}
	if err := s.fsys.Mkdir(dir, dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.fsys.SyncDir(path.Dir(dir))
}

// publish makes a decided part a point. Every step may have been done already.
func (s *Store) publish(vmDir string, m Manifest) error {
	part := path.Join(vmDir, partsName, m.Point)
	// The manifest decides, so it has to be durable before the journal goes.
	if err := s.fsys.SyncDir(part); err != nil {
		return err
	}
	if err := s.removeOthers(part, append(m.fileNames(), manifestName)); err != nil {
		return err
	}
	if err := s.fsys.SyncDir(part); err != nil {
		return err
	}
	points := path.Join(vmDir, pointsName)
	if err := s.ensureDir(points); err != nil {
		return err
	}
	if err := s.fsys.Rename(part, path.Join(points, m.Point)); err != nil {
		return err
	}
	if err := s.fsys.SyncDir(points); err != nil {
		return err
	}
	return s.fsys.SyncDir(path.Join(vmDir, partsName))
}

// removeOthers removes what is in a directory and not in keep.
func (s *Store) removeOthers(dir string, keep []string) error {
	entries, err := s.fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if slices.Contains(keep, e.Name()) {
			continue
		}
		if err := s.fsys.RemoveAll(path.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
