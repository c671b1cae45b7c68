package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestTargetFull fills the target's file system during a run, and makes room for
// the next.
func TestTargetFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	mount := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	// A target keeps 64 MiB in reserve, so that 24 MiB are left for the disks.
	if err := unix.Mount("wanrep-test", mount, "tmpfs", 0, "size=88m"); err != nil {
		t.Skipf("needs root that may mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(mount, unix.MNT_DETACH) })

	disks := []disk{
		randomDisk(t, t.TempDir(), "os", 28<<20, 1),
		randomDisk(t, t.TempDir(), "data", 20<<20, 2),
	}
	tg := newTarget(t, "127.0.0.1", filepath.Join(mount, "store"), nil)
	r := connect(t, tg, disks, 400*mbit)
	r.size = 48 << 20
	run := r.run()
	if code := run.wait(); code != 12 {
		t.Fatalf("the run ended with exit code %d, want 12 for a target that refuses\n%s%s", code, run.stdout.String(), run.stderr.String())
	}
	var rep report
	decode(t, run.stdout.Bytes(), &rep)
	if rep.Outcome != "failed" || rep.Error == nil || !strings.Contains(*rep.Error, "space") {
		t.Errorf("the run's report is %+v, want failed because there is no space left", rep)
	}
	part := tg.only("part")

	if err := unix.Mount("wanrep-test", mount, "tmpfs", unix.MS_REMOUNT, "size=256m"); err != nil {
		t.Fatal(err)
	}
	rep = finish(r.run(), 0)
	if rep.point() != part.Point {
		t.Errorf("the next run committed point %s, want the one that did not fit, %s", rep.point(), part.Point)
	}
	r.checkData(rep, part.durable())
	r.check()
}
