package resume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"sync/atomic"

	"wanrep/diskio"
	"wanrep/diskio/durable"
)

// A Part is a point being received. While it is open no other Part of its VM can
// be.
type Part struct {
	store   *Store
	vm      *vmState
	dir     string
	journal *journal
	state   *partState // as it was begun; the journal has the present one
	disks   []*PartDisk
	written atomic.Int64

	mu     sync.Mutex // for Commit and Close
	closed bool
	// deciding is set once Commit may have written the manifest, committed once
	// the point is visible.
	deciding, committed bool
}

// Begin begins a new part, or continues the one there is with a generation that is
// one higher. When it returns, the generation is durable.
//
// What becomes of a disk is decided in this order:
//
//   - A disk of which the part has nothing starts at 0. It builds on that of the same
//     name, ID and sector sizes in the VM's newest point that is not damaged, unless
//     that is larger; else it stands alone, and goes on standing alone.
//   - If its ID or its sector sizes differ from what the part has, if it became smaller,
//     or if its base is gone, it starts again.
//   - If nothing differs it continues where it was.
//   - If it changed, or grew, it starts at 0 over what was received of it: it builds on
//     that, and only what differs has to be written (see PartDisk.BaseDigests).
//   - If what was received turns out to be damaged it starts again.
//
// Disks that are not named any more are dropped. Why a disk starts again is logged.
// Begin fails with ErrBusy while another Part of the VM is open.
func (s *Store) Begin(source, vm string, disks []DiskSpec) (*Part, error) {
	if s.readOnly {
		return nil, ErrReadOnly
	}
	dir, err := vmDir(source, vm)
	if err != nil {
		return nil, err
	}
	if err := checkSpecs(disks); err != nil {
		return nil, err
	}
	release, err := s.look(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	v, err := s.claim(dir)
	if err != nil {
		return nil, err
	}
	p := &Part{store: s, vm: v}
	if err := p.begin(source, vm, disks); err != nil {
		return nil, fmt.Errorf("begin part of %q: %w", diskio.Printable(vm), errors.Join(err, p.Close()))
	}
	s.cfg.Log.Info("part begun", "vm", vm, "point", p.state.point, "generation", p.state.generation)
	return p, nil
}

// claim makes the caller the only one that may change a VM's part.
func (s *Store) claim(dir string) (*vmState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.stateLocked(dir)
	if v.busy {
		return nil, ErrBusy
	}
	v.busy = true
	return v, nil
}

func (p *Part) begin(source, vm string, disks []DiskSpec) error {
	s := p.store
	if p.vm.unsure != nil {
		part, err := s.recover(p.vm.dir)
		if err != nil {
			return err
		}
		s.set(p.vm, func(v *vmState) { v.part, v.unsure = part, nil })
	}
	if err := s.checkSpace(); err != nil {
		return err
	}
	old := p.vm.part
	if old == nil {
		var err error
		if old, err = s.newPart(p.vm.dir, source, vm); err != nil {
			return err
		}
	}
	p.dir = path.Join(p.vm.dir, partsName, old.point)
	if err := s.ensureDir(p.dir); err != nil {
		return err
	}
	p.state = old.clone()
	p.state.generation++
	if err := p.continueDisks(old, disks); err != nil {
		return err
	}
	if err := p.startJournal(); err != nil {
		return err
	}
	// From here on the journal says that the disks which start again have
	// nothing, so that their files may be emptied.
	if err := p.createDisks(); err != nil {
		return err
	}
	if err := s.removeOthers(p.dir, append(p.fileNames(), journalName)); err != nil {
		return err
	}
	return s.fsys.SyncDir(p.dir)
}

// newPart returns the state of a part that has nothing yet, under the next number
// of the VM, and clears away parts that are of no use any more.
func (s *Store) newPart(vmDir, source, vm string) (*partState, error) {
	var last uint64
	for _, dir := range []string{pointsName, partsName} {
		names, err := s.pointDirs(path.Join(vmDir, dir))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			n, _ := pointNumber(name)
			last = max(last, n)
			if dir == partsName {
				if err := s.fsys.RemoveAll(path.Join(vmDir, dir, name)); err != nil {
					return nil, err
				}
			}
		}
	}
	return &partState{source: source, vm: vm, point: pointName(last + 1), begun: s.cfg.Now().UTC()}, nil
}

// continueDisks opens the disks that go on where they are, and gives the others the
// state in which they start.
func (p *Part) continueDisks(old *partState, disks []DiskSpec) error {
	p.state.disks = nil
	chains := p.store.chains(p.vm.dir)
	base, err := chains.base(old)
	if err != nil {
		return err
	}
	p.state.base = base
	for i, spec := range disks {
		d := &PartDisk{part: p, index: i, spec: spec, name: safeName(spec.Name)}
		p.disks = append(p.disks, d)
		state, err := d.takeUp(old, chains.under(base, spec))
		if err != nil {
			return err
		}
		d.begin(state)
		p.state.disks = append(p.state.disks, state)
	}
	p.state.dropUnusedBase()
	return nil
}

// reviseOld makes another state durable of a part whose journal is not open yet.
func (p *Part) reviseOld(change func(*partState)) error {
	old := p.vm.part.clone()
	change(old)
	j, err := startJournal(p.store.fsys, p.dir, old)
	if err != nil {
		return err
	}
	p.store.set(p.vm, func(v *vmState) { v.part = old })
	return j.close(ErrClosed)
}

// startJournal makes the part's state durable.
func (p *Part) startJournal() error {
	s := p.store
	j, err := startJournal(s.fsys, p.dir, p.state.clone())
	if err != nil {
		return err
	}
	p.journal = j
	s.set(p.vm, func(v *vmState) { v.live = j })
	return nil
}

func (p *Part) createDisks() error {
	for _, d := range p.disks {
		if d.next > 0 {
			continue
		}
		err := d.create()
		if len(d.under) > 0 && isUseless(err) {
			p.store.cfg.Log.Warn(startsAgain, "disk", d.spec.Name, "err", err)
			err = d.startAgain(false)
		}
		if isBaseDamaged(err) {
			p.store.cfg.Log.Warn("disk stands alone, its base is damaged", "disk", d.spec.Name, "err", err)
			err = d.standAlone()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fileNames returns the names of the disks' files.
func (p *Part) fileNames() []string {
	var names []string
	for _, d := range p.disks {
		for n := range len(d.under) + 1 {
			names = append(names, d.dataOf(n), d.digestsOf(n))
		}
	}
	return names
}

// openFile opens a file of the part for writing, and makes it writable if a
// commit that came to nothing had made it read-only.
func (p *Part) openFile(name string, create bool) (durable.File, error) {
	fsys, name := p.store.fsys, path.Join(p.dir, name)
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE
	}
	info, err := fsys.Stat(name)
	switch {
	case err == nil && info.Mode()&0o200 == 0:
		err = fsys.Chmod(name, filePerm)
	case create && errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return nil, err
	}
	return fsys.OpenFile(name, flag, filePerm)
}

// checkSpace returns durable.ErrFull while the reserve is not free.
func (s *Store) checkSpace() error {
	free, err := s.fsys.Free()
	if err != nil {
		return err
	}
	if free < reserveBytes {
		return fmt.Errorf("%w: %d MiB are free and %d MiB are kept in reserve", durable.ErrFull, free>>20, int64(reserveBytes)>>20)
	}
	return nil
}

// Point returns the name that the point will have.
func (p *Part) Point() string { return p.state.point }

// Base returns the point that this one builds on, or "".
func (p *Part) Base() string { return p.state.base }

// Generation counts how often the part was begun.
func (p *Part) Generation() uint64 { return p.state.generation }

// Disks returns the disks in the order in which Begin got them.
func (p *Part) Disks() []*PartDisk { return p.disks }

// Written returns how many bytes of content were written to the disks' files
// since Begin. Blocks of zeros are not.
func (p *Part) Written() int64 { return p.written.Load() }

// Close gives up what was not synced and frees the VM's part for the next Begin.
// Methods of the disks that run are waited for; later ones return ErrClosed.
func (p *Part) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	err := p.closeFiles()
	p.store.release(p)
	return err
}

func (p *Part) closeFiles() error {
	var errs []error
	for _, d := range p.disks {
		errs = append(errs, d.close())
	}
	if p.journal != nil {
		errs = append(errs, p.journal.close(ErrClosed))
	}
	return errors.Join(errs...)
}

// release ends the part's claim. What its journal said stays known; after a
// commit that may or may not have happened the disk is asked.
func (s *Store) release(p *Part) {
	part, unsure := p.vm.part, p.vm.unsure
	switch {
	case p.committed:
		part = nil
	case p.deciding:
		part, unsure = s.recover(p.vm.dir)
	case p.journal != nil:
		part = p.journal.says()
	}
	s.set(p.vm, func(v *vmState) { v.part, v.live, v.unsure, v.busy = part, nil, unsure, false })
}

// set changes what the store knows of a VM that the caller has claimed.
func (s *Store) set(v *vmState, change func(*vmState)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(v)
}
