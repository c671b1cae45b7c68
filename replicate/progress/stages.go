package progress

import (
	"sync"
	"time"
)

// Stages count how long each stage of the way of a block was busy, over all disks.
// Their methods may be called from any goroutine. A stage is begun and ended once
// for a piece of content, hundreds of KiB, so that the counting costs nothing.
type Stages struct {
	Read     Stage // the source reads a disk
	Digest   Stage // the source digests and compares
	Compress Stage // the source compresses and frames
	Network  Stage // a stream takes no more
	Write    Stage // the target writes or syncs

	// What keeps the sender of a disk from writing to its stream: nothing was read
	// yet, the target has not told yet what it holds, or what was read is not
	// encoded yet.
	Starved  Stage
	Baseline Stage
	Encoding Stage
}

// A Stage is one of them. The zero value was never busy.
type Stage struct {
	mu     sync.Mutex
	active int
	since  time.Time // when active changed, or the stage was last looked at
	spent  Spent
	// stepped is what was spent at the last step.
	stepped Spent
}

// Spent is how long a stage was busy: All counts each goroutine, Any the time in
// which there was at least one.
type Spent struct{ All, Any time.Duration }

// Begin marks that a goroutine is in the stage, until End.
func (s *Stage) Begin() { s.change(1) }

// End is the other half of Begin.
func (s *Stage) End() { s.change(-1) }

// Spent returns how long the stage was busy so far, what is under way included.
func (s *Stage) Spent() Spent { return s.change(0) }

// step returns what was spent since the last step, as shares of a time.
func (s *Stage) step(passed time.Duration) (one, all float64) {
	now := s.Spent()
	s.mu.Lock()
	was := s.stepped
	s.stepped = now
	s.mu.Unlock()
	if passed <= 0 {
		return 0, 0
	}
	return float64(now.Any-was.Any) / float64(passed), float64(now.All-was.All) / float64(passed)
}

func (s *Stage) change(by int) Spent {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.active > 0 {
		passed := now.Sub(s.since)
		s.spent.Any += passed
		s.spent.All += passed * time.Duration(s.active)
	}
	s.active += by
	s.since = now
	return s.spent
}
