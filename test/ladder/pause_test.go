package ladder

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"wanrep/replicate"
	"wanrep/replicate/progress"
)

// TestPauseHoldsTheLink pauses a run for an hour. It reads no more, keeps its link,
// and goes on in the same point.
func TestPauseHoldsTheLink(t *testing.T) {
	bubble(t, map[string]*memoryDisk{"data": newDisk(800, 1)}, func(t *testing.T, s *sim) {
		done := make(chan error, 1)
		go func() {
			_, err := s.source.Run(t.Context(), "nightly")
			done <- err
		}()
		disk := s.disks["data"]
		for disk.wasRead() == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if err := s.source.Pause("nightly", "the line is needed"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // what was read ahead is sent
		before := disk.wasRead()
		if before == disk.Size() {
			t.Fatal("the run was over before the pause")
		}
		time.Sleep(time.Hour)
		if got := disk.wasRead(); got != before {
			t.Errorf("%d bytes were read in the pause", got-before)
		}
		status := s.sources.Status()
		if p := status.Jobs[0].Pause; !p.Paused || p.PausedBecause != "the line is needed" || time.Since(p.PausedSince) < time.Hour {
			t.Errorf("the job shows %+v", p)
		}
		if d := status.VMs[0].Disks[0]; !strings.Contains(d.Because, "paused by the operator: the line is needed") {
			t.Errorf("the disk shows %q", d.Because)
		}
		for _, e := range status.Events {
			if strings.Contains(e.Text, "dropped") {
				t.Errorf("the link was not kept: %s", e.Text)
			}
		}
		if _, err := s.source.Run(t.Context(), "nightly"); !errors.Is(err, replicate.ErrPaused) {
			t.Errorf("another run by hand: %v, want %v", err, replicate.ErrPaused)
		}
		if err := s.source.Resume(""); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if p := s.sources.Status().Jobs[0].Pause; p.Paused {
			t.Errorf("after the run the job shows %+v", p)
		}
		s.checkReplica()
	})
}

// TestPausedScheduleCatchesUp pauses everything over the time of a scheduled run,
// which begins when the pause ends.
func TestPausedScheduleCatchesUp(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.source.Serve(ctx) }()
		if err := s.source.Pause("", ""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Hour)
		if status := s.sources.Status(); !status.Paused || !status.Jobs[0].LastRun.IsZero() {
			t.Errorf("paused %v, last run %v; want a pause and no run", status.Paused, status.Jobs[0].LastRun)
		}
		if err := s.source.Resume(""); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if status := s.sources.Status(); status.Paused || status.Jobs[0].Outcome != progress.Committed {
			t.Errorf("a minute after the pause: paused %v, outcome %q", status.Paused, status.Jobs[0].Outcome)
		}
		if err := s.source.Pause("weekly", ""); !errors.Is(err, replicate.ErrUnknownJob) {
			t.Errorf("a job that is not there: %v", err)
		}
		cancel()
		<-served
	})
}
