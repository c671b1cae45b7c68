package ladder

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"wanrep/diskio"
	"wanrep/replicate"
	"wanrep/resume"
)

// scrubbing starts the target anew, so that it reads all of its points every hour.
func (s *sim) scrubbing() {
	s.stopTarget()
	s.scrub = replicate.ScrubRules{Every: time.Hour, Sample: 1, MaxRate: 1 << 20}
	s.startTarget()
}

// rot flips a bit in blocks of a disk where a point's file has them.
func (s *sim) rot(point int, disk string, content []byte, blocks ...int) {
	s.t.Helper()
	name := path.Join("branch/sql01/points", fmt.Sprintf("%016x", point), disk+".vhdx")
	must := func(err error) {
		if err != nil {
			s.t.Fatal(err)
		}
	}
	must(s.fs.Chmod(name, 0o644))
	f, err := s.fs.OpenFile(name, os.O_RDWR, 0)
	must(err)
	info, err := f.Stat()
	must(err)
	file := make([]byte, info.Size())
	_, err = f.ReadAt(file, 0)
	must(err)
	for _, b := range blocks {
		at := bytes.Index(file, content[b*diskio.BlockBytes:][:diskio.BlockBytes])
		if at < 0 {
			s.t.Fatalf("point %d has no block %d of disk %s", point, b, disk)
		}
		_, err := f.WriteAt([]byte{file[at+1000] ^ 16}, int64(at+1000))
		must(err)
	}
	must(f.Sync())
	must(f.Close())
	must(s.fs.Chmod(name, 0o444))
}

// damage returns what the store knows to be damaged, as "point disk: blocks".
func (s *sim) damage() (found []string) {
	s.t.Helper()
	_, points := s.points()
	for _, p := range points {
		for _, d := range p.Damage {
			var text strings.Builder
			text.WriteString(strings.TrimLeft(p.Point, "0") + " " + d.Disk + ":")
			for _, e := range d.Extents {
				text.WriteString(fmt.Sprintf(" %d-%d", e.Start/diskio.BlockBytes, (e.Start+e.Length)/diskio.BlockBytes))
			}
			found = append(found, text.String())
		}
	}
	return found
}

func (s *sim) wantDamage(when string, want ...string) {
	s.t.Helper()
	if got := s.damage(); !slices.Equal(got, want) {
		s.t.Errorf("%s: the damage is %q, want %q", when, got, want)
	}
	shown := s.board.Status().VMs[0].Damage
	if (shown == "") != (len(want) == 0) {
		s.t.Errorf("%s: the board shows the damage %q", when, shown)
	}
}

// wantBlocks checks how many blocks of disk data are damaged now, and how many were found
// and healed since the target was started.
func (s *sim) wantBlocks(when string, damaged, found, healed int64) {
	s.t.Helper()
	for _, d := range s.board.Counters().Disks {
		got := [3]int64{d.Damaged, d.Found, d.Healed}
		if want := [3]int64{damaged, found, healed}; d.Disk == "data" && got != want {
			s.t.Errorf("%s: damaged, found and healed are %d, want %d", when, got, want)
		} else if d.Disk != "data" && got != [3]int64{} {
			s.t.Errorf("%s: disk %s: %d", when, d.Disk, got)
		}
	}
}

// told reports whether the target's operator was told something.
func (s *sim) told(text string) bool {
	for _, e := range s.board.Status().Events {
		if strings.Contains(e.Text, text) {
			return true
		}
	}
	return false
}

// TestRotIsScrubbedAndHealed lets blocks of two points rot, which the scrub finds. The
// next run sends those and nothing else, though nothing has changed, and the target
// puts them back into the points where they had rotted.
func TestRotIsScrubbedAndHealed(t *testing.T) {
	bubble(t, twoDisks(), func(t *testing.T, s *sim) {
		s.scrubbing()
		run := func() replicate.Report {
			report, err := s.source.Run(t.Context(), "nightly")
			if err != nil {
				t.Fatal(err)
			}
			return report
		}
		first := bytes.Clone(s.disks["data"].content)
		run()
		s.disks["data"].change(1) // blocks 1, 18, 35 and so on
		run()
		s.wantDamage("before anything rots")
		time.Sleep(2 * time.Hour)
		rotten := time.Now()
		s.rot(1, "data", first, 3, 4, 30)
		s.rot(2, "data", s.disks["data"].content, 1)
		time.Sleep(2 * time.Hour)
		s.wantDamage("after a scrub", "1 data: 3-5 30-31", "2 data: 1-2")
		s.wantBlocks("after a scrub", 4, 4, 0)
		if at := s.board.Status().VMs[0].Verified; at.IsZero() || at.After(rotten) {
			t.Errorf("verified at %v; what was found good has rotted at %v", at, rotten)
		}
		if !s.told("found damage: disk data of point 0000000000000001: 3 blocks, the first at 196608") {
			t.Errorf("nobody was told of the damage: %+v", s.board.Status().Events)
		}

		// What is known survives a restart, and the scrub of the new process.
		s.powerCut(3, time.Minute)
		s.wantDamage("after a power cut", "1 data: 3-5 30-31", "2 data: 1-2")
		s.wantBlocks("after a power cut", 4, 0, 0)
		for _, d := range run().VMs[0].Disks {
			want := int64(0)
			if d.Disk == "data" {
				want = 4 * diskio.BlockBytes
			}
			if d.Data != want {
				t.Errorf("disk %s: %d bytes were sent, want %d", d.Disk, d.Data, want)
			}
		}
		time.Sleep(time.Minute)
		s.wantDamage("after the next run")
		s.wantBlocks("after the next run", 0, 0, 4)
		time.Sleep(2 * time.Hour)
		if at := s.board.Status().VMs[0].Verified; time.Since(at) > time.Hour {
			t.Errorf("verified at %v, %v ago", at, time.Since(at))
		}
		for _, text := range []string{"healed 3 blocks of disk data in point 0000000000000001", "healed 1 block of disk data in point 0000000000000002"} {
			if !s.told(text) {
				t.Errorf("nobody was told: %s", text)
			}
		}
		s.verifyAll()
		store, points := s.points()
		if len(points) != 3 || !bytes.Equal(content(t, store, points[0], "data"), first) {
			t.Errorf("%d points, and the first is not what it was", len(points))
		}
	})
}

// TestRotIsHealedWithAChangeList has a source that reads only what changed, and the
// blocks that have rotted.
func TestRotIsHealedWithAChangeList(t *testing.T) {
	onChain(t, 16<<20, func(t *testing.T, s *sim, c *chain) {
		s.scrubbing()
		c.replicated(s)
		s.rot(1, "data", c.content, 6, 7, 100)
		time.Sleep(2 * time.Hour)
		s.wantDamage("after a scrub", "1 data: 6-8 100-101")
		c.checkpoint(rand.New(rand.NewPCG(5, 5)), 0)
		d := c.replicated(s)
		if want := int64(3 * diskio.BlockBytes); !d.ChangeList || d.Data != want || d.Read != want {
			t.Errorf("%d bytes were read and %d sent, by a change list (%v), want %d", d.Read, d.Data, d.ChangeList, want)
		}
		time.Sleep(time.Minute)
		s.wantDamage("after the next run")
		s.verifyAll()
	})
}

// TestRotThatChangedAtTheSource can't be healed, and stays reported with the reason.
func TestRotThatChangedAtTheSource(t *testing.T) {
	bubble(t, twoDisks(), func(t *testing.T, s *sim) {
		s.scrubbing()
		for range 2 {
			if _, err := s.source.Run(t.Context(), "nightly"); err != nil {
				t.Fatal(err)
			}
			if len(s.damage()) == 0 {
				s.rot(1, "data", s.disks["data"].content, 1)
				time.Sleep(2 * time.Hour)
				s.disks["data"].change(1)
			}
		}
		time.Sleep(2 * time.Hour)
		s.wantDamage("after the next run", "1 data: 1-2")
		if shown := s.board.Status().VMs[0].Damage; !strings.Contains(shown, "has changed at the source since") {
			t.Errorf("the board says %q", shown)
		}
		store, points := s.points()
		bad := 0
		if err := resume.Verify(t.Context(), store, points[1], func(resume.VerifyProblem) { bad++ }); err != nil || bad > 0 {
			t.Errorf("the new point has %d problems: %v", bad, err)
		}
	})
}
