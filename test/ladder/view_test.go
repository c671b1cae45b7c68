package ladder

import (
	"strings"
	"testing"
	"time"

	"wanrep/diskio/durable"
	"wanrep/replicate/progress"
	"wanrep/resume"
)

// TestSourceAsksItsTarget asks before a run, over a link of its own, in the middle of
// one, over the run's, and while the line is cut.
func TestSourceAsksItsTarget(t *testing.T) {
	bubble(t, map[string]*memoryDisk{"data": newDisk(800, 1)}, func(t *testing.T, s *sim) {
		defer time.Sleep(time.Minute) // the link of its own is closed
		for range 3 {
			view, err := s.source.PeerStatus(t.Context(), "dr")
			if err != nil {
				t.Fatal(err)
			}
			if view.Role != "target" || view.Name != "dr" || len(view.VMs) != 0 {
				t.Errorf("before the first run: %+v", view)
			}
			time.Sleep(time.Second)
		}
		if s.dials != 1 {
			t.Errorf("%d links for three questions, want one", s.dials)
		}
		time.Sleep(time.Minute)

		done := make(chan error, 1)
		go func() {
			_, err := s.source.Run(t.Context(), "nightly")
			done <- err
		}()
		disk := s.disks["data"]
		for disk.wasRead() < disk.Size()/4 {
			time.Sleep(10 * time.Millisecond)
		}
		view, err := s.source.PeerStatus(t.Context(), "dr")
		if err != nil {
			t.Fatal(err)
		}
		if len(view.VMs) != 1 || view.VMs[0].VM != "sql01" || view.VMs[0].State != progress.Receiving {
			t.Errorf("in the run: %+v", view.VMs)
		}
		points, err := s.source.PeerPoints(t.Context(), "dr", "sql01")
		if err != nil || len(points.Points) != 1 || points.Points[0].State != resume.StatePart {
			t.Errorf("the points in the run: %+v, %v", points, err)
		}
		if s.dials != 1 {
			t.Errorf("%d links of its own, want none for the questions in the run", s.dials)
		}

		s.router.cut()
		for s.sources.Status().VMs[0].State != progress.Stalled {
			time.Sleep(time.Second)
		}
		if _, err := s.source.PeerStatus(t.Context(), "dr"); err == nil || !strings.Contains(err.Error(), "the line is lost") {
			t.Errorf("while the line is cut: %v", err)
		}
		s.router.heal()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		view, err = s.source.PeerStatus(t.Context(), "dr")
		if err != nil || view.VMs[0].Points != 1 {
			t.Errorf("after the run: %+v, %v", view.VMs, err)
		}
		points, err = s.source.PeerPoints(t.Context(), "dr", "sql01")
		if err != nil || len(points.Points) != 1 || points.Points[0].State != resume.StateCommitted || points.Older != 0 {
			t.Errorf("the points after the run: %+v, %v", points, err)
		}
		if points, err = s.source.PeerPoints(t.Context(), "dr", "../branch/sql01"); err != nil || len(points.Points) != 0 {
			t.Errorf("the points of a VM that is not there: %+v, %v", points, err)
		}
		s.checkReplica()
	})
}

// TestDamagedPointIsShown destroys the manifest of a point while the target is down.
// The target shows it after the start, and tells its source.
func TestDamagedPointIsShown(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		defer time.Sleep(time.Minute) // the link that looks is closed
		if _, err := s.source.Run(t.Context(), "nightly"); err != nil {
			t.Fatal(err)
		}
		s.stopTarget()
		name := "branch/sql01/points/" + s.board.Status().VMs[0].Point + "/manifest.json"
		if err := s.fs.Chmod(name, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := durable.WriteFile(s.fs, name, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.startTarget()
		view, err := s.source.PeerStatus(t.Context(), "dr")
		if err != nil {
			t.Fatal(err)
		}
		if len(view.VMs) != 1 || !strings.Contains(view.VMs[0].Damage, "can't be read") || len(view.Events) == 0 {
			t.Errorf("the source is told %+v and %+v", view.VMs, view.Events)
		}
	})
}
