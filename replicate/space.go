package replicate

import (
	"context"
	"time"
)

// spaceEvery is how often a target looks how much room its store has. A gigabit line
// fills about a gigabyte in that time.
const spaceEvery = 10 * time.Second

// watchSpace keeps the store's entry on the board current until ctx ends.
func (t *Target) watchSpace(ctx context.Context) {
	for sleep(ctx, spaceEvery) {
		t.showSpace()
	}
}

func (t *Target) showSpace() {
	if t.cfg.Space == nil {
		return
	}
	s, err := t.cfg.Space()
	if err != nil {
		t.cfg.Log.Debug("look at the store's room", "err", err)
		return
	}
	t.mu.Lock()
	for _, k := range t.kept {
		s.Points += k.points
		if k.points > 0 && (s.Oldest.IsZero() || k.oldest.Before(s.Oldest)) {
			s.Oldest = k.oldest
		}
	}
	t.mu.Unlock()
	t.cfg.Board.SetStore(s)
}
