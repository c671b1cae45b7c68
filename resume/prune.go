package resume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"wanrep/diskio"
	"wanrep/diskio/durable"
)

// A prune takes a point out of the chain: what its child does not hide becomes the
// child's. It is the point's own files that get the child's content, of which there is
// less, while the child lies over them and reads the same; when they hold all of it
// they take the place of the child's files. Only one point of a VM is pruned at a time,
// and the VM's prune record says how far that is. A crash at any moment leaves either
// the point or, once the merge was begun, a prune that goes on: opening the store
// finishes an exchange, and the next prune of the VM a merge.

// removingSuffix is what the directory of a pruned point is renamed to, before it is
// removed.
const removingSuffix = ".removing"

// A PinnedError says why a point can't be pruned now.
type PinnedError struct{ Point, Reason string }

func (e *PinnedError) Error() string {
	return fmt.Sprintf("point %s can't be pruned now: %s", e.Point, e.Reason)
}

// Prune removes a committed point. If another builds on it, that one is merged with it
// first, which reads and writes what the other holds and may be called off by ctx; the
// next call for the VM then goes on. A prune of the VM that was begun before is
// finished first. The error is ErrNoPoint if the point is gone, and a *PinnedError if
// it can't be pruned now, or if the last step has to wait, for a reader or a part.
func (s *Store) Prune(ctx context.Context, p Point) error {
	v, err := s.pruned(p.Source, p.VM)
	if err != nil {
		return err
	}
	defer v.pruning.Unlock()
	if err := s.finishPrune(ctx, v); err != nil {
		return err
	}
	r, err := s.beginPrune(ctx, v, p.Point)
	if err != nil {
		return err
	}
	if r.Child != "" {
		if err := s.prepare(ctx, v, r); err != nil {
			return errors.Join(err, s.abandonPrune(v, r))
		}
	}
	return s.finishPrune(ctx, v)
}

// FinishPrune goes on with a prune of the VM that was interrupted, if there is one.
func (s *Store) FinishPrune(ctx context.Context, source, vm string) error {
	v, err := s.pruned(source, vm)
	if err != nil {
		return err
	}
	defer v.pruning.Unlock()
	return s.finishPrune(ctx, v)
}

// pruned returns the state of a VM for the only one who prunes it.
func (s *Store) pruned(source, vm string) (*vmState, error) {
	if s.readOnly {
		return nil, ErrReadOnly
	}
	dir, err := vmDir(source, vm)
	if err != nil {
		return nil, err
	}
	v := s.state(dir)
	if !v.pruning.TryLock() {
		return nil, &PinnedError{s.pruneOf(v).Point, "another prune of the VM is under way"}
	}
	return v, nil
}

// beginPrune decides that a point goes, if nothing keeps it.
func (s *Store) beginPrune(ctx context.Context, v *vmState, point string) (pruneRecord, error) {
	release, err := s.settle(ctx, v)
	if err != nil {
		return pruneRecord{}, err
	}
	defer release()
	ties, err := s.ties(v)
	if err != nil {
		return pruneRecord{}, err
	}
	tie, ok := ties[point]
	if !ok {
		return pruneRecord{}, ErrNoPoint
	}
	if tie.pinned != "" {
		return pruneRecord{}, &PinnedError{point, tie.pinned}
	}
	r := pruneRecord{Point: point, Child: tie.child, State: pruneExchanging}
	if err := s.mayRewrite(v.dir, r); err != nil {
		return pruneRecord{}, err
	}
	if tie.child != "" {
		r.State = prunePreparing
		if err := s.checkMergeSpace(v, tie.child); err != nil {
			return pruneRecord{}, err
		}
	}
	return r, s.record(v, r)
}

// checkMergeSpace returns durable.ErrFull if a child's content does not fit a second
// time, which is the most that a merge takes.
func (s *Store) checkMergeSpace(v *vmState, child string) error {
	m, err := readManifest(s.fsys, path.Join(v.dir, pointsName, child))
	if err != nil {
		return err
	}
	need := int64(reserveBytes)
	for _, d := range m.Disks {
		if d.Base != nil {
			need += d.Stored
		}
	}
	free, err := s.fsys.Free()
	if err != nil {
		return err
	}
	if free < need {
		return fmt.Errorf("%w: %d MiB are free, and merging takes up to %d MiB with what is kept in reserve",
			durable.ErrFull, free>>20, need>>20)
	}
	return nil
}

// finishPrune takes a prune that was begun to its end.
func (s *Store) finishPrune(ctx context.Context, v *vmState) error {
	r := s.pruneOf(v)
	switch r.State {
	case "", pruneDone:
		return nil
	case prunePreparing:
		return s.abandonPrune(v, r)
	case pruneMerging:
		if err := s.mergePoint(ctx, v, r); err != nil {
			return fmt.Errorf("merge point %s into %s: %w", r.Child, r.Point, err)
		}
		r.State = pruneMerged
		if err := s.record(v, r); err != nil {
			return err
		}
	}
	release, err := s.settle(ctx, v)
	if err != nil {
		return err
	}
	defer release()
	if err := s.mayExchange(v, r); err != nil {
		return err
	}
	if r.State != pruneExchanging {
		r.State = pruneExchanging
		if err := s.record(v, r); err != nil {
			return err
		}
	}
	return s.exchange(v, r)
}

// mayExchange says who keeps files of the pruned point, or of those above it, open. A
// part that is being received has read of which files its base consists.
func (s *Store) mayExchange(v *vmState, r pruneRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.busy && r.Child != "" {
		return &PinnedError{r.Point, "a point of the VM is being received"}
	}
	for point := range v.readers {
		if point >= r.Point {
			return &PinnedError{r.Point, fmt.Sprintf("point %s is being read", point)}
		}
	}
	return nil
}

// mergePoint writes what the child's disks hold to the pruned point's files.
func (s *Store) mergePoint(ctx context.Context, v *vmState, r pruneRecord) error {
	pairs, err := s.mergePairs(v, r)
	if err != nil {
		return err
	}
	merge := func(upper, lower durable.File) error { return s.cfg.Format.MergeContent(ctx, upper, lower) }
	for _, p := range pairs {
		if err := s.withFiles(p.childFile(), p.parentFile(), os.O_RDWR, merge); err != nil {
			return err
		}
	}
	return nil
}

// A mergePair is a disk of the child that builds on that of the pruned point.
type mergePair struct {
	childDir, parentDir string
	child, parent       ManifestDisk
}

func (p mergePair) childFile() string    { return path.Join(p.childDir, p.child.File) }
func (p mergePair) parentFile() string   { return path.Join(p.parentDir, p.parent.File) }
func (p mergePair) childDigests() string { return path.Join(p.childDir, p.child.DigestsFile) }
func (p mergePair) mergedDigests() string {
	return path.Join(p.parentDir, p.parent.DigestsFile) + mergedSuffix
}

// withFiles opens the child's disk for reading and the pruned point's as flag says.
func (s *Store) withFiles(child, parent string, flag int, do func(upper, lower durable.File) error) error {
	upper, err := s.fsys.OpenFile(child, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer upper.Close()
	if flag != os.O_RDONLY {
		if err := s.fsys.Chmod(parent, filePerm); err != nil {
			return err
		}
	}
	lower, err := s.fsys.OpenFile(parent, flag, 0)
	if err != nil {
		return err
	}
	return errors.Join(do(upper, lower), lower.Close())
}

// mergePairs returns the disks that a prune merges.
func (s *Store) mergePairs(v *vmState, r pruneRecord) ([]mergePair, error) {
	points := path.Join(v.dir, pointsName)
	p := mergePair{childDir: path.Join(points, r.Child), parentDir: path.Join(points, r.Point)}
	child, err := readManifest(s.fsys, p.childDir)
	if err != nil {
		return nil, err
	}
	parent, err := readManifest(s.fsys, p.parentDir)
	if err != nil {
		return nil, err
	}
	var pairs []mergePair
	for _, d := range child.Disks {
		if d.Base == nil || *d.Base != r.Point {
			continue
		}
		below, ok := parent.disk(d.Name)
		if !ok {
			return nil, &damagedError{p.parentDir, fmt.Sprintf("it has no disk %q", diskio.Printable(d.Name))}
		}
		p.child, p.parent = d, below
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// abandonPrune leaves a point as it was, of which nothing was merged yet.
func (s *Store) abandonPrune(v *vmState, r pruneRecord) error {
	if s.pruneOf(v).State != prunePreparing {
		return nil
	}
	dir := path.Join(v.dir, pointsName, r.Point)
	entries, err := s.fsys.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) { // somebody removed the point by hand
		r.State = pruneDone
		return s.record(v, r)
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), mergedSuffix) {
			if err := s.fsys.Remove(path.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := s.fsys.SyncDir(dir); err != nil {
		return err
	}
	r.State = pruneDone
	return s.record(v, r)
}

// recoverPrune takes over where the last process left a prune: it finishes what takes a
// moment, gives up what was only prepared, and leaves a merge to the next prune.
func (s *Store) recoverPrune(v *vmState) error {
	r, err := readPrune(s.fsys, v.dir)
	if isDamaged(err) {
		s.cfg.Log.Error("the record of the last prune is damaged and is not believed", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	s.set(v, func(v *vmState) { v.prune = r })
	if r.State == "" || r.State == pruneDone {
		return nil
	}
	// The record may still be on its way to the disk.
	if err := s.fsys.SyncDir(v.dir); err != nil {
		return err
	}
	switch r.State {
	case prunePreparing:
		return s.abandonPrune(v, r)
	case pruneExchanging:
		if err := s.exchange(v, r); err != nil && s.pruneOf(v).State == pruneExchanging {
			return err
		}
	}
	return nil
}

// exists reports whether the store has a file or directory of that name.
func (s *Store) exists(name string) (bool, error) {
	_, err := s.fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
