package test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// A wire is two network namespaces with two veth pairs between them: the source's
// uplinks "up1" and "up2", of which the target's ends are "down1" and "down2".
type wire struct {
	t              *testing.T
	source, target string // names of the namespaces
}

// wireAddress is the target's, reached over both uplinks.
const wireAddress = "10.99.0.1"

func newWire(t *testing.T) *wire {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	needs(t, "ip", "tc")
	w := &wire{t: t, source: fmt.Sprintf("wr-s-%d", os.Getpid()), target: fmt.Sprintf("wr-t-%d", os.Getpid())}
	for _, ns := range []string{w.source, w.target} {
		w.do("ip netns add " + ns)
		t.Cleanup(func() { w.do("ip netns del " + ns) })
		w.do("ip -n " + ns + " link set lo up")
	}
	w.do("ip -n " + w.target + " addr add " + wireAddress + "/32 dev lo")
	for i := 1; i <= 2; i++ {
		w.do(fmt.Sprintf("ip -n %s link add up%d type veth peer name down%d netns %s", w.source, i, i, w.target))
		w.do(fmt.Sprintf("ip -n %s addr add 10.99.%d.2/24 dev up%d", w.source, i, i))
		w.do(fmt.Sprintf("ip -n %s addr add 10.99.%d.1/24 dev down%d", w.target, i, i))
		w.do(fmt.Sprintf("ip -n %s link set up%d up", w.source, i))
		w.do(fmt.Sprintf("ip -n %s link set down%d up", w.target, i))
		w.do(fmt.Sprintf("ip -n %s route add %s/32 via 10.99.%d.1 dev up%d metric %d", w.source, wireAddress, i, i, i))
		w.do(fmt.Sprintf("ip netns exec %s tc qdisc add dev up%d root tbf rate 40mbit burst 32kb latency 50ms", w.source, i))
	}
	return w
}

// unplug takes the cable out of an uplink, at the other end, so that the source
// keeps its routes.
func (w *wire) unplug(uplink int) {
	w.do(fmt.Sprintf("ip -n %s link set down%d down", w.target, uplink))
}

func (w *wire) plug(uplink int) { w.do(fmt.Sprintf("ip -n %s link set down%d up", w.target, uplink)) }

func (w *wire) do(line string) {
	w.t.Helper()
	args := strings.Fields(line)
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		w.t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

func within(namespace string) []string { return []string{"ip", "netns", "exec", namespace} }

// rig makes a VM of two random disks of so many bytes together, a target, and a
// source with the two uplinks.
func (w *wire) rig(size int64) *rig {
	w.t.Helper()
	dir := w.t.TempDir()
	disks := []disk{randomDisk(w.t, dir, "os", size/2, 1), randomDisk(w.t, dir, "data", size/2, 2)}
	tg := newTarget(w.t, wireAddress, "", within(w.target))
	tg.serve()
	s := newSource(w.t, disks, within(w.source),
		"[[uplink]]\nname = \"fibre\"\nbind = \"up1\"", "[[uplink]]\nname = \"lte\"\nbind = \"up2\"")
	s.pair(tg, tg.address)
	return &rig{source: s, target: tg, size: size}
}

// TestTwoUplinks unplugs the uplink in use, then both.
func TestTwoUplinks(t *testing.T) {
	w := newWire(t)
	r := w.rig(40 << 20)
	tg := r.target

	run := r.run()
	r.moving(run, 0)
	uplinks := map[string]int{"fibre": 1, "lte": 2}
	from := r.status().path()
	w.unplug(uplinks[from])
	eventually(t, "the link to leave "+from, func() bool { p := r.status().path(); return p != "" && p != from })
	r.moving(run, r.status().durable())

	w.unplug(3 - uplinks[from])
	eventually(t, "the loss of the link", func() bool { return run.running() && r.status().stalled() })
	part := tg.only("part")
	time.Sleep(time.Second)
	w.plug(1)
	w.plug(2)
	rep := finish(run, 0)
	if rep.Link.Migrations == 0 || rep.Link.Reattaches == 0 {
		t.Errorf("the run reports %d migrations and %d reattaches, want at least one of each", rep.Link.Migrations, rep.Link.Reattaches)
	}
	if rep.point() != part.Point {
		t.Errorf("the run committed point %s, but was at %s when the uplinks were unplugged", rep.point(), part.Point)
	}
	for _, step := range []string{"migrated " + from + " → ", "reattached over "} {
		if !rep.tells(step) {
			t.Errorf("no event of the report begins with %q: %+v", step, rep.Events)
		}
	}
	t.Logf("longest stall %.2f s", rep.Link.LongestStall)
	r.checkData(rep, 0)
	r.check()
}
