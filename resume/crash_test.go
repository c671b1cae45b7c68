package resume_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

// A wrapper stands between the store and the file system, to plant a bug.
type wrapper func(durable.FS) durable.FS

func honest(fsys durable.FS) durable.FS { return fsys }

// crashAt plays until the power is cut at operation k, then looks at what a cut may
// leave. It returns the first violation.
func crashAt(s story, wrap wrapper, k int, seeds uint64) error {
	fsys := crashfs.New()
	fsys.Inject(crashfs.Fault{At: k, Kind: crashfs.Crash})
	p := newPlayer(s)
	err := p.play(wrap(fsys))
	if isViolation(err) {
		return err
	}
	if !fsys.Crashed() {
		return fmt.Errorf("operation %d was not reached: %w", k, err)
	}
	for seed := range seeds {
		seed = mix(seed, k)
		if err := after(p.clone(), wrap, fsys.Crash(seed), seed); err != nil {
			return fmt.Errorf("power cut at operation %d, seed %d: %w", k, seed, err)
		}
	}
	if err := killed(s, wrap, k); err != nil {
		return fmt.Errorf("killed at operation %d: %w", k, err)
	}
	return nil
}

// mix returns the n-th seed for operation k: to lose all, and then other mixes for
// each k. A killed process has kept all.
func mix(n uint64, k int) uint64 {
	if n == 0 {
		return 0
	}
	return n + 1 + uint64(k)*7
}

// after recovers what a crash left, cutting the power during the recovery too, and
// plays to the end.
func after(p *player, wrap wrapper, left *crashfs.FS, seed uint64) error {
	if err := p.visible(left); err != nil {
		return err
	}
	again := left.Crash(1) // nothing is open or unsynced: the same once more
	changes := 0
	again.Trace(func(op crashfs.Op) {
		if op.Changes {
			changes = op.N
		}
	})
	if err := p.clone().reopen(wrap(again)); err != nil {
		return fmt.Errorf("recovery: %w", err)
	}
	again.Trace(nil)
	for j := 1 + int(seed%3); j <= changes; j += 3 {
		during := left.Crash(1)
		during.Inject(crashfs.Fault{At: j, Kind: crashfs.Crash})
		if err := p.clone().reopen(wrap(during)); isViolation(err) {
			return fmt.Errorf("recovery cut at operation %d: %w", j, err)
		}
		if err := p.clone().reopen(wrap(during.Crash(seed))); err != nil {
			return fmt.Errorf("second recovery, the first was cut at operation %d: %w", j, err)
		}
	}
	// What the recovery did is not synced if it had nothing to sync.
	if err := p.clone().reopen(wrap(again.Crash(seed))); err != nil {
		return fmt.Errorf("recovery after a recovery: %w", err)
	}
	return p.toTheEnd(wrap, left, seed)
}

// killed goes on in the file system of a process that was killed at operation k,
// and then cuts the power: what the first process did not sync the second has to.
// The power is cut during its recovery too.
func killed(s story, wrap wrapper, k int) error {
	fsys, p := playAndKill(s, wrap, k)
	recovery := []int{}
	fsys.Trace(func(op crashfs.Op) {
		if op.Changes {
			recovery = append(recovery, op.N)
		}
	})
	if err := p.reopen(wrap(fsys)); err != nil {
		return err
	}
	fsys.Trace(nil)
	if err := p.clone().reopen(wrap(fsys.Crash(uint64(k)))); err != nil {
		return fmt.Errorf("then the power was cut: %w", err)
	}
	if err := p.toTheEnd(wrap, fsys, uint64(k)); err != nil {
		return err
	}
	for _, j := range recovery {
		fsys, p := playAndKill(s, wrap, k)
		fsys.Inject(crashfs.Fault{At: j, Kind: crashfs.Crash})
		if err := p.reopen(wrap(fsys)); isViolation(err) {
			return fmt.Errorf("recovery cut at operation %d: %w", j, err)
		}
		for seed := range uint64(12) {
			if err := p.clone().reopen(wrap(fsys.Crash(mix(seed, j)))); err != nil {
				return fmt.Errorf("recovery cut at operation %d, seed %d: %w", j, seed, err)
			}
		}
	}
	return nil
}

func playAndKill(s story, wrap wrapper, k int) (*crashfs.FS, *player) {
	fsys := crashfs.New()
	fsys.Inject(crashfs.Fault{At: k, Kind: crashfs.Crash})
	p := newPlayer(s)
	_ = p.play(wrap(fsys)) // crashAt has looked at the error
	fsys.Kill()
	return fsys, p
}

// reopen opens the store, checks and closes it.
func (p *player) reopen(fsys durable.FS) error {
	s, err := resume.Open(fsys, p.config())
	if err != nil {
		return err
	}
	return errors.Join(p.check(s), s.Close(), p.tidy(fsys))
}

// toTheEnd plays to the end without faults and then loses what is not synced.
func (p *player) toTheEnd(wrap wrapper, fsys *crashfs.FS, seed uint64) error {
	if err := p.play(wrap(fsys)); err != nil {
		return fmt.Errorf("playing on: %w", err)
	}
	last := fsys.Crash(seed)
	if err := p.reopen(wrap(last)); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	return p.verify(last)
}

// failAt plays on after one operation failed. Right after it, and at the end, the
// power is cut.
func failAt(s story, wrap wrapper, fault crashfs.Fault, seeds uint64) error {
	fsys := crashfs.New()
	fsys.Inject(fault)
	p := newPlayer(s)
	err := p.play(wrap(fsys))
	if isViolation(err) {
		return err
	}
	for seed := range seeds {
		seed = mix(seed, fault.At)
		if err := p.clone().toTheEnd(wrap, fsys.Crash(seed), seed); err != nil {
			return fmt.Errorf("%v at operation %d, then the power cut, seed %d: %w", fault, fault.At, seed, err)
		}
	}

	fsys = crashfs.New()
	fsys.Inject(fault)
	p = newPlayer(s)
	if err := p.persist(wrap(fsys)); err != nil {
		return fmt.Errorf("%v at operation %d, going on: %w", fault, fault.At, err)
	}
	return p.clone().toTheEnd(wrap, fsys.Crash(uint64(fault.At)), 0)
}

// sweep calls try for each k, on as many goroutines as there are processors.
func sweep(t *testing.T, ks []int, try func(k int) error) {
	t.Helper()
	sweepWith(t, ks, func(t *testing.T, k int) {
		if err := try(k); err != nil {
			t.Fatal(err)
		}
	})
}

func sweepWith(t *testing.T, ks []int, try func(t *testing.T, k int)) {
	t.Helper()
	const shards = 4
	for shard := range shards {
		t.Run(fmt.Sprintf("shard %d", shard), func(t *testing.T) {
			t.Parallel()
			for i := shard * everyNth; i < len(ks); i += shards * everyNth {
				try(t, ks[i])
			}
		})
	}
}

// changing returns the places of the operations that change something.
func changing(ops []crashfs.Op) (ks []int) {
	for _, op := range ops {
		if op.Changes {
			ks = append(ks, op.N)
		}
	}
	return ks
}

// places returns the places of all operations.
func places(ops []crashfs.Op) (ks []int) {
	for _, op := range ops {
		ks = append(ks, op.N)
	}
	return ks
}

// layered returns the operations from the first on that deals with a layer.
func layered(ops []crashfs.Op) []crashfs.Op {
	for i, op := range ops {
		if strings.Contains(op.Name, "~1.") {
			return ops[i:]
		}
	}
	return nil
}

// TestCrashAtEveryOperation cuts the power at each operation of a seed and of two points
// on it. What is to be seen then is whole or not there, which is promise 2, and has all
// that was acknowledged, which is promise 4.
func TestCrashAtEveryOperation(t *testing.T) {
	s := story{plain{}, increments}
	sweep(t, changing(record(t, s)), func(k int) error { return crashAt(s, honest, k, 2) })
}

// TestCrashWhileDisksChange goes through parts with layers, and through their merges.
func TestCrashWhileDisksChange(t *testing.T) {
	s := story{plain{}, changes}
	sweep(t, changing(layered(record(t, s))), func(k int) error { return crashAt(s, honest, k, 4) })
}

// TestErrorAtEveryOperation holds the store to promises 2 and 4 when the disk fails and
// the process goes on.
func TestErrorAtEveryOperation(t *testing.T) {
	s := story{plain{}, increments}
	errorAt(t, s, record(t, s))
}

func TestErrorWhileDisksChange(t *testing.T) {
	s := story{plain{}, changes}
	errorAt(t, s, layered(record(t, s)))
}

// errorAt lets each of the operations fail, and those that change something in two other
// ways too.
func errorAt(t *testing.T, s story, ops []crashfs.Op) {
	tests := []struct {
		name  string
		ks    []int
		fault crashfs.Fault
	}{
		{"EIO", places(ops), crashfs.Fault{}},
		{"ENOSPC", changing(ops), crashfs.Fault{Err: crashfs.ErrFull, Kind: crashfs.Short}},
		{"done but failed", changing(ops)[1:], crashfs.Fault{Kind: crashfs.Late}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			sweep(t, test.ks, func(k int) error {
				fault := test.fault
				fault.At = k
				return failAt(s, honest, fault, 1)
			})
		})
	}
}
