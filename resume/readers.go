package resume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wanrep/diskio"
)

// A prune changes what readers read: the pruned point's files while it is merged, and
// for a moment those of all points above it. In this process the store counts who
// reads, and a prune does not touch what is being read. Readers in other processes,
// which open the store read-only, can't be counted: they look at the VM's prune record
// before and after, and take nothing for damage that may be a prune's work.

// ErrPruned is returned where a point was pruned, or one on which it builds, while it
// was read: what was read proves nothing. The point, if it is still there, can be read
// again.
var ErrPruned = errors.New("a prune changed the point's files while it was read; read it again")

// state returns what the store knows of a VM.
func (s *Store) state(dir string) *vmState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stateLocked(dir)
}

func (s *Store) stateLocked(dir string) *vmState {
	v := s.vms[dir]
	if v == nil {
		v = &vmState{dir: dir}
		s.vms[dir] = v
	}
	return v
}

// look keeps a VM's points as they are while the caller looks at more than one file of
// them: no prune exchanges files until release is called. It must not be called again
// before that. An exchange that an error left undone is done first.
func (s *Store) look(dir string) (release func(), err error) {
	v := s.state(dir)
	for {
		v.steady.RLock()
		if s.readOnly || s.pruneOf(v).State != pruneExchanging {
			return v.steady.RUnlock, nil
		}
		v.steady.RUnlock()
		if err := s.exchangeAgain(v); err != nil && s.pruneOf(v).State == pruneExchanging {
			return nil, fmt.Errorf("finish the prune of point %s: %w", s.pruneOf(v).Point, err)
		}
	}
}

// exchangeAgain finishes an exchange that an error interrupted.
func (s *Store) exchangeAgain(v *vmState) error {
	v.steady.Lock()
	defer v.steady.Unlock()
	if p := s.pruneOf(v); p.State == pruneExchanging {
		return s.exchange(v, p)
	}
	return nil
}

// settleTries and settleWait bound how long a prune waits for those that look, and who
// looks from elsewhere for a prune.
const (
	settleTries = 20
	settleWait  = 50 * time.Millisecond
)

// settle takes a VM's points for the caller alone, once nobody looks at them.
func (s *Store) settle(ctx context.Context, v *vmState) (release func(), err error) {
	for range settleTries {
		if v.steady.TryLock() {
			return v.steady.Unlock, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(settleWait):
		}
	}
	return nil, &PinnedError{s.pruneOf(v).Point, "somebody looks at the VM's points"}
}

// pruneOf returns the last prune of a VM.
func (s *Store) pruneOf(v *vmState) pruneRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return v.prune
}

// A Reading is a committed point that is being read. A prune leaves it, and those on
// which it builds, alone until it is closed; in a store that was opened read-only,
// Pruned tells afterwards whether it did.
type Reading struct {
	store *Store
	vm    *vmState
	point string
	count uint64 // of the VM's prune record at the beginning
}

// Read begins to read a committed point. The caller has to close it. In a store that was
// opened read-only it waits a moment for a prune that exchanges files.
func (s *Store) Read(p Point) (*Reading, error) {
	r, err := s.read(p)
	for range settleTries {
		if _, exchanging := errors.AsType[*exchangingError](err); !exchanging || !s.readOnly {
			break
		}
		time.Sleep(settleWait)
		r, err = s.read(p)
	}
	return r, err
}

// An exchangingError says which point is being pruned, so that those above it can't be
// read.
type exchangingError struct{ vm, point string }

func (e *exchangingError) Error() string {
	return fmt.Sprintf("point %s of %s, on which it may build, is being pruned; the appliance, or wanrep points prune, finishes that",
		e.point, diskio.Printable(e.vm))
}

func (s *Store) read(p Point) (*Reading, error) {
	dir, err := vmDir(p.Source, p.VM)
	if err != nil {
		return nil, err
	}
	release, err := s.look(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	record, err := s.currentPrune(dir)
	if err != nil {
		return nil, err
	}
	switch {
	case record.hides(p.Point):
		return nil, ErrNoPoint
	case record.State == pruneExchanging && p.Point > record.Point:
		return nil, &exchangingError{p.VM, record.Point}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.stateLocked(dir)
	if v.readers == nil {
		v.readers = map[string]int{}
	}
	v.readers[p.Point]++
	return &Reading{store: s, vm: v, point: p.Point, count: record.Count}, nil
}

// Pruned reports whether a prune may have changed what was read.
func (r *Reading) Pruned() bool {
	if !r.store.readOnly {
		return false
	}
	record, err := readPrune(r.store.fsys, r.vm.dir)
	return err != nil || record.Count != r.count
}

// Close ends the reading. It may be called more than once.
func (r *Reading) Close() {
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	if r.point == "" {
		return
	}
	if r.vm.readers[r.point]--; r.vm.readers[r.point] == 0 {
		delete(r.vm.readers, r.point)
	}
	r.point = ""
}

// A readContent is a disk of a point that is being read.
type readContent struct {
	Content
	reading *Reading
}

func (c readContent) Close() error {
	defer c.reading.Close()
	return c.Content.Close()
}
