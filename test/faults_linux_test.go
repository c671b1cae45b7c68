package test

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// A fault is something that can happen to a transfer. It returns how it ends.
type fault struct {
	name string
	do   func() (undo func())
}

// A faulty is a run that faults happen to.
type faulty struct {
	*rig
	wire   *wire
	random *rand.Rand
	runs   []*process // the last one is under way
	// networks are the third numbers of the uplinks' addresses.
	networks [2]int
}

func (f *faulty) faults() []fault {
	one := func(do func(uplink int) func()) func() func() {
		return func() func() { return do(1 + f.random.IntN(2)) }
	}
	nothing := func() {}
	return []fault{
		{"an uplink is unplugged", one(func(n int) func() {
			f.wire.unplug(n)
			return func() { f.wire.plug(n) }
		})},
		{"both uplinks are unplugged", func() func() {
			f.wire.unplug(1)
			f.wire.unplug(2)
			return func() { f.wire.plug(1); f.wire.plug(2) }
		}},
		{"an uplink's device goes down", one(func(n int) func() {
			f.wire.do(fmt.Sprintf("ip -n %s link set up%d down", f.wire.source, n))
			return func() {
				f.wire.do(fmt.Sprintf("ip -n %s link set up%d up", f.wire.source, n))
				f.route(n)
			}
		})},
		{"answers over an uplink vanish", one(func(n int) func() {
			to := fmt.Sprintf("10.99.%d.2/32", f.networks[n-1])
			f.wire.do(fmt.Sprintf("ip -n %s route add blackhole %s", f.wire.target, to))
			return func() { f.wire.do(fmt.Sprintf("ip -n %s route del blackhole %s", f.wire.target, to)) }
		})},
		{"an uplink gets another address", one(func(n int) func() {
			f.renumber(n)
			return nothing
		})},
		{"an uplink is slow", one(func(n int) func() {
			f.rate(n, "2mbit")
			return func() { f.rate(n, "40mbit") }
		})},
		{"the target is killed", func() func() {
			f.target.serving.kill()
			return f.target.serve
		}},
		{"the target stands still", func() func() {
			f.target.serving.cmd.Process.Signal(syscall.SIGSTOP)
			return func() { f.target.serving.cmd.Process.Signal(syscall.SIGCONT) }
		}},
		{"the source is killed", func() func() {
			f.current().kill()
			return func() { f.runs = append(f.runs, f.run()) }
		}},
	}
}

// current is the run that is under way.
func (f *faulty) current() *process { return f.runs[len(f.runs)-1] }

func (f *faulty) route(n int) {
	f.wire.do(fmt.Sprintf("ip -n %s route replace %s/32 via 10.99.%d.1 dev up%d metric %d",
		f.wire.source, wireAddress, f.networks[n-1], n, n))
}

func (f *faulty) renumber(n int) {
	before := f.networks[n-1]
	f.networks[n-1] += 10
	now := f.networks[n-1]
	f.wire.do(fmt.Sprintf("ip -n %s addr add 10.99.%d.1/24 dev down%d", f.wire.target, now, n))
	f.wire.do(fmt.Sprintf("ip -n %s addr del 10.99.%d.2/24 dev up%d", f.wire.source, before, n))
	f.wire.do(fmt.Sprintf("ip -n %s addr add 10.99.%d.2/24 dev up%d", f.wire.source, now, n))
	f.route(n)
}

func (f *faulty) rate(n int, rate string) {
	f.wire.do(fmt.Sprintf("ip netns exec %s tc qdisc change dev up%d root tbf rate %s burst 32kb latency 50ms", f.wire.source, n, rate))
}

// TestFaults lets random things happen to the two appliances and to both uplinks for
// half a minute, one after the other. In the end there is one point, and it is the
// source's disks.
func TestFaults(t *testing.T) {
	random := seed(t)
	w := newWire(t)
	f := &faulty{rig: w.rig(60 << 20), wire: w, random: random, networks: [2]int{1, 2}}
	f.runs = []*process{f.run()}
	f.moving(f.current(), 0)
	upTo := func(d time.Duration) { time.Sleep(time.Duration(random.Int64N(int64(d)))) }
	faults := f.faults()
	part := ""
	for began := time.Now(); time.Since(began) < 30*time.Second && f.current().running(); {
		if part == "" {
			part = f.target.only("part").Point
		}
		now := faults[random.IntN(len(faults))]
		t.Logf("%4.1f s: %s", time.Since(began).Seconds(), now.name)
		undo := now.do()
		upTo(4 * time.Second)
		undo()
		upTo(time.Second)
	}
	rep := finish(f.current(), 0)
	if rep.Outcome != "committed" || rep.point() != part {
		t.Errorf("the run %s point %s, want the same point %s committed", rep.Outcome, rep.point(), part)
	}
	t.Logf("%d runs; the last: %+v", len(f.runs), rep.Link)
	f.target.only("committed")
	f.check()
}
