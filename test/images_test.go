package test

import (
	"path/filepath"
	"testing"
	"time"
)

// TestImagesOfOthers replicates disks that wanrep did not make over a line that
// goes dark: a VHDX of Hyper-V, a VHD, and a raw disk made from another VHDX.
func TestImagesOfOthers(t *testing.T) {
	needs(t, "qemu-img")
	dir := t.TempDir()
	system, systemSum := corpus(t, dir, "qemu-iotest-dynamic-1G.vhdx")
	logs, logsSum := corpus(t, dir, "dissect-fixed.vhd")
	packed, dataSum := corpus(t, dir, "dissect-dynamic.vhdx")
	data := filepath.Join(dir, "data.raw")

	tg := newTarget(t, "127.0.0.1", "", nil)
	tg.must("disk", "convert", packed, data, "--format", "raw")
	if got := sum(t, data); got != dataSum {
		t.Fatalf("converted to raw, the disk has the SHA-256 %s, want %s", got, dataSum)
	}
	// These disks compress to less than a megabyte: the line is as slow as takes
	// some seconds for that.
	r := connect(t, tg, []disk{{"os", system}, {"logs", logs}, {"data", data}}, mbit)
	run := r.run()
	r.moving(run, 0)
	r.line.CutAll()
	eventually(t, "the loss of the link", func() bool { return run.running() && r.status().stalled() })
	part := tg.only("part")
	time.Sleep(time.Second)
	r.line.RestoreAll()
	rep := finish(run, 0)
	if rep.Link.Reattaches == 0 || rep.point() != part.Point {
		t.Errorf("the run committed point %s after %d reattaches, want %s after at least one", rep.point(), rep.Link.Reattaches, part.Point)
	}
	for i, d := range tg.only("committed").Disks {
		if sent := rep.VMs[0].Disks[i]; sent.Disk != d.Disk || sent.Root != d.Root || sent.Root == "" {
			t.Errorf("the source has the root %q for disk %s, the target %q for %s", sent.Root, sent.Disk, d.Root, d.Disk)
		}
	}
	tg.checkReplica("lyon", map[string]string{"os": systemSum, "logs": logsSum, "data": dataSum})
}
