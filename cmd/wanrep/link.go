package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"wanrep/quicx"
	"wanrep/replicate"
	"wanrep/replicate/progress"
)

// A quicLink lets the engine use a quicx.Link, whose close codes have the same
// meaning.
type quicLink struct{ *quicx.Link }

func (l quicLink) OpenStream(ctx context.Context) (replicate.Stream, error) {
	s, err := l.Link.OpenStream(ctx)
	if err != nil {
		return nil, err
	}
	return quicStream{s}, nil
}

func (l quicLink) AcceptStream(ctx context.Context) (replicate.Stream, error) {
	s, err := l.Link.AcceptStream(ctx)
	if err != nil {
		return nil, err
	}
	return quicStream{s}, nil
}

type quicStream struct{ *quicx.Stream }

// Abort gives the stream up. The engine at the other end is told on the control
// stream why, so the code says nothing.
func (s quicStream) Abort() { s.Stream.Abort(quicx.CodeDone) }

// statsEvery is how often a link's numbers are copied to the board.
const statsEvery = time.Second

// An attacher is the way to one peer for one run. It keeps the board's link
// current and counts what happened over all links of the run.
type attacher struct {
	peer  string
	board *progress.Board
	// fresh returns a redialer that has not dialed yet.
	fresh    func(on func(quicx.Attempt)) *quicx.Redialer
	redialer *quicx.Redialer
	// uplinks are the ways out of the site, for the board.
	uplinks []quicx.Uplink

	last *quicx.Link
	// settle ends the watching of the last link.
	settle func()

	mu sync.Mutex
	// attached tells that a link of this run was confirmed.
	attached bool
	// totals are those of links that ended; live is the one that did not, once
	// it is confirmed.
	totals progress.LinkTotals
	live   *quicx.Link
	// heard is when the peer was last heard on a link that ended. The silence from
	// then until the next link is a stall too.
	heard time.Time
}

func newAttacher(peer string, board *progress.Board, fresh func(on func(quicx.Attempt)) *quicx.Redialer) *attacher {
	a := &attacher{peer: peer, board: board, fresh: fresh, settle: func() {}}
	a.redialer = fresh(a.attempted)
	return a
}

// Attach returns a new link to the peer.
func (a *attacher) Attach(ctx context.Context, progressed bool) (replicate.Link, error) {
	a.settle()
	because := ""
	if a.last != nil && a.last.Err() != nil {
		because = reason(a.last.Err())
	}
	if a.last != nil && !a.wasAttached() {
		// A link with a session ticket is there before the peer has answered. If
		// it never did, this is still the first attempt, and a peer that is not
		// there ends the run at once and not after the redial window.
		a.redialer = a.fresh(a.attempted)
	}
	a.board.Link(a.peer, func(l *progress.Link) {
		l.State, l.Because, l.NextDial, l.Attempt = progress.LinkDialing, because, time.Time{}, 0
		forgetLine(l)
	})
	got, err := a.redialer.Attach(ctx, progressed)
	if err != nil {
		a.board.Link(a.peer, func(l *progress.Link) {
			l.State, l.Because, l.NextDial = progress.LinkDown, reason(err), time.Time{}
			if ctx.Err() != nil {
				l.State, l.Because = progress.LinkIdle, ""
			}
		})
		if errors.Is(err, quicx.ErrRedialSpent) {
			err = spentError{err}
		}
		return nil, err
	}
	a.last = got
	a.settle = a.watch(got)
	return quicLink{got}, nil
}

func (a *attacher) wasAttached() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.attached
}

// attempted puts the redialer's attempts on the board.
func (a *attacher) attempted(at quicx.Attempt) {
	if at.Err == nil && (at.Number > 1 || at.Extra) {
		a.mu.Lock()
		a.totals.Redials++
		a.mu.Unlock()
	}
	a.board.Link(a.peer, func(l *progress.Link) {
		if at.Err != nil || at.Number > 1 {
			l.State = progress.LinkRedial
		}
		if at.Err != nil {
			l.DialError, l.Class = reason(at.Err), classOf(at.Err)
			if l.Because == "" {
				l.Because = l.DialError // there was no link that got lost
			}
		}
		l.Attempt, l.Attempts, l.NextDial = at.Number, at.Of, at.Next.UTC()
	})
}

// watch copies a link's numbers to the board, once it is confirmed, until it ends
// or settle is called, which adds them to the totals.
func (a *attacher) watch(got *quicx.Link) (settle func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if got.Confirmed(ctx) != nil {
			return
		}
		a.began(got)
		tick := time.NewTicker(statsEvery)
		defer tick.Stop()
		for {
			showLink(a.board, got, a.Totals())
			a.board.Link(a.peer, func(l *progress.Link) { l.Uplinks = uplinkStates(a.uplinks, got.Stats()) })
			select {
			case <-tick.C:
			case <-got.Done():
				return
			case <-ctx.Done():
				return
			}
		}
	})
	return sync.OnceFunc(func() {
		cancel()
		done.Wait()
		a.ended()
	})
}

func (a *attacher) began(got *quicx.Link) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.attached {
		a.totals.Reattaches++
	}
	if !a.heard.IsZero() {
		a.totals.LongestStall = max(a.totals.LongestStall, time.Since(a.heard).Seconds())
	}
	a.attached, a.live = true, got
}

func (a *attacher) ended() {
	a.mu.Lock()
	if a.live != nil {
		stats := a.live.Stats()
		a.totals, a.heard = add(a.totals, stats), stats.Heard
		a.live = nil
	}
	totals := a.totals
	a.mu.Unlock()
	a.board.Link(a.peer, func(l *progress.Link) { l.LinkTotals = totals })
}

// Totals counts what happened so far.
func (a *attacher) Totals() progress.LinkTotals {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.live == nil {
		return a.totals
	}
	return add(a.totals, a.live.Stats())
}

// Close ends the watching. The engine has closed its links.
func (a *attacher) Close() error {
	a.settle()
	a.board.Link(a.peer, func(l *progress.Link) {
		if l.State != progress.LinkDown {
			l.State, l.Because = progress.LinkIdle, ""
			forgetLine(l)
		}
	})
	return nil
}

// add counts one more link.
func add(t progress.LinkTotals, s quicx.Stats) progress.LinkTotals {
	t.Migrations += s.Migrations
	t.LongestStall = max(t.LongestStall, s.LongestStall.Seconds())
	t.RepairOverhead = s.Loss
	if s.Resumed {
		t.ResumedTLS++
	}
	if s.Used0RTT {
		t.Used0RTT++
	}
	return t
}

// showLink puts a living link on the board.
func showLink(board *progress.Board, got *quicx.Link, totals progress.LinkTotals) {
	s := got.Stats()
	board.Link(got.Peer(), func(l *progress.Link) {
		l.State, l.Because, l.NextDial, l.Attempt = progress.LinkUp, "", time.Time{}, 0
		l.DialError, l.Class = "", ""
		l.Path, l.Remote, l.RTT, l.Loss, l.LinkTotals = s.Path, s.Remote, s.RTT.Seconds(), s.Loss, totals
		l.PacketsSent, l.PacketsLost = int64(s.PacketsSent), int64(s.PacketsLost)
		l.Queue, l.Window, l.Lanes, l.LineRate = s.Queue.Seconds(), int64(s.Window), s.Lanes, s.LineRate
	})
}

// forgetLine clears what is only known of a link that lives.
func forgetLine(l *progress.Link) {
	l.RTT, l.Queue, l.Loss, l.Window, l.Lanes, l.LineRate = 0, 0, 0, 0, 0, 0
}

// A spentError tells the engine that the redial window is over.
type spentError struct{ error }

func (e spentError) Is(target error) bool { return target == replicate.ErrRedialSpent }
func (e spentError) Unwrap() error        { return e.error }

// reason is why a link is not up, without the peer's name, which stands beside it.
func reason(err error) string {
	if _, after, ok := strings.Cut(err.Error(), ": "); ok {
		return after
	}
	return err.Error()
}

// classOf is the kind of the error of a link, empty if it is of none.
func classOf(err error) string {
	if e, ok := errors.AsType[*quicx.Error](err); ok {
		return e.Class.String()
	}
	return ""
}
