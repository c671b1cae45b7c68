package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"wanrep/quicx"
	"wanrep/replicate/progress"
)

// A linkWatch keeps a target's board current: of each source it shows the newest
// link, since an older one may take a while to end.
type linkWatch struct {
	board *progress.Board

	mu     sync.Mutex
	newest map[string]*quicx.Link
}

func newLinkWatch(board *progress.Board) *linkWatch {
	return &linkWatch{board: board, newest: map[string]*quicx.Link{}}
}

// follow shows a link until it ends. One that is never confirmed is not shown: it
// may be a replay of what a source once sent.
func (w *linkWatch) follow(got *quicx.Link) {
	if got.Confirmed(context.Background()) != nil {
		return
	}
	w.begin(got)
	tick := time.NewTicker(statsEvery)
	defer tick.Stop()
	for {
		if !w.show(got) {
			return
		}
		select {
		case <-tick.C:
		case <-got.Done():
			w.end(got)
			return
		}
	}
}

func (w *linkWatch) begin(got *quicx.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.newest[got.Peer()] = got
}

// show reports whether the link is still the newest.
func (w *linkWatch) show(got *quicx.Link) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.newest[got.Peer()] != got {
		return false
	}
	showLink(w.board, got, add(progress.LinkTotals{}, got.Stats()))
	return true
}

// end shows that a source has no link. It is not given up: only the source dials,
// and only it knows how long it will.
func (w *linkWatch) end(got *quicx.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.newest[got.Peer()] != got {
		return
	}
	delete(w.newest, got.Peer())
	because := ""
	if e, ok := errors.AsType[*quicx.Error](got.Err()); ok && e.Dropped() {
		because = "lost, the source dials again: " + reason(e)
	}
	w.board.Link(got.Peer(), func(l *progress.Link) {
		l.State, l.Because = progress.LinkIdle, because
		forgetLine(l)
	})
}
