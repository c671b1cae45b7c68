package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"wanrep/quicx"
	"wanrep/replicate/progress"
)

// A linkWatch keeps a target's board current. A source may have several links, one
// for each run, and an older one may take a while to end: the newest that lives is
// shown.
type linkWatch struct {
	board *progress.Board

	mu    sync.Mutex
	links map[string][]*quicx.Link // those that live, the newest last
}

func newLinkWatch(board *progress.Board) *linkWatch {
	return &linkWatch{board: board, links: map[string][]*quicx.Link{}}
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
		w.show(got.Peer())
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
	w.links[got.Peer()] = append(w.links[got.Peer()], got)
}

// show shows the newest link of a source that lives, if there is one.
func (w *linkWatch) show(peer string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.links[peer]); n > 0 {
		got := w.links[peer][n-1]
		showLink(w.board, got, add(progress.LinkTotals{}, got.Stats()))
	}
}

// end takes a link off the board. A source without one has not given up: only the
// source dials, and only it knows how long it will.
func (w *linkWatch) end(got *quicx.Link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	peer := got.Peer()
	w.links[peer] = slices.DeleteFunc(w.links[peer], func(l *quicx.Link) bool { return l == got })
	if len(w.links[peer]) > 0 {
		return
	}
	delete(w.links, peer)
	because := ""
	if e, ok := errors.AsType[*quicx.Error](got.Err()); ok && e.Dropped() {
		because = "lost, the source dials again: " + reason(e)
	}
	w.board.Link(peer, func(l *progress.Link) {
		l.State, l.Because = progress.LinkIdle, because
		forgetLine(l)
	})
}
