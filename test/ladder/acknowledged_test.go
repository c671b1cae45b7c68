package ladder

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"wanrep/replicate"
)

// A heldSnapshot notes that it was closed.
type heldSnapshot struct {
	snapshot
	closed *atomic.Int32
}

func (s heldSnapshot) Close() error {
	s.closed.Add(1)
	return nil
}

// holdSnapshots counts the snapshots that the source gives up from now on.
func (s *sim) holdSnapshots() *atomic.Int32 {
	closed := &atomic.Int32{}
	s.open = func(name string) (replicate.Snapshot, replicate.Geometry, error) {
		d := s.disks[name]
		return heldSnapshot{snapshot{d, d.version}, closed},
			replicate.Geometry{ID: diskID(name), LogicalSectorSize: 512, PhysicalSectorSize: 4096}, nil
	}
	return closed
}

// remembered returns how many points of its VM the source believes the target to have,
// as it would after a restart.
func (s *sim) remembered() int {
	s.t.Helper()
	seen, err := replicate.SeenVMs(s.sourceFS)
	if err != nil || len(seen) != 1 {
		s.t.Fatalf("the source remembers %+v: %v", seen, err)
	}
	return seen[0].Points
}

// TestNothingIsGivenUpBeforeTheAcknowledgement is promise 6, for the last moment of a
// run: the target has committed, and the line drops before the source learns of it. As
// long as that lasts, the source has its snapshots and goes on from the base.
func TestNothingIsGivenUpBeforeTheAcknowledgement(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		closed := s.holdSnapshots()
		if _, err := s.source.Run(t.Context(), "nightly"); err != nil {
			t.Fatal(err)
		}
		for _, d := range s.disks {
			d.change(1)
		}
		closed.Store(0)
		done := s.runUntilCommit()
		s.fs.Trace(nil)
		time.Sleep(10 * time.Minute)
		if _, points := s.points(); len(points) != 2 {
			t.Fatalf("the target has %d points, want both", len(points))
		}
		if n := closed.Load(); n > 0 {
			t.Errorf("%d snapshots were given up before the commit was acknowledged", n)
		}
		if n := s.remembered(); n != 1 {
			t.Errorf("the source goes on from point %d before the commit was acknowledged", n)
		}
		s.router.heal()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if n := closed.Load(); n != int32(len(s.disks)) {
			t.Errorf("%d snapshots of %d disks were given up after the run", n, len(s.disks))
		}
		if n := s.remembered(); n != 2 {
			t.Errorf("after the run the source goes on from point %d, want 2", n)
		}
	})
}

// TestBaseOutlivesAParkedPoint is promise 6, for a point that no run has committed yet:
// whatever ended the run, the next one completes that point, and on the same base.
func TestBaseOutlivesAParkedPoint(t *testing.T) {
	bubble(t, twoDisks(), func(t *testing.T, s *sim) {
		first, err := s.source.Run(t.Context(), "nightly")
		if err != nil {
			t.Fatal(err)
		}
		s.disks["data"].content, s.disks["data"].version = newDisk(200, 3).content, 1
		ctx, cancel := context.WithCancel(t.Context())
		s.router.cutAfter(s.router.total()+4<<20, time.Minute)
		time.AfterFunc(30*time.Second, cancel)
		parked, err := s.source.Run(ctx, "nightly")
		if !errors.Is(err, replicate.ErrInterrupted) || s.durableAtTarget()["data"] == 0 {
			t.Fatalf("got %v with %v durable, want a point that is parked in the middle", err, s.durableAtTarget())
		}
		if n := s.remembered(); n != 1 {
			t.Errorf("the source goes on from point %d, which is parked", n)
		}
		time.Sleep(2 * time.Minute)
		s.sourceFS = s.sourceFS.Crash(0)
		s.endpoint.Close()
		s.startSource()
		again, err := s.source.Run(t.Context(), "nightly")
		if err != nil {
			t.Fatal(err)
		}
		vm := again.VMs[0]
		if vm.Point != parked.VMs[0].Point || vm.Base == nil || *vm.Base != first.VMs[0].Point {
			t.Errorf("point %s on %v was committed, want %s on %s", vm.Point, vm.Base, parked.VMs[0].Point, first.VMs[0].Point)
		}
		if n := s.remembered(); n != 2 {
			t.Errorf("after the run the source goes on from point %d, want 2", n)
		}
		s.verifyAll()
	})
}
