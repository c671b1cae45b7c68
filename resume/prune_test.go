package resume_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
	"wanrep/resume/vhdxstore"
)

// A pruner prunes the points of a VM from the first up to, and without, the last, and
// holds the store to it that no other point changes, whatever happens meanwhile.
type pruner struct {
	format resume.Format
	want   []snapshots // the VM's points, the first is 1
	pruned int         // how many prunes were acknowledged
}

type snapshots []snapshot

func nthPoint(n int) resume.Point {
	return resume.Point{Source: source, VM: vmName, Point: fmt.Sprintf("%016x", n)}
}

func (p *pruner) clone() *pruner {
	c := *p
	return &c
}

func (p *pruner) config() resume.Config {
	return resume.Config{Format: p.format, Signer: signer}
}

// merges are points that are pruned into their successors: a disk that goes on and
// grows, one that is replaced, one that vanishes, and one that appears.
var merges = []snapshots{
	{newSnapshot("os", "ab.c", 1536), newSnapshot("Data", "x", block)},
	{newSnapshot("os", "a..cq", 512), replaced(newSnapshot("Data", ".", block))},
	{newSnapshot("os", "d.e.qf", 512), newSnapshot("log", "l.", block)},
}

// removals are points on which nothing builds.
var removals = []snapshots{
	{newSnapshot("os", "ab", block)},
	{replaced(newSnapshot("os", "cd.", block))},
}

// commitAll commits the points and returns the file system, in which all is durable.
func (p *pruner) commitAll() (*crashfs.FS, error) {
	fsys := crashfs.New()
	s, err := resume.Open(fsys, p.config())
	if err != nil {
		return nil, err
	}
	for _, disks := range p.want {
		if err := commitPoint(s, disks); err != nil {
			return nil, err
		}
	}
	return fsys.Crash(1), s.Close()
}

// commitPoint sends a point whole.
func commitPoint(s *resume.Store, disks snapshots) error {
	var specs []resume.DiskSpec
	for _, d := range disks {
		specs = append(specs, d.spec)
	}
	part, err := s.Begin(source, vmName, specs)
	if err != nil {
		return err
	}
	for i, d := range part.Disks() {
		base, err := baseOf(d)
		if err != nil {
			return err
		}
		for at := int64(0); at < d.Spec().Size; at += block {
			b := disks[i].content[at:min(at+block, d.Spec().Size)]
			if sameAs(base, at, b) {
				err = d.SkipTo(at + int64(len(b)))
			} else {
				err = d.Write(at, b)
			}
			if err != nil {
				return err
			}
		}
		if err := d.Finish(disks[i].root); err != nil {
			return err
		}
	}
	_, err = part.Commit()
	return err
}

// run prunes what is left to prune.
func (p *pruner) run(fsys durable.FS) error {
	s, err := resume.Open(fsys, p.config())
	if err != nil {
		return err
	}
	return errors.Join(p.prune(s), s.Close())
}

func (p *pruner) prune(s *resume.Store) error {
	for p.pruned < len(p.want)-1 {
		err := s.Prune(context.Background(), nthPoint(p.pruned+1))
		if err != nil && !errors.Is(err, resume.ErrNoPoint) {
			return err
		}
		p.pruned++
		if err := p.check(s); err != nil {
			return err
		}
	}
	return nil
}

// check reads every point of an open store. The first that was not acknowledged as
// pruned may be gone.
func (p *pruner) check(s *resume.Store) error {
	list, err := s.List()
	if err != nil {
		return err
	}
	first, err := p.listed(list)
	if err != nil {
		return err
	}
	for i, point := range list {
		if point.State == resume.StatePart {
			continue
		}
		if err := compare(s, point, p.want[first+i]); err != nil {
			if onDisk(err) {
				return err
			}
			return broken("point %s: %v", point.Point, err)
		}
		var found error
		report := func(v resume.VerifyProblem) {
			if found = errors.New(v.What); !onDisk(found) {
				found = broken("point %s disk %s %v: %s", v.Point, v.Disk, v.Extent, v.What)
			}
		}
		if err := resume.Verify(context.Background(), s, point, report); err != nil || found != nil {
			return errors.Join(err, found)
		}
	}
	var found error
	report := func(v resume.VerifyProblem) { found = broken("point %s: %s", v.Point, v.What) }
	err = resume.VerifyChain(s, source, vmName, resume.ChainOptions{Signed: true}, report)
	return errors.Join(err, found)
}

// listed returns how many points are gone, if that can be.
func (p *pruner) listed(list []resume.Point) (int, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(p resume.Point) bool { return p.State == resume.StatePart })
	first := len(p.want) - len(list)
	if first != p.pruned && first != p.pruned+1 || first == len(p.want) {
		return 0, broken("%d points are left of %d, %d prunes were acknowledged", len(list), len(p.want), p.pruned)
	}
	for i, point := range list {
		if point.State != resume.StateCommitted || point.Point != nthPoint(first+i+1).Point {
			return 0, broken("point %d is %s, %s", first+i+1, point.Point, point.State)
		}
	}
	return first, nil
}

// onDisk reports whether the file system is at fault, of whose error a format may keep
// no more than the text.
func onDisk(err error) bool {
	for _, fault := range []error{crashfs.ErrIO, crashfs.ErrFull, crashfs.ErrCrashed} {
		if strings.Contains(err.Error(), fault.Error()) {
			return true
		}
	}
	return false
}

// reopen opens the store, as after a crash, and checks it.
func (p *pruner) reopen(fsys durable.FS) error {
	s, err := resume.Open(fsys, p.config())
	if err != nil {
		return err
	}
	return errors.Join(p.check(s), s.Close())
}

// visible looks at the store beside whoever recovers it.
func (p *pruner) visible(fsys durable.FS) error {
	s, err := resume.OpenReadOnly(fsys, p.config())
	if err != nil {
		return err
	}
	list, err := s.List()
	if err != nil {
		return err
	}
	_, err = p.listed(list)
	return err
}

// toTheEnd prunes what is left, loses what is not synced, and looks for what is too
// much.
func (p *pruner) toTheEnd(wrap wrapper, fsys *crashfs.FS, seed uint64) error {
	if err := p.run(wrap(fsys)); err != nil {
		return fmt.Errorf("pruning on: %w", err)
	}
	last := fsys.Crash(seed)
	if err := p.reopen(wrap(last)); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return tidyPoints(last, p.want[len(p.want)-1:])
}

// tidyPoints checks that the VM has the last points and no other file.
func tidyPoints(fsys durable.FS, points []snapshots) error {
	dir := path.Join(source, vmDirName, "points")
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) != len(points) {
		return broken("%s holds %v", dir, entries)
	}
	for i, e := range entries {
		files, err := fsys.ReadDir(path.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		if len(files) != 1+2*len(points[i]) {
			return broken("%s holds %v", e.Name(), files)
		}
		for _, f := range files {
			info, err := f.Info()
			if err != nil {
				return err
			}
			if info.Mode()&0o222 != 0 {
				return broken("%s can be written to", f.Name())
			}
		}
	}
	return nil
}

// pruneCut cuts the power at operation k, or kills the process there, and again during
// the recovery.
func pruneCut(p *pruner, start *crashfs.FS, wrap wrapper, k int) error {
	fsys := start.Crash(1)
	fsys.Inject(crashfs.Fault{At: k, Kind: crashfs.Crash})
	p = p.clone()
	if err := p.run(wrap(fsys)); isViolation(err) {
		return err
	}
	for _, seed := range []uint64{0, mix(1, k)} {
		if err := afterPrune(p.clone(), fsys.Crash(seed), wrap, seed); err != nil {
			return fmt.Errorf("power cut at operation %d, seed %d: %w", k, seed, err)
		}
	}
	fsys.Kill()
	if err := p.clone().reopen(wrap(fsys)); err != nil {
		return fmt.Errorf("killed at operation %d: %w", k, err)
	}
	if err := p.clone().toTheEnd(wrap, fsys.Crash(uint64(k)), 0); err != nil {
		return fmt.Errorf("killed at operation %d, then the power cut: %w", k, err)
	}
	return nil
}

func afterPrune(p *pruner, left *crashfs.FS, wrap wrapper, seed uint64) error {
	if err := p.visible(left); err != nil {
		return err
	}
	again := left.Crash(1)
	changes := 0
	again.Trace(func(op crashfs.Op) {
		if op.Changes {
			changes = op.N
		}
	})
	if err := p.clone().reopen(wrap(again)); err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	const sample = 9 // of the operations of each recovery; the sweep has many
	for j := 1 + int(seed%sample); j <= changes; j += sample {
		during := left.Crash(1)
		during.Inject(crashfs.Fault{At: j, Kind: crashfs.Crash})
		if err := p.clone().reopen(wrap(during)); isViolation(err) {
			return fmt.Errorf("recovery cut at operation %d: %w", j, err)
		}
		if err := p.clone().reopen(wrap(during.Crash(seed))); err != nil {
			return fmt.Errorf("second recovery, the first was cut at operation %d: %w", j, err)
		}
	}
	return p.toTheEnd(wrap, left, seed)
}

// pruneFault goes on after one operation failed, and cuts the power at the end.
func pruneFault(p *pruner, start *crashfs.FS, wrap wrapper, fault crashfs.Fault) error {
	fsys := start.Crash(1)
	fsys.Inject(fault)
	p = p.clone()
	var s *resume.Store
	for attempt := range 4 {
		var err error
		if s == nil {
			s, err = resume.Open(wrap(fsys), p.config())
		}
		if err == nil {
			err = p.prune(s)
		}
		if err == nil {
			break
		}
		if isViolation(err) || attempt == 3 {
			return fmt.Errorf("%v at operation %d: %w", fault, fault.At, err)
		}
		if s != nil { // what could not be read counts as damaged until it is looked at again
			_, _ = s.Heal(context.Background(), source, vmName, 0)
		}
	}
	for seed := range uint64(2) {
		if err := p.clone().toTheEnd(wrap, fsys.Crash(mix(seed, fault.At)), seed); err != nil {
			return fmt.Errorf("%v at operation %d, seed %d: %w", fault, fault.At, seed, err)
		}
	}
	return errors.Join(s.Close())
}

// pruneOps prunes without faults and returns the operations.
func pruneOps(t *testing.T, p *pruner, start *crashfs.FS) (ops []crashfs.Op) {
	t.Helper()
	fsys := start.Crash(1)
	fsys.Trace(func(op crashfs.Op) { ops = append(ops, op) })
	p = p.clone()
	must(t, p.run(fsys))
	fsys.Trace(nil)
	must(t, p.visible(fsys))
	must(t, tidyPoints(fsys, p.want[len(p.want)-1:]))
	return ops
}

// pruneCases are what is pruned, with either format.
func pruneCases(t *testing.T, try func(t *testing.T, p *pruner, start *crashfs.FS, ops []crashfs.Op)) {
	for name, want := range map[string][]snapshots{"merges": merges, "removals": removals} {
		for _, format := range []resume.Format{plain{}, vhdxstore.Format{}} {
			t.Run(name+format.Extension(), func(t *testing.T) {
				p := &pruner{format: format, want: want}
				start, err := p.commitAll()
				must(t, err)
				try(t, p, start, pruneOps(t, p, start))
			})
		}
	}
}

func TestPruneWithCrashes(t *testing.T) {
	pruneCases(t, func(t *testing.T, p *pruner, start *crashfs.FS, ops []crashfs.Op) {
		sweep(t, changing(ops), func(k int) error { return pruneCut(p, start, honest, k) })
	})
}

func TestPruneWithErrors(t *testing.T) {
	pruneCases(t, func(t *testing.T, p *pruner, start *crashfs.FS, ops []crashfs.Op) {
		fail := func(kind crashfs.Kind) func(k int) error {
			return func(k int) error { return pruneFault(p, start, honest, crashfs.Fault{At: k, Kind: kind}) }
		}
		sweep(t, places(ops), fail(crashfs.Fail))
		sweep(t, changing(ops), fail(crashfs.Short))
		sweep(t, changing(ops), fail(crashfs.Late))
	})
}
