package resume

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
)

// mergedSuffix marks files of a pruned point that are to take the place of its child's.
const mergedSuffix = ".merged"

// prepare writes the digests of the merged disks beside the point's, and proves that
// they give the child's root, and that the child has the content of its own. Nothing of
// the point is changed before that is known.
func (s *Store) prepare(ctx context.Context, v *vmState, r pruneRecord) error {
	pairs, err := s.mergePairs(v, r)
	if err != nil {
		return err
	}
	chains := s.chains(v.dir)
	for _, p := range pairs {
		if err := s.withFiles(p.childFile(), p.parentFile(), os.O_RDONLY, s.cfg.Format.CanMerge); err != nil {
			return fmt.Errorf("merge disk %q: %w", diskio.Printable(p.child.Name), err)
		}
		if err := s.proveChild(ctx, r, p); err != nil {
			return err
		}
		l, err := chains.layer(r.Child, p.child.Name)
		if err != nil {
			return err
		}
		if err := s.mergeDigestsFile(ctx, l, p.mergedDigests()); err != nil {
			return fmt.Errorf("merge the digests of disk %q: %w", diskio.Printable(p.child.Name), err)
		}
	}
	if err := s.fsys.SyncDir(path.Join(v.dir, pointsName, r.Point)); err != nil {
		return err
	}
	r.State = pruneMerging
	return s.record(v, r)
}

// proveChild reads what of a disk is to be merged. What has rotted is noted, and nothing
// of it merged: once a merge has begun it has to come to its end, so that what can't be
// read would stop it for good, and the healing of the VM with it.
func (s *Store) proveChild(ctx context.Context, r pruneRecord, p mergePair) error {
	m, err := readManifest(s.fsys, p.childDir)
	if err != nil {
		return err
	}
	what := ""
	err = s.Scrub(ctx, m.point(), VerifyOptions{Own: true, Disk: p.child.Name}, func(v VerifyProblem) { what = cmp.Or(what, v.What) })
	if err == nil && what != "" {
		err = &PinnedError{r.Point, rottenChild(r.Child) + ": " + what}
	}
	return err
}

// mergeDigestsFile writes the digests of a disk and of the one below it as one file.
func (s *Store) mergeDigestsFile(ctx context.Context, child *layer, name string) error {
	if err := s.fsys.RemoveAll(name); err != nil {
		return err
	}
	f, err := s.fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, filePerm)
	if err != nil {
		return err
	}
	w := &digestsWriter{f: f}
	merged := *child
	merged.below = child.below.below
	err = w.create(merged.shape())
	if err == nil {
		err = s.writeMerged(ctx, w, child, merged.below.blocks())
	}
	if err == nil {
		err = w.sync()
	}
	if err == nil {
		err = s.proveRoot(f, name, &merged, w.count)
	}
	return errors.Join(err, f.Close())
}

// writeMerged writes the records of two layers. A block that became zeros needs one
// only where a layer below, which has that many blocks, may have something.
func (s *Store) writeMerged(ctx context.Context, w *digestsWriter, child *layer, baseBlocks int64) error {
	m := newDigestsMerge()
	defer m.Close()
	for _, l := range []*layer{child, child.below} {
		if err := m.openLayer(s.fsys, l, 0); err != nil {
			return &baseError{l.point, err}
		}
	}
	for ctx.Err() == nil {
		l, err := m.peek()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		index, sum := l.index, l.sum
		m.pass(index)
		if sum == m.zero && index >= baseBlocks {
			continue
		}
		if err := w.add(index, sum); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// proveRoot compares the root that a merged digests file gives with what was committed.
func (s *Store) proveRoot(f durable.File, name string, merged *layer, count int64) error {
	own, err := readDigests(f, name, merged.shape(), count)
	if err != nil {
		return err
	}
	m := newDigestsMerge()
	defer m.Close()
	m.put(mergedLayer{r: own})
	if err := m.open(s.fsys, merged.below, nil, 0); err != nil {
		return err
	}
	tree := digest.NewTree(0)
	if err := m.extend(tree, digest.Blocks(merged.disk.VirtualSize)); err != nil {
		return err
	}
	root, err := tree.Root(merged.disk.VirtualSize)
	if err == nil && root != merged.disk.Root {
		err = &damagedError{name, "it does not give the root in the manifest"}
	}
	return err
}
