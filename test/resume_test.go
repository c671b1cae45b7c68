package test

import (
	"math/rand/v2"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"wanrep/test/wan"
)

// mbit is a rate in bits a second.
const mbit = 1_000_000

// A rig is a source and a target with a line between them.
type rig struct {
	*source
	target *target
	line   *wan.Line
	size   int64 // of all disks
}

// newRig makes a VM of two random disks of so many bytes together. The line
// carries 5 MB a second.
func newRig(t *testing.T, size int64) *rig {
	t.Helper()
	dir := t.TempDir()
	second := size / 4
	disks := []disk{randomDisk(t, dir, "os", size-second, 1), randomDisk(t, dir, "data", second, 2)}
	r := connect(t, newTarget(t, "127.0.0.1", "", nil), disks, 40*mbit)
	r.size = size
	return r
}

// connect puts a line before the target, and a source at its other end.
func connect(t *testing.T, tg *target, disks []disk, rate int64) *rig {
	t.Helper()
	shape := wan.Shape{Rate: rate, Delay: 5 * time.Millisecond}
	line, err := wan.New(wan.Config{Target: netip.MustParseAddrPort(tg.address), Paths: []wan.Path{
		{Name: "only", From: netip.MustParseAddr("127.0.0.1"), Up: shape, Down: shape},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { line.Close() })
	tg.serve()
	s := newSource(t, disks, nil)
	s.pair(tg, line.Addr().String())
	return &rig{source: s, target: tg, line: line}
}

// check compares the replica with the source's raw disks.
func (r *rig) check() {
	r.t.Helper()
	want := map[string]string{}
	for _, d := range r.disks {
		want[d.name] = sum(r.t, d.path)
	}
	r.target.checkReplica(r.name, want)
}

// checkData fails if the run of a report sent more than what was not durable some
// time before it began, apart from what was under way when a link was lost.
func (r *rig) checkData(rep report, durable int64) {
	r.t.Helper()
	data, resent := rep.data()
	if most := r.size - durable; data-resent > most {
		r.t.Errorf("the run sent %d bytes once, but only %d were not durable before it began", data-resent, most)
	}
	if rep.Link.Reattaches == 0 && resent != 0 {
		r.t.Errorf("%d bytes were sent twice over one link", resent)
	}
}

// seed is that of a test with random moments: WANREP_SEED, or a new one.
func seed(t *testing.T) *rand.Rand {
	t.Helper()
	n, err := strconv.ParseUint(os.Getenv("WANREP_SEED"), 10, 64)
	if err != nil {
		n = uint64(time.Now().UnixNano())
	}
	t.Logf("WANREP_SEED=%d", n)
	return rand.New(rand.NewPCG(n, 0))
}

// TestKilledAtAnyMoment kills the source, kills the target or stops it, again and
// again during one point, and holds both to promises 3, 4 and 5.
func TestKilledAtAnyMoment(t *testing.T) {
	random := seed(t)
	r := newRig(t, 40<<20)
	const blows = 5
	run := r.run()
	var durable, atStart int64
	var name string
	for i := range blows {
		r.moving(run, durable)
		time.Sleep(time.Duration(random.IntN(500)) * time.Millisecond)
		known := r.status().durable() // what the source was told is durable
		what := random.IntN(3)
		switch what {
		case 0:
			run.kill()
		case 1:
			r.target.serving.kill()
		case 2:
			if code := r.target.serving.stop(); code != 0 {
				t.Errorf("the target stopped with exit code %d\n%s", code, r.target.serving.stderr.String())
			}
		}
		if what != 0 {
			r.target.serve()
		}
		p := r.target.only("part")
		if name == "" {
			name = p.Point
		}
		t.Logf("blow %d at the %s: durable %d of %d", i+1, []string{"source (kill)", "target (kill)", "target (stop)"}[what], p.durable(), r.size)
		switch {
		case p.Point != name:
			t.Fatalf("the part is point %s, was %s", p.Point, name)
		case p.durable() < known || p.durable() < durable:
			t.Fatalf("%d bytes are durable, but the source had been told %d, and it was %d before", p.durable(), known, durable)
		}
		durable = p.durable()
		if what == 0 {
			run, atStart = r.run(), durable
		}
	}
	rep := finish(run, 0)
	if rep.Outcome != "committed" || rep.point() != name {
		t.Errorf("the run %s point %s, want the same point %s committed", rep.Outcome, rep.point(), name)
	}
	r.checkData(rep, atStart)
	if p := r.target.only("committed"); p.Point != name {
		t.Errorf("the store has point %s, want %s", p.Point, name)
	}
	r.check()
}

func TestStoppedRunIsParkedAndCompleted(t *testing.T) {
	r := newRig(t, 20<<20)
	run := r.run()
	r.moving(run, 0)
	run.cmd.Process.Signal(os.Interrupt)
	parked := finish(run, 130)
	if parked.Outcome != "parked" || parked.Error == nil {
		t.Errorf("the stopped run is %q, want parked, with an error that says why", parked.Outcome)
	}
	part := r.target.only("part")
	if part.Point != parked.point() || part.durable() == 0 {
		t.Errorf("the store has %+v, the run parked point %s", part, parked.point())
	}
	rep := finish(r.run(), 0)
	if rep.point() != part.Point {
		t.Errorf("the next run committed point %s, want the parked %s", rep.point(), part.Point)
	}
	r.checkData(rep, part.durable())
	r.check()
}

// TestBlackout takes the line away for longer than a link lives.
func TestBlackout(t *testing.T) {
	r := newRig(t, 20<<20)
	run := r.run()
	r.moving(run, 0)
	r.line.CutAll()
	eventually(t, "the loss of the link", func() bool { return run.running() && r.status().stalled() })
	part := r.target.only("part")
	time.Sleep(time.Second)
	r.line.RestoreAll()
	rep := finish(run, 0)
	if rep.Link.Reattaches == 0 || rep.point() != part.Point {
		t.Errorf("the run committed point %s after %d reattaches, want %s after at least one", rep.point(), rep.Link.Reattaches, part.Point)
	}
	r.checkData(rep, 0)
	if _, resent := rep.data(); resent > r.size-part.durable() {
		t.Errorf("%d bytes were sent twice, but only %d were not durable", resent, r.size-part.durable())
	}
	r.check()
}

func TestChangedDiskFailsItsVM(t *testing.T) {
	r := newRig(t, 20<<20)
	run := r.run()
	r.moving(run, 0)
	f, err := os.OpenFile(r.disks[0].path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("written under the run"), 4096); err != nil {
		t.Fatal(err)
	}
	f.Close()
	rep := finish(run, 1)
	if rep.Outcome != "failed" || rep.Error == nil || !strings.Contains(*rep.Error, "changed") {
		t.Errorf("the run's report is %+v, want failed because the disk changed", rep)
	}
	for _, p := range r.target.points() {
		if p.State != "part" {
			t.Errorf("point %s is %s", p.Point, p.State)
		}
	}
	// The next run begins the changed disk again, and continues the other.
	if rep := finish(r.run(), 0); rep.Outcome != "committed" {
		t.Errorf("the next run is %s", rep.Outcome)
	}
	r.check()
}
