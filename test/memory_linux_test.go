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

// TestMemoryOfHugeDisks sends eight disks of 64 TiB at once, sends what changed of them,
// and lets everything be done with the points that reads or writes whole disks.
func TestMemoryOfHugeDisks(t *testing.T) {
	dir := t.TempDir()
	makeDisks := func(changed int) (disks []disk) {
		for i := range hugeDisks {
			disks = append(disks, hugeDisk(t, dir, fmt.Sprintf("disk%d", i), byte(i), changed))
		}
		return disks
	}
	tg := newTarget(t, "127.0.0.1", "", nil)
	tg.serve()
	s := newSource(t, makeDisks(0), nil)
	s.pair(tg, tg.address)
	var peaks []peak
	run := func(what string, extents int64) {
		run := s.run()
		peaks = append(peaks, watchMemory("the source, "+what, run))
		for _, d := range finish(run, 0).VMs[0].Disks {
			if d.VirtualSize != diskio.MaxVirtualSize || d.Data != extents<<20 {
				t.Errorf("%s: disk %s: %d bytes of data of %d, want %d of %d", what, d.Disk, d.Data, d.VirtualSize, extents<<20, int64(diskio.MaxVirtualSize))
			}
		}
	}
	peaks = append(peaks, watchMemory("the target", tg.serving))
	run("the first run", hugeExtents)
	makeDisks(1)
	run("a run of what changed", 1)
	if code := tg.serving.stop(); code != 0 {
		t.Errorf("the target stopped with exit code %d", code)
	}
	do := func(s *site, args ...string) {
		p := s.start(args...)
		peaks = append(peaks, watchMemory(strings.Join(args[:3], " "), p))
		if code := p.wait(); code != 0 {
			t.Errorf("wanrep %v ended with exit code %d\n%s%s", args, code, p.stdout.String(), p.stderr.String())
		}
	}
	tg.configure("[retention]\nlast = 1\nmin_age = \"0s\"\n")
	do(tg.site, "points", "verify", "--config", tg.config)
	do(tg.site, "points", "prune", "--config", tg.config)
	do(tg.site, "points", "verify", "--config", tg.config)
	seeds := filepath.Join(dir, "seeds")
	if err := os.Mkdir(seeds, 0o755); err != nil {
		t.Fatal(err)
	}
	do(s.site, "points", "seed", "export", "--config", s.config, "--vm", "sql01", "--to", seeds)
	do(tg.site, "points", "seed", "import", "--store", filepath.Join(dir, "store"), "--from", seeds)
	for _, p := range peaks {
		most := <-p.bytes
		t.Logf("%s: at most %d MiB resident", p.what, most>>20)
		if most == 0 || most >= mostMemory {
			t.Errorf("%s had %d MiB resident, want less than %d", p.what, most>>20, mostMemory>>20)
		}
	}
}

// hugeDisk makes a VHDX of the largest size there is. So many of its extents are other
// ones than those of an unchanged disk.
func hugeDisk(t *testing.T, dir, name string, seed byte, changed int) disk {
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
	content := make([]byte, 1<<20)
	for i := range int64(hugeExtents) {
		of := [32]byte{seed, byte(i)}
		if i < int64(changed) {
			of[2] = 1
		}
		rand.NewChaCha8(of).Read(content)
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

// A peak is the most memory in bytes that a process had resident, which is known once it
// has ended.
type peak struct {
	what  string
	bytes <-chan int64
}

// watchMemory watches a process. It reads the kernel's own mark, so that nothing is missed
// but the last moment.
func watchMemory(what string, p *process) peak {
	bytes := make(chan int64, 1)
	go func() {
		var most int64
		for p.running() {
			most = max(most, residentMark(p.cmd.Process.Pid))
			time.Sleep(10 * time.Millisecond)
		}
		bytes <- most
	}()
	return peak{what, bytes}
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
