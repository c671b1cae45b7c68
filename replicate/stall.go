package replicate

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

const (
	// stallAfter is how long a link may move nothing while it should. A link that
	// is up and does that is not healthy, whatever its heartbeats say.
	stallAfter = 60 * time.Second
	// stallCheck is how often a session looks.
	stallCheck = 5 * time.Second
	// busyEvery is how often a target that takes long to sync tells that it is
	// still at it, so that a slow disk is not taken for a stalled link.
	busyEvery = 15 * time.Second
)

// A stallError ends a link that is up and moves nothing. It is as good as dropped.
type stallError struct{ since time.Duration }

func (e *stallError) Error() string {
	return fmt.Sprintf("the link is up, but moved no block for %v", e.since.Round(time.Second))
}

// Dropped makes the run attach again.
func (e *stallError) Dropped() bool { return true }

// A pulse is when a session last moved something.
type pulse struct{ last atomic.Int64 }

func (p *pulse) beat() { p.last.Store(time.Now().UnixNano()) }

func (p *pulse) age() time.Duration { return time.Since(time.Unix(0, p.last.Load())) }

// watch returns a stallError when the disks wait for the target and the pulse is
// older than stallAfter, and nil when ctx ends.
func (p *pulse) watch(ctx context.Context, disks []*diskRun) error {
	p.beat()
	tick := time.NewTicker(stallCheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		waiting := false
		for _, d := range disks {
			waiting = waiting || d.waits()
		}
		if !waiting {
			p.beat() // reading a slow disk, or proving what was sent before
		} else if age := p.age(); age >= stallAfter {
			return &stallError{age}
		}
	}
}
