package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/vhdx"
)

// mostMemory is how much an appliance may have resident with hugeDisks disks in
// flight, in bytes.
const mostMemory = 256 << 20

// hugeDisks and hugeExtents say how many disks of the largest size there are, and
// how many runs of a megabyte each has, spread from its beginning to its end.
const (
	hugeDisks   = 8
	hugeExtents = 8
)

// TestMemoryOfHugeDisks sends eight disks of 64 TiB at once.
func TestMemoryOfHugeDisks(t *testing.T) {
	dir := t.TempDir()
	var disks []disk
	for i := range hugeDisks {
		disks = append(disks, hugeDisk(t, dir, fmt.Sprintf("disk%d", i), byte(i)))
	}
	tg := newTarget(t, "127.0.0.1", "", nil)
	tg.serve()
	s := newSource(t, disks, nil)
	s.pair(tg, tg.address)
	run := s.run()
	sourcePeak, targetPeak := watchMemory(run), watchMemory(tg.serving)
	rep := finish(run, 0)
	tg.must("points", "verify", "--store", tg.store)
	if code := tg.serving.stop(); code != 0 {
		t.Errorf("the target stopped with exit code %d", code)
	}
	for _, d := range rep.VMs[0].Disks {
		if d.VirtualSize != diskio.MaxVirtualSize || d.Data != hugeExtents<<20 {
			t.Errorf("disk %s: %d bytes of data of %d, want %d of %d", d.Disk, d.Data, d.VirtualSize, hugeExtents<<20, int64(diskio.MaxVirtualSize))
		}
	}
	for name, peak := range map[string]int64{"source": <-sourcePeak, "target": <-targetPeak} {
		t.Logf("%s: at most %d MiB resident", name, peak>>20)
		if peak == 0 || peak >= mostMemory {
			t.Errorf("the %s had %d MiB resident, want less than %d", name, peak>>20, mostMemory>>20)
		}
	}
}

// hugeDisk makes a VHDX of the largest size there is.
func hugeDisk(t *testing.T, dir, name string, seed byte) disk {
	t.Helper()
	path := filepath.Join(dir, name+".vhdx")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := vhdx.Create(f, vhdx.Spec{VirtualSize: diskio.MaxVirtualSize, DiskID: diskio.ID{1, seed}})
	if err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{seed})
	content := make([]byte, 1<<20)
	for i := range int64(hugeExtents) {
		random.Read(content)
		last := int64(diskio.MaxVirtualSize - len(content))
		if _, err := w.WriteAt(content, last/(hugeExtents-1)*i/diskio.BlockBytes*diskio.BlockBytes); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	return disk{name, path}
}

// watchMemory returns the most memory in bytes that a process had resident, once
// it has ended. It reads the kernel's own mark, so that nothing is missed but the
// last moment.
func watchMemory(p *process) <-chan int64 {
	peak := make(chan int64, 1)
	go func() {
		var most int64
		for p.running() {
			most = max(most, residentMark(p.cmd.Process.Pid))
			time.Sleep(10 * time.Millisecond)
		}
		peak <- most
	}()
	return peak
}

// residentMark is VmHWM of a process (proc_pid_status(5)) in bytes, 0 once it has
// ended.
func residentMark(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	n, _ := strconv.ParseInt(kib, 10, 64)
	return n << 10
}
