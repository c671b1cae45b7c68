package ladder

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/durable/crashfs"
	"wanrep/replicate"
	"wanrep/replicate/progress"
)

func twoDisks() map[string]*memoryDisk {
	return map[string]*memoryDisk{"data": newDisk(200, 1), "os": newDisk(40, 2)}
}

func TestRunWithoutTrouble(t *testing.T) {
	bubble(t, twoDisks(), func(t *testing.T, s *sim) {
		report, err := s.source.Run(t.Context(), "nightly")
		if err != nil {
			t.Fatal(err)
		}
		s.checkReplica()
		for _, d := range report.VMs[0].Disks {
			size := s.disks[d.Disk].Size()
			if d.Data+d.SkippedZero != size || d.Resent != 0 || d.Root == "" {
				t.Errorf("disk %s: %+v of %d bytes", d.Disk, d, size)
			}
		}
		if report.Outcome != "committed" || report.VMs[0].Point == "" {
			t.Errorf("report %+v", report)
		}
		for _, board := range []*progress.Board{s.board, s.sources} {
			if v := board.Status().VMs[0]; v.RPO != 26*3600 || v.Late() {
				t.Errorf("after the run: RPO of %v seconds, late %v; want that of the job, and in time", v.RPO, v.Late())
			}
			time.Sleep(13*time.Hour + time.Second)
		}
		if !s.board.Status().VMs[0].Late() {
			t.Error("a day without a run later the target takes the VM for in time")
		}
	})
}

func TestCuts(t *testing.T) {
	tests := []struct {
		name   string
		after  int64 // bytes carried
		outage time.Duration
		dials  int // attempts, at the most
	}{
		{"three seconds", 3 << 20, 3 * time.Second, 1},
		{"a minute", 3 << 20, time.Minute, 7},
		{"ten minutes", 1 << 20, 10 * time.Minute, 43},
		{"almost the whole window", 5 << 20, 29*time.Minute + 40*time.Second, 122},
		{"right after the handshake", 20 << 10, 2 * time.Minute, 12},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, twoDisks(), func(t *testing.T, s *sim) {
				s.router.cutAfter(test.after, test.outage)
				report, err := s.source.Run(t.Context(), "nightly")
				if err != nil {
					t.Fatal(err)
				}
				s.checkReplica()
				if s.attempts > test.dials {
					t.Errorf("%d attempts, want at most %d", s.attempts, test.dials)
				}
				for _, d := range report.VMs[0].Disks {
					if d.Resent > 6<<20 {
						t.Errorf("disk %s: %d bytes were sent twice", d.Disk, d.Resent)
					}
				}
			})
		})
	}
}

// TestParkAndComplete takes the line away for 35 minutes. The next run sends what is
// missing and nothing below that, which is promise 5. What it logs as measured is a row
// of "bench reattach".
func TestParkAndComplete(t *testing.T) {
	bubble(t, twoDisks(), func(t *testing.T, s *sim) {
		const outage = 35 * time.Minute
		began := time.Now()
		s.router.cutAfter(4<<20, outage)
		report, err := s.source.Run(t.Context(), "nightly")
		if !errors.Is(err, replicate.ErrRedialSpent) || report.Outcome != "parked" {
			t.Fatalf("outcome %q and error %v, want parked for the spent window", report.Outcome, err)
		}
		parked := time.Since(began)
		if parked < 30*time.Minute || parked > 31*time.Minute {
			t.Errorf("parked after %v, want about 30 minutes", parked)
		}
		point := report.VMs[0].Point
		durable := s.durableAtTarget()
		if durable["data"] == 0 {
			t.Fatal("nothing was durable when the point was parked")
		}
		if !tells(report, "the line dropped: ") || !tells(report, "parked: ") {
			t.Errorf("the report does not tell how the run went: %+v", report.Events)
		}
		attempts, data := s.attempts, dataOf(report)

		time.Sleep(outage - parked + time.Minute)
		read := s.disks["data"].wasRead()
		report, err = s.source.Run(t.Context(), "nightly")
		if err != nil {
			t.Fatal(err)
		}
		if got := report.VMs[0].Point; got != point {
			t.Errorf("the next run completed point %s, want the parked %s", got, point)
		}
		if !tells(report, "disk data continues at ") || tells(report, "parked: ") {
			t.Errorf("the report does not tell how the run went, and only that: %+v", report.Events)
		}
		s.checkReplica()
		for _, d := range report.VMs[0].Disks {
			if rest := s.disks[d.Disk].Size() - durable[d.Disk]; d.Data > rest {
				t.Errorf("disk %s: %d bytes were sent, but only %d were missing", d.Disk, d.Data, rest)
			}
		}
		if again := s.disks["data"].wasRead() - read; again < s.disks["data"].Size() {
			t.Errorf("the source proved only %d bytes of the disk it had sent before", again)
		}
		for _, d := range s.disks {
			data -= d.contentBytes()
		}
		t.Logf("measured: parked after %.1f min and %d attempts; the next run sent %d bytes twice",
			parked.Minutes(), attempts, data+dataOf(report))
	})
}

// tells reports whether an event of a run begins with a text.
func tells(r replicate.Report, text string) bool {
	return slices.ContainsFunc(r.Events, func(e progress.Event) bool { return strings.HasPrefix(e.Text, text) })
}

// dataOf is how much content a run sent.
func dataOf(r replicate.Report) (sum int64) {
	for _, d := range r.VMs[0].Disks {
		sum += d.Data
	}
	return sum
}

// durableAtTarget is what the target's board says of each disk.
func (s *sim) durableAtTarget() map[string]int64 {
	offsets := map[string]int64{}
	for _, vm := range s.board.Status().VMs {
		for _, d := range vm.Disks {
			offsets[d.Disk] = d.Durable
		}
	}
	return offsets
}

func TestFlapsWithProgressGoOnForHours(t *testing.T) {
	bubble(t, map[string]*memoryDisk{"data": newDisk(600, 1)}, func(t *testing.T, s *sim) {
		// The line carries 3 MiB, then is gone for 20 minutes, again and again.
		var since time.Time
		next := int64(3 << 20)
		s.router.down = func(carried int64) bool {
			if carried < next {
				return false
			}
			if since.IsZero() {
				since = time.Now()
			}
			if time.Since(since) < 20*time.Minute {
				return true
			}
			since, next = time.Time{}, carried+3<<20
			return false
		}
		began := time.Now()
		if _, err := s.source.Run(t.Context(), "nightly"); err != nil {
			t.Fatal(err)
		}
		s.checkReplica()
		if took := time.Since(began); took < 2*time.Hour {
			t.Errorf("done after %v, but the outages alone were longer", took)
		}
	})
}

func TestInterruptParks(t *testing.T) {
	bubble(t, twoDisks(), func(t *testing.T, s *sim) {
		ctx, cancel := context.WithCancel(t.Context())
		s.router.cutAfter(3<<20, time.Minute)
		time.AfterFunc(30*time.Second, cancel)
		report, err := s.source.Run(ctx, "nightly")
		if !errors.Is(err, replicate.ErrInterrupted) || report.Outcome != "parked" {
			t.Fatalf("outcome %q and error %v, want parked and interrupted", report.Outcome, err)
		}
		time.Sleep(2 * time.Minute)
		again, err := s.source.Run(t.Context(), "nightly")
		if err != nil {
			t.Fatal(err)
		}
		if again.VMs[0].Point != report.VMs[0].Point {
			t.Errorf("point %s, want %s", again.VMs[0].Point, report.VMs[0].Point)
		}
		s.checkReplica()
	})
}

func TestChangedDiskFailsItsVM(t *testing.T) {
	bubble(t, twoDisks(), func(t *testing.T, s *sim) {
		s.router.cutAfter(3<<20, time.Minute)
		time.AfterFunc(30*time.Second, func() {
			s.disks["data"].mu.Lock()
			s.disks["data"].version++
			s.disks["data"].mu.Unlock()
		})
		report, err := s.source.Run(t.Context(), "nightly")
		var changed *diskio.ChangedError
		if !errors.As(err, &changed) || report.Outcome != "failed" {
			t.Fatalf("outcome %q and error %v, want failed for a changed disk", report.Outcome, err)
		}
		for _, vm := range s.board.Status().VMs {
			if vm.Points != 0 {
				t.Errorf("the target committed %d points of a changed disk", vm.Points)
			}
		}
	})
}

func TestFullTargetIsNoOutage(t *testing.T) {
	bubble(t, twoDisks(), func(t *testing.T, s *sim) {
		s.fs.SetSpace(70 << 20)
		began := time.Now()
		report, err := s.source.Run(t.Context(), "nightly")
		var refused *replicate.RefusedError
		if !errors.As(err, &refused) || refused.Code != "full" || report.Outcome != "failed" {
			t.Fatalf("outcome %q and error %v, want failed because the target is full", report.Outcome, err)
		}
		if took := time.Since(began); took > time.Minute || s.attempts > 1 {
			t.Errorf("took %v and %d attempts: a full target went down the ladder", took, s.attempts)
		}
		s.fs.SetSpace(1 << 40)
		again, err := s.source.Run(t.Context(), "nightly")
		if err != nil {
			t.Fatal(err)
		}
		if again.VMs[0].Point != report.VMs[0].Point {
			t.Errorf("point %s, want %s", again.VMs[0].Point, report.VMs[0].Point)
		}
		s.checkReplica()
	})
}

func TestBoardTellsOfTheOutage(t *testing.T) {
	bubble(t, twoDisks(), func(t *testing.T, s *sim) {
		s.router.cutAfter(3<<20, 5*time.Minute)
		done := make(chan error, 1)
		go func() {
			_, err := s.source.Run(t.Context(), "nightly")
			done <- err
		}()
		time.Sleep(3 * time.Minute)
		vm := s.sources.Status().VMs[0]
		if vm.State != progress.Stalled || vm.Because == "" {
			t.Errorf("during the outage the VM is %q because %q, want stalled and a reason", vm.State, vm.Because)
		}
		for _, d := range vm.Disks {
			if d.State != progress.Complete && !strings.Contains(d.Because, "continues at") {
				t.Errorf("disk %s is %q because %q, want where it continues", d.Disk, d.State, d.Because)
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if vm := s.sources.Status().VMs[0]; vm.State != progress.Committed || vm.Newest.IsZero() {
			t.Errorf("at the end the VM is %q, newest point %v", vm.State, vm.Newest)
		}
	})
}

// TestPowerCuts cuts the target's power again and again during one run. What was
// acknowledged is there each time it comes back, which is promise 4.
func TestPowerCuts(t *testing.T) {
	told := 0
	for seed := range uint64(12) {
		bubble(t, twoDisks(), func(t *testing.T, s *sim) {
			done := make(chan error, 1)
			go func() {
				_, err := s.source.Run(t.Context(), "nightly")
				done <- err
			}()
			for cut := range uint64(4) {
				time.Sleep(time.Duration(1200+137*seed+311*cut) * time.Millisecond)
				acknowledged := s.durableAtSource()
				if acknowledged["data"] > 0 {
					told++
				}
				s.powerCut(seed+100*cut, 3*time.Second)
				for disk, offset := range s.durableAtTarget() {
					if offset < acknowledged[disk] {
						t.Errorf("seed %d, cut %d: disk %s came back with %d bytes, but %d were acknowledged", seed, cut, disk, offset, acknowledged[disk])
					}
				}
			}
			if err := <-done; err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			s.checkReplica()
		})
	}
	if told < 12 {
		t.Errorf("only %d cuts came when something was acknowledged", told)
	}
}

// durableAtSource is what the source was told to be durable.
func (s *sim) durableAtSource() map[string]int64 {
	offsets := map[string]int64{}
	for _, vm := range s.sources.Status().VMs {
		for _, d := range vm.Disks {
			offsets[d.Disk] = d.Durable
		}
	}
	return offsets
}

// runUntilCommit runs the job and returns when the target has committed. The line is cut
// then, so that the source does not learn of it; done gets what the run comes to.
func (s *sim) runUntilCommit() (done <-chan error) {
	committed := make(chan struct{})
	s.fs.Trace(func(op crashfs.Op) {
		if op.Kind == "rename" && strings.Contains(op.To, "/points/") {
			s.router.cut()
			close(committed)
		}
	})
	ended := make(chan error, 1)
	go func() {
		_, err := s.source.Run(s.t.Context(), "nightly")
		ended <- err
	}()
	<-committed
	return ended
}

// TestAnswerToCommitGetsLost cuts the line when the target has committed and
// before the source learns of it. There is one point in the end, not two.
func TestAnswerToCommitGetsLost(t *testing.T) {
	for _, power := range []bool{false, true} {
		bubble(t, twoDisks(), func(t *testing.T, s *sim) {
			done := s.runUntilCommit()
			time.Sleep(10 * time.Second)
			if power {
				s.powerCut(1, time.Second)
			} else {
				s.router.heal()
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			s.checkReplica()
		})
	}
}

// TestScheduledRunIsRetried lets a scheduled run fail for a full target. It is
// tried again in the regular manner, and by hand it is not.
func TestScheduledRunIsRetried(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		s.fs.SetSpace(1 << 20)
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.source.Serve(ctx) }()
		first := s.sources.Status().Jobs[0].Next
		for first.IsZero() {
			time.Sleep(time.Second)
			first = s.sources.Status().Jobs[0].Next
		}
		time.Sleep(time.Until(first) + 15*time.Minute) // the run, and the first retry
		job := s.sources.Status().Jobs[0]
		if job.Outcome != progress.Failed || job.Try != 1 || !strings.Contains(job.Because, "no space") {
			t.Errorf("after a retry: %+v", job)
		}
		s.fs.SetSpace(1 << 40)
		time.Sleep(10 * time.Minute)
		job = s.sources.Status().Jobs[0]
		if job.Outcome != progress.Committed || job.Try != 2 {
			t.Errorf("after the second retry: %+v", job)
		}
		s.checkReplica()
		// A run by hand leaves the schedule as it is.
		next := job.Next
		if _, err := s.source.Run(t.Context(), "nightly"); err != nil {
			t.Error(err)
		}
		if got := s.sources.Status().Jobs[0].Next; next.IsZero() || !got.Equal(next) {
			t.Errorf("after a run by hand the next one is due at %v, and was at %v", got, next)
		}
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}

		s.fs.SetSpace(1 << 20)
		if report, err := s.source.Run(t.Context(), "nightly"); err == nil || report.Duration > 60 {
			t.Errorf("by hand: error %v after %v s, want one at once", err, report.Duration)
		}
	})
}

// TestRetriesEnd lets every try fail: the run and three retries.
func TestRetriesEnd(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		s.fs.SetSpace(1 << 20)
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- s.source.Serve(ctx) }()
		time.Sleep(24 * time.Hour)
		cancel()
		<-served
		failed := 0
		for _, e := range s.sources.Status().Events {
			if strings.HasPrefix(e.Text, "failed: ") {
				failed++
			}
		}
		if failed != 4 {
			t.Errorf("%d failed runs in a day, want one and three retries", failed)
		}
	})
}

// TestUnreadableDisk cannot read the end of a disk. Nothing of the rest is taken
// for zeros, and when the disk can be read again the next run goes on.
func TestUnreadableDisk(t *testing.T) {
	for range 10 {
		bubble(t, smallDisks(), func(t *testing.T, s *sim) {
			d := s.disks["data"]
			d.bad = d.Size() - 1
			report, err := s.source.Run(t.Context(), "nightly")
			var disk *replicate.DiskError
			if !errors.As(err, &disk) || report.Outcome != "failed" || s.attempts > 0 {
				t.Fatalf("outcome %q, error %v, %d redials; want failed for the disk", report.Outcome, err, s.attempts)
			}
			for _, vm := range s.board.Status().VMs {
				for _, d := range vm.Disks {
					if d.Disk == "data" && d.Durable == d.VirtualSize {
						t.Error("a disk that was not read to its end is complete")
					}
				}
			}
			d.bad = 0
			again, err := s.source.Run(t.Context(), "nightly")
			if err != nil || again.VMs[0].Point != report.VMs[0].Point {
				t.Fatalf("point %s and %v, want %s", again.VMs[0].Point, err, report.VMs[0].Point)
			}
			s.checkReplica()
		})
	}
}
