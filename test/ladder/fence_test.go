package ladder

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"wanrep/diskio/durable/crashfs"
	"wanrep/replicate"
	"wanrep/replicate/wire"
	"wanrep/resume"
)

// copyOf copies a directory, with everything that was written to it.
func copyOf(fsys *crashfs.FS) *crashfs.FS { return fsys.Crash(1) }

// process starts one more process of the source.
func (s *sim) process(dir *crashfs.FS) *replicate.Source {
	source, endpoint, _ := s.newSource(dir)
	s.t.Cleanup(func() { endpoint.Close() })
	return source
}

// letsIn runs a source that the target has to let in.
func letsIn(t *testing.T, who string, source *replicate.Source) {
	t.Helper()
	if _, err := source.Run(t.Context(), "nightly"); err != nil {
		t.Fatalf("%s: %v", who, err)
	}
}

// turnsAway runs a source that the target has to refuse, at once.
func turnsAway(t *testing.T, s *sim, who string, source *replicate.Source, text string) {
	t.Helper()
	began, attempts := time.Now(), s.attempts
	report, err := source.Run(t.Context(), "nightly")
	var no *replicate.RefusedError
	if !errors.As(err, &no) || no.Code != wire.CodeCopy || report.Outcome != "failed" {
		t.Fatalf("%s: outcome %q and error %v, want refused as a copy", who, report.Outcome, err)
	}
	if !strings.Contains(no.Text, text) || no.Hint() == "" {
		t.Errorf("%s: the reason is %q with the hint %q, want %q in it", who, no.Text, no.Hint(), text)
	}
	if took := time.Since(began); took > 10*time.Second || s.attempts > attempts+1 {
		t.Errorf("%s: took %v and %d attempts: a refusal went down the ladder", who, took, s.attempts-attempts)
	}
}

// TestCopyOfASource copies the state of a source and goes on with both. The newer
// one wins, and the VM does not go back and forth, however often the other starts.
func TestCopyOfASource(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		letsIn(t, "the original", s.source)
		dir := copyOf(s.sourceFS)
		clone := s.process(dir)
		letsIn(t, "the copy", clone)
		turnsAway(t, s, "the original", s.source, "state is older than what this target has seen (start 1, seen 2)")
		for _, why := range []string{"older", "does not go on from", "does not go on from"} {
			turnsAway(t, s, "the original, started again", s.process(s.sourceFS), why)
			letsIn(t, "the copy", clone)
		}
		letsIn(t, "the copy, started again", s.process(dir))
		told := 0
		for _, e := range s.board.Status().Events {
			if strings.Contains(e.Text, "a copy of it runs elsewhere") {
				told++
			}
		}
		if told != 4 {
			t.Errorf("the target's board tells of %d refusals, want 4", told)
		}
	})
}

// TestRestoredSource goes back to an old copy of the source's state. Pairing anew
// lets it in, and then the other is the copy.
func TestRestoredSource(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		old := copyOf(s.sourceFS)
		var last *replicate.Source
		for range 3 {
			last = s.process(s.sourceFS)
			letsIn(t, "the source", last)
		}
		restored := s.process(old)
		turnsAway(t, s, "the restored source", restored, "older than what this target has seen (start 2, seen 4)")
		if err := s.target.Forget("branch"); err != nil {
			t.Fatal(err)
		}
		letsIn(t, "the restored source, paired anew", restored)
		turnsAway(t, s, "the other", last, "does not go on from")
		_, points := s.points()
		if len(points) != 4 {
			t.Errorf("%d points, want 4: pairing anew keeps them", len(points))
		}
	})
}

// TestManyStartsBeforeTheNextRun starts the source far more often than a Hello can
// tell. What it knows to be let in is kept beside.
func TestManyStartsBeforeTheNextRun(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		letsIn(t, "the source", s.source)
		for range 3 * wire.MaxBefore {
			if _, err := replicate.OpenState(s.sourceFS); err != nil {
				t.Fatal(err)
			}
		}
		letsIn(t, "the source, 193 starts later", s.process(s.sourceFS))
	})
}

// TestNewerProcessEndsTheLinksOfTheOlder attaches with a copy while the original is
// sending. The original's link ends, and it does not dial again.
func TestNewerProcessEndsTheLinksOfTheOlder(t *testing.T) {
	bubble(t, twoDisks(), func(t *testing.T, s *sim) {
		done := make(chan error, 1)
		go func() {
			_, err := s.source.Run(t.Context(), "nightly")
			done <- err
		}()
		for s.router.total() < 1<<20 {
			time.Sleep(10 * time.Millisecond)
		}
		clone := s.process(copyOf(s.sourceFS))
		letsIn(t, "the copy", clone)
		err := <-done
		if err == nil || !strings.Contains(err.Error(), "a newer process of this source (start 2) has attached") || s.attempts > 0 {
			t.Errorf("the original ended with %v after %d redials", err, s.attempts)
		}
		s.checkReplica()
	})
}

// TestEarlyHelloChangesNothing: as long as the handshake is not complete, a Hello
// may be a recorded one. The target remembers nothing of it.
func TestEarlyHelloChangesNothing(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		s.between = func(l link) replicate.Link { return unconfirmed{l} }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := s.source.Run(ctx, "nightly"); err == nil {
			t.Error("a run succeeded on links that are not confirmed")
		}
		store, _ := s.points()
		if p, err := store.LastProcess("branch"); err != nil || p != (resume.Process{}) {
			t.Errorf("the target remembers %+v, %v", p, err)
		}
		s.between = nil
		letsIn(t, "the source", s.source)
		if p, err := store.LastProcess("branch"); err != nil || p.Starts != 1 {
			t.Errorf("the target remembers %+v, %v, want start 1", p, err)
		}
	})
}

// unconfirmed is a link whose handshake is never complete, as that of a replay.
type unconfirmed struct{ link }

func (u unconfirmed) Confirmed(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestDamagedMemoryOfTheTarget: a file that can't be read lets nobody in.
func TestDamagedMemoryOfTheTarget(t *testing.T) {
	bubble(t, smallDisks(), func(t *testing.T, s *sim) {
		letsIn(t, "the source", s.source)
		if err := s.fs.Remove("branch/source.json"); err != nil {
			t.Fatal(err)
		}
		if err := s.fs.Mkdir("branch/source.json", 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := s.source.Run(t.Context(), "nightly")
		var no *replicate.RefusedError
		if !errors.As(err, &no) || no.Code != wire.CodeStore {
			t.Errorf("got %v, want a refusal for the store", err)
		}
	})
}
