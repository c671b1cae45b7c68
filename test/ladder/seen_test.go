package ladder

import (
	"strings"
	"testing"

	"wanrep/diskio/durable/crashfs"
	"wanrep/replicate"
)

// swapStore restarts the target with another disk.
func (s *sim) swapStore(fsys *crashfs.FS) {
	s.stopTarget()
	s.fs = fsys
	s.startTarget()
}

// warned runs the job and returns its warnings. Each is on the board too.
func (s *sim) warned() (warnings []string, report replicate.Report) {
	s.t.Helper()
	report, err := s.source.Run(s.t.Context(), "nightly")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, w := range report.VMs[0].Warnings {
		told := false
		for _, e := range s.sources.Status().Events {
			told = told || e.Level == "warning" && e.Text == w
		}
		if !told {
			s.t.Errorf("no event says %q", w)
		}
	}
	return report.VMs[0].Warnings, report
}

// TestLostStore replaces the target's store by an empty one, as after the loss of
// its disks. The next run says so, once, and sends everything.
func TestLostStore(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		for range 3 {
			if warnings, _ := s.warned(); warnings != nil {
				t.Errorf("with a good store: %q", warnings)
			}
		}
		s.swapStore(crashfs.New())
		warnings, report := s.warned()
		const want = "target dr has another store than before: 3 points of sql01 up to 2000-01-01 are not in it; the disks are sent whole"
		if len(warnings) != 1 || warnings[0] != want {
			t.Errorf("got %q, want %q", warnings, want)
		}
		for _, d := range report.VMs[0].Disks {
			if d.Data+d.SkippedZero != d.VirtualSize {
				t.Errorf("disk %s was not sent whole: %+v", d.Disk, d)
			}
		}
		s.checkReplica()
		if warnings, _ := s.warned(); warnings != nil {
			t.Errorf("told again: %q", warnings)
		}
	})
}

// TestStoreWentBack restores an old copy of the target's store.
func TestStoreWentBack(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		s.warned()
		old := copyOf(s.fs)
		s.warned()
		s.swapStore(old)
		warnings, _ := s.warned()
		if len(warnings) != 1 || !strings.Contains(warnings[0], "went back: point 0000000000000002 of sql01, of 2000-01-01, is gone from it or damaged; the newest is 0000000000000001") {
			t.Errorf("got %q", warnings)
		}
		if warnings, _ := s.warned(); warnings != nil {
			t.Errorf("told again: %q", warnings)
		}
	})
}
