package ladder

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"wanrep/diskio"
	"wanrep/replicate"
	"wanrep/resume"
)

// change writes to a disk between two runs: some blocks get new content, some
// become zeros, and some zeros become content.
func (d *memoryDisk) change(seed byte) (changed int64) { return d.changeEvery(17, seed) }

// changeEvery changes one of n blocks, and returns how many bytes got new content.
func (d *memoryDisk) changeEvery(n int, seed byte) (changed int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version++
	blocks := len(d.content) / diskio.BlockBytes
	for b := int(seed) % 5; b < blocks; b += n {
		block := d.content[b*diskio.BlockBytes:][:diskio.BlockBytes]
		if b%2 == 0 {
			clear(block)
			continue
		}
		for i := range block {
			block[i] = byte(i)*31 + seed + byte(i>>8)
		}
		changed += diskio.BlockBytes
	}
	return changed
}

// points opens the store beside the target.
func (s *sim) points() (*resume.Store, []resume.Point) {
	s.t.Helper()
	store, err := resume.OpenReadOnly(s.fs, storeConfig)
	if err != nil {
		s.t.Fatal(err)
	}
	points, err := store.List()
	if err != nil {
		s.t.Fatal(err)
	}
	return store, points
}

// content reads a disk of a point.
func content(t *testing.T, store *resume.Store, p resume.Point, disk string) []byte {
	t.Helper()
	c, err := store.OpenDisk(p, disk)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, c.Size())
	if _, err := c.ReadAt(b, 0); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

// TestIncrements runs again and again over disks that change, through cuts and
// power cuts. Each point stays what its disks were, byte for byte, which is promise 3,
// and only what changed goes over.
func TestIncrements(t *testing.T) {
	bubble(t, twoDisks(), func(t *testing.T, s *sim) {
		var were []map[string][]byte
		base := ""
		for round := range 5 {
			changed := map[string]int64{}
			now := map[string][]byte{}
			for name, d := range s.disks {
				changed[name] = d.Size()
				if round > 0 {
					changed[name] = d.change(byte(round))
				}
				now[name] = bytes.Clone(d.content)
			}
			were = append(were, now)
			report := s.increment(round)
			vm := report.VMs[0]
			if round > 0 && (vm.Base == nil || *vm.Base != base) {
				t.Errorf("point %s builds on %v, want %s", vm.Point, vm.Base, base)
			}
			base = vm.Point
			for _, d := range vm.Disks {
				if limit := changed[d.Disk] + changed[d.Disk]/20; d.Data-d.Resent > limit {
					t.Errorf("round %d, disk %s: %d bytes were sent for %d that changed", round, d.Disk, d.Data-d.Resent, changed[d.Disk])
				}
				if round > 0 && d.SkippedSame == 0 {
					t.Errorf("round %d, disk %s: nothing was the same", round, d.Disk)
				}
			}
		}
		store, points := s.points()
		if len(points) != len(were) {
			t.Fatalf("%d points, want %d", len(points), len(were))
		}
		for i, p := range points {
			for name, want := range were[i] {
				if !bytes.Equal(content(t, store, p, name), want) {
					t.Errorf("point %s: disk %s is not what it was", p.Point, name)
				}
			}
		}
		s.verifyAll()
	})
}

// increment runs the job with the trouble of its round.
func (s *sim) increment(round int) replicate.Report {
	s.t.Helper()
	done := make(chan error, 1)
	var report replicate.Report
	go func() {
		var err error
		report, err = s.source.Run(s.t.Context(), "nightly")
		done <- err
	}()
	switch round {
	case 2:
		s.router.cutAfter(s.router.total()+300<<10, time.Minute)
	case 3:
		time.Sleep(1100 * time.Millisecond)
		s.powerCut(7, 3*time.Second)
	}
	if err := <-done; err != nil {
		s.t.Fatalf("round %d: %v", round, err)
	}
	s.router.heal()
	return report
}

// TestDisksComeAndGo grows, shrinks, adds, removes and replaces disks between two runs.
// Each is handled by itself, and the report and the source's board say how.
func TestDisksComeAndGo(t *testing.T) {
	disks := map[string]*memoryDisk{
		"data": newDisk(30, 1), "grown": newDisk(10, 2), "logs": newDisk(20, 3), "os": newDisk(10, 4), "other": newDisk(6, 5), "sectors": newDisk(5, 6),
	}
	bubble(t, disks, func(t *testing.T, s *sim) {
		if report, err := s.source.Run(t.Context(), "nightly"); err != nil || report.VMs[0].Notes != nil || report.VMs[0].Disks[0].Note != "" {
			t.Fatalf("the first run: %+v, %v", report.VMs, err)
		}
		grown := disks["grown"]
		grown.content = append(grown.content, newDisk(10, 9).content...)
		grown.version++
		disks["os"] = newDisk(5, 7)
		disks["other"].id = "another"
		disks["sectors"].sector = 4096
		delete(disks, "logs")
		disks["temp"] = newDisk(4, 8)
		s.endpoint.Close()
		s.startSource()
		report, err := s.source.Run(t.Context(), "nightly")
		if err != nil {
			t.Fatal(err)
		}
		vm := report.VMs[0]
		const gone = "disk logs is not in the VM any more; point 0000000000000001 is the last that has it"
		if !slices.Equal(vm.Notes, []string{gone}) {
			t.Errorf("notes %q, want %q", vm.Notes, gone)
		}
		want := map[string]string{
			"data":    "",
			"grown":   "it grew from 655360 bytes to 1.2 MiB",
			"os":      "it was 655360 bytes and is 327680 bytes now: sent whole",
			"other":   "it is another disk than in point 0000000000000001, where its ID was 6568746f-3072-3231-3334-353637383961: sent whole",
			"sectors": "it had sectors of 512 (4096) bytes and has 4096 (4096) now: sent whole",
			"temp":    "it was not in point 0000000000000001: sent whole",
		}
		var told strings.Builder
		for _, e := range s.sources.Status().Events {
			told.WriteString(e.Text + "\n")
		}
		for _, d := range vm.Disks {
			if d.Note != want[d.Disk] {
				t.Errorf("disk %s: %q, want %q", d.Disk, d.Note, want[d.Disk])
			}
			if d.Note != "" && !strings.Contains(told.String(), "disk "+d.Disk+": "+d.Note) {
				t.Errorf("no event says of disk %s: %s", d.Disk, d.Note)
			}
			if whole := d.SkippedSame == 0; whole != strings.HasSuffix(want[d.Disk], "sent whole") {
				t.Errorf("disk %s was sent whole: %v", d.Disk, whole)
			}
		}
		if len(vm.Disks) != len(want) || !strings.Contains(told.String(), gone) {
			t.Errorf("%d disks; the events are\n%s", len(vm.Disks), told.String())
		}
		store, points := s.points()
		for name, d := range disks {
			if !bytes.Equal(content(t, store, points[1], name), d.content) {
				t.Errorf("disk %s is not what it was", name)
			}
		}
	})
}

// TestDamagedBaseIsNotBuiltOn loses the base's file. The next run sends the disk
// whole, and says so by its report.
func TestDamagedBaseIsNotBuiltOn(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		if _, err := s.source.Run(t.Context(), "nightly"); err != nil {
			t.Fatal(err)
		}
		if err := s.fs.Remove("branch/sql01/points/0000000000000001/data.vhdx"); err != nil {
			t.Fatal(err)
		}
		for _, d := range s.disks {
			d.change(1)
		}
		report, err := s.source.Run(t.Context(), "nightly")
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range report.VMs[0].Disks {
			if d.Disk == "data" && d.SkippedSame > 0 {
				t.Error("disk data was built on a base that is gone")
			}
			if !strings.Contains(d.Note, "point 0000000000000001 can't be built on, it is damaged") {
				t.Errorf("disk %s: the note is %q", d.Disk, d.Note)
			}
		}
		store, points := s.points()
		if !bytes.Equal(content(t, store, points[len(points)-1], "data"), s.disks["data"].content) {
			t.Error("disk data is not what it was")
		}
	})
}

// TestDiskChangesWhileParked parks a run in the middle and changes a hundredth of the
// disks. The next run completes the same point, and sends what was missing and what
// changed, no more.
func TestDiskChangesWhileParked(t *testing.T) {
	disks := map[string]*memoryDisk{"data": newDisk(300, 1), "os": newDisk(40, 2)}
	bubble(t, disks, func(t *testing.T, s *sim) {
		s.router.cutAfter(6<<20, 10*time.Hour)
		report, err := s.source.Run(t.Context(), "nightly")
		if !errors.Is(err, replicate.ErrRedialSpent) {
			t.Fatalf("got %v, want that the redial window was spent", err)
		}
		point, durable := report.VMs[0].Point, s.durableAtTarget()
		if durable["data"] == 0 || durable["data"] == s.disks["data"].Size() {
			t.Fatalf("the run was parked at %d, which is not in the middle", durable["data"])
		}
		limit := map[string]int64{}
		for name, d := range s.disks {
			limit[name] = d.changeEvery(100, 7) + dataIn(d.content[durable[name]:])
		}

		// The comparison itself is cut off once, and goes on in the same run.
		s.router.cutAfter(s.router.total()+200<<10, time.Minute)
		attempts := s.attempts
		report, err = s.source.Run(t.Context(), "nightly")
		if err != nil {
			t.Fatal(err)
		}
		if s.attempts == attempts {
			t.Error("the line was not cut")
		}
		if got := report.VMs[0].Point; got != point {
			t.Errorf("the next run completed point %s, want the parked %s", got, point)
		}
		for _, d := range report.VMs[0].Disks {
			if d.Data-d.Resent > limit[d.Disk] {
				t.Errorf("disk %s: %d bytes were sent, of them %d twice; %d were missing or had changed", d.Disk, d.Data, d.Resent, limit[d.Disk])
			}
			if d.Disk == "data" && d.SkippedSame == 0 {
				t.Error("nothing of disk data was there already")
			}
		}
		s.checkReplica()
		s.verifyAll()
	})
}

// dataIn returns how many bytes are in blocks that are not zeros.
func dataIn(content []byte) (n int64) {
	zero := make([]byte, diskio.BlockBytes)
	for block := range slices.Chunk(content, diskio.BlockBytes) {
		if !bytes.Equal(block, zero) {
			n += int64(len(block))
		}
	}
	return n
}

// verifyAll verifies every point.
func (s *sim) verifyAll() {
	s.t.Helper()
	store, points := s.points()
	for _, p := range points {
		err := resume.Verify(s.t.Context(), store, p, func(problem resume.VerifyProblem) { s.t.Errorf("point %s: %+v", p.Point, problem) })
		if err != nil {
			s.t.Errorf("verify point %s: %v", p.Point, err)
		}
	}
}
