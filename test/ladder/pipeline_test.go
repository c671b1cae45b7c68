package ladder

import (
	"context"
	"io/fs"
	"testing"
	"time"

	"wanrep/diskio/durable"
	"wanrep/replicate/progress"
)

// A slowFS takes its time for each write to a file.
type slowFS struct {
	durable.FS
	delay time.Duration
}

func (s slowFS) OpenFile(name string, flag int, perm fs.FileMode) (durable.File, error) {
	f, err := s.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return slowFile{f, s.delay}, nil
}

type slowFile struct {
	durable.File
	delay time.Duration
}

func (f slowFile) WriteAt(p []byte, off int64) (int, error) {
	time.Sleep(f.delay)
	return f.File.WriteAt(p, off)
}

// TestSlowTargetIsNamed lets the target's disk be the slowest of the way. Both ends
// name it: the target its disk, and the source the target.
func TestSlowTargetIsNamed(t *testing.T) {
	bubble(t, map[string]*memoryDisk{"data": newDisk(400, 1)}, func(t *testing.T, s *sim) {
		s.stopTarget()
		s.writeDelay = 200 * time.Millisecond
		s.startTarget()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.board.Run(ctx)
		go s.sources.Run(ctx)
		done := make(chan error, 1)
		go func() {
			_, err := s.source.Run(t.Context(), "nightly")
			done <- err
		}()
		time.Sleep(20 * time.Second)
		target, source := s.board.Status().Pipeline, s.sources.Status().Pipeline
		if target.Limit != progress.LimitWrite || target.Write < 0.8 {
			t.Errorf("the target tells %+v", target)
		}
		if source.Limit != progress.LimitReceiver || source.Network < 0.8 || source.Write < 0.8 || source.Read > 0.1 {
			t.Errorf("the source tells %+v", source)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if got := s.sources.Status().Pipeline; got.Limit != "" || got.Network > 0.01 {
			t.Errorf("after the run the source tells %+v", got)
		}
		s.checkReplica()
	})
}
