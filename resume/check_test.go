package resume_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

// check holds the store to every promise that can be seen from outside.
func (p *player) check(s *resume.Store) error {
	list, err := s.List()
	if err != nil {
		return err
	}
	committed := 0
	for _, point := range list {
		switch point.State {
		case resume.StateCommitted:
			committed++
			if err := p.checkPoint(s, point, committed); err != nil {
				return err
			}
		case resume.StateDamaged:
			return broken("point %s is damaged", point.Point)
		}
	}
	acked := 0
	for _, ph := range p.phases[:p.phase] {
		if ph.commit {
			acked++
		}
	}
	if committed < acked {
		return broken("%d points are here, %d commits were acknowledged", committed, acked)
	}
	if committed == acked { // else the part was committed, and we were not told
		return p.checkPosition(s)
	}
	return nil
}

// checkPosition compares the position with what the target told before.
func (p *player) checkPosition(s *resume.Store) error {
	pos, err := s.Position(source, vmName)
	if errors.Is(err, resume.ErrNoPart) {
		for id, told := range p.told {
			if told > 0 {
				return broken("the part is gone; %d bytes of %s were acknowledged", told, id)
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	if p.point != "" && pos.Point < p.point {
		return broken("the part is of point %s; %s was begun", pos.Point, p.point)
	}
	if pos.Point == p.point && pos.Generation < p.generation {
		return broken("the part has generation %d; %d was granted", pos.Generation, p.generation)
	}
	found := map[string]bool{}
	for _, d := range pos.Disks {
		id := d.Identity
		found[id] = true
		if d.Durable < p.told[id] {
			return broken("disk %s can go on at %d; %d was acknowledged", id, d.Durable, p.told[id])
		}
		// The source goes on there, so it counts as told.
		p.told[id] = max(p.told[id], d.Durable)
	}
	for id, told := range p.told {
		if !found[id] && told > 0 && p.mustHave(id) {
			return broken("disk %s is gone; %d was acknowledged", id, told)
		}
	}
	return nil
}

// mustHave reports whether every Begin since the last that succeeded named the
// disk: one that failed may have dropped others.
func (p *player) mustHave(id string) bool {
	if p.phase >= len(p.phases) {
		return true
	}
	for _, d := range p.phases[p.phase].disks {
		if d.spec.Identity == id {
			return true
		}
	}
	return false
}

// checkPoint compares the n-th committed point with what the source had.
func (p *player) checkPoint(s *resume.Store, point resume.Point, n int) error {
	var want []snapshot
	for _, ph := range p.phases {
		if ph.commit {
			if n--; n == 0 {
				want = ph.disks
			}
		}
	}
	if len(point.Disks) != len(want) {
		return broken("point %s has %d disks, want %d", point.Point, len(point.Disks), len(want))
	}
	for i, w := range want {
		if got := point.Disks[i]; got.Disk != w.spec.Name || got.Root != w.root.String() {
			return broken("point %s has disk %s with root %s", point.Point, got.Disk, got.Root)
		}
		c, err := s.OpenDisk(point, w.spec.Name)
		if err != nil {
			// A format may keep no more of a disk's error than its text.
			for _, fault := range []error{crashfs.ErrIO, crashfs.ErrFull, crashfs.ErrCrashed} {
				if strings.Contains(err.Error(), fault.Error()) {
					return err
				}
			}
			return broken("disk %s of point %s: %v", w.spec.Name, point.Point, err)
		}
		got := make([]byte, c.Size())
		_, err = c.ReadAt(got, 0)
		c.Close()
		if err != nil && err != io.EOF {
			return err
		}
		if !bytes.Equal(got, w.content) {
			return broken("disk %s of point %s differs from the source's", w.spec.Name, point.Point)
		}
	}
	return nil
}

// visible checks what is to be seen before any recovery: acknowledged points, and what was
// acknowledged of the part.
func (p *player) visible(fsys durable.FS) error {
	if err := p.partVisible(fsys); err != nil {
		return err
	}
	acked := 0
	for _, ph := range p.phases[:p.phase] {
		if ph.commit {
			acked++
		}
	}
	if acked == 0 {
		return nil
	}
	s, err := resume.OpenReadOnly(fsys, p.config())
	if err != nil {
		return broken("%d commits were acknowledged: %v", acked, err)
	}
	list, err := s.List()
	if err != nil {
		return err
	}
	for _, point := range list {
		if point.State == resume.StateCommitted {
			acked--
		}
	}
	if acked > 0 {
		return broken("%d acknowledged points are not visible", acked)
	}
	return nil
}

// partVisible looks for what was acknowledged of the part, which may be a point by now.
func (p *player) partVisible(fsys durable.FS) error {
	owed := map[string]int64{}
	for _, ph := range p.phases[:min(p.phase+1, len(p.phases))] {
		for _, d := range ph.disks {
			if told := p.told[d.spec.Identity]; told > 0 && p.mustHave(d.spec.Identity) {
				owed[d.spec.Name] = told
			}
		}
	}
	if len(owed) == 0 {
		return nil
	}
	s, err := resume.OpenReadOnly(fsys, p.config())
	if err != nil {
		return broken("%v were acknowledged: %v", owed, err)
	}
	list, err := s.List()
	if err != nil {
		return err
	}
	for _, point := range list {
		if point.Point != p.point {
			continue
		}
		for _, d := range point.Disks {
			if d.Durable >= owed[d.Disk] {
				delete(owed, d.Disk)
			}
		}
	}
	if len(owed) > 0 {
		return broken("of point %s %v were acknowledged and are not listed", p.point, owed)
	}
	return nil
}

// tidy checks that points hold their files and nothing else.
func (p *player) tidy(fsys durable.FS) error {
	s, err := resume.OpenReadOnly(fsys, p.config())
	if err != nil {
		return err
	}
	list, err := s.List()
	if err != nil {
		return err
	}
	for _, point := range list {
		if point.State != resume.StateCommitted {
			continue
		}
		m, err := s.Manifest(point)
		if err != nil {
			return err
		}
		dir := path.Join(source, vmDirName, "points", m.Point)
		entries, err := fsys.ReadDir(dir)
		if err != nil {
			return err
		}
		if len(entries) != 1+2*len(m.Disks) {
			return broken("%s holds %v", dir, entries)
		}
	}
	return nil
}

// verify runs Verify over all points, and VerifyChain over what ties them together.
func (p *player) verify(fsys durable.FS) error {
	if err := verifyPoints(fsys, p.format); err != nil {
		return err
	}
	s, err := resume.OpenReadOnly(fsys, p.config())
	if err != nil {
		return err
	}
	var found error
	report := func(v resume.VerifyProblem) { found = broken("point %s: %s", v.Point, v.What) }
	options := resume.ChainOptions{Trusted: resume.OneKey(), Signed: true}
	err = resume.VerifyChain(s, source, vmName, options, report)
	return errors.Join(err, found)
}

// verifyPoints runs Verify over all points.
func verifyPoints(fsys durable.FS, format resume.Format) error {
	s, err := resume.OpenReadOnly(fsys, resume.Config{Format: format})
	if err != nil {
		return err
	}
	list, err := s.List()
	if err != nil {
		return err
	}
	var found error
	report := func(v resume.VerifyProblem) {
		found = broken("point %s disk %s %v: %s", v.Point, v.Disk, v.Extent, v.What)
	}
	for _, point := range list {
		if err := resume.Verify(context.Background(), s, point, report); err != nil {
			return err
		}
	}
	return found
}
