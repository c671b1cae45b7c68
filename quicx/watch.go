package quicx

import (
	"fmt"
	"log/slog"
	"time"
)

const (
	// resendEvery is how often, in a silence, the link is sent anew on the next
	// path: what decides how soon it goes on once the line is back. quic-go by
	// itself waits twice as long each time.
	resendEvery = 500 * time.Millisecond
	// slowResend bounds it for long round trips.
	slowResend = 2 * time.Second
	// sendErrorPatience is how long nothing must have been heard before a send
	// error counts: a full buffer is an error too.
	sendErrorPatience = 100 * time.Millisecond
	// spareEvery bounds how often a spare link is dialed: hints can be forged.
	spareEvery = 15 * time.Second
)

// watch is one look at the link.
func (k *pathKeeper) watch(now time.Time) {
	c := k.link.conn.ConnectionStats()
	owed, heard := k.silence.observe(now, c.PacketsReceived, k.link.takeWrites())
	if heard {
		k.heardAt.Store(now.UnixNano())
		k.hear(now, owed, c.SmoothedRTT)
	}
	if k.silence.wantsBeat(now) {
		k.silence.asked = now
		k.link.askBeat()
	}
	if owed := k.silence.owed(now); owed >= suspicious(c) {
		k.doubt(now, owed)
	} else if !k.sendError.IsZero() && now.Sub(k.silence.heard) >= sendErrorPatience {
		k.leave(now, "sending over %s fails")
	}
	k.keepStandby(now)
	k.maybeReturn(now)
}

// takeWrites reports whether streams were written to since the last call, or are
// being written to now.
func (l *Link) takeWrites() bool {
	return l.writes.Swap(0) > 0 || l.writing.Load() > 0
}

// hear notes that the peer was heard, after owed.
func (k *pathKeeper) hear(now time.Time, owed, rtt time.Duration) {
	k.sendError = time.Time{}
	planned := k.moving
	if planned == nil && k.suspect.IsZero() && owed < max(stallFloor, 2*rtt) {
		return
	}
	to := k.active.out.uplink
	l := k.link
	l.mu.Lock()
	if owed >= max(stallFloor, 2*rtt) {
		l.stats.LongestStall = max(l.stats.LongestStall, owed)
	}
	took := owed
	if planned != nil {
		took = now.Sub(planned.began)
	}
	moved, revived := to != k.from, !k.suspect.IsZero()
	switch {
	case moved:
		l.stats.Migrations++
	case revived:
		l.stats.Revivals++
	}
	l.mu.Unlock()
	switch {
	case moved:
		k.sayTook(EventMigrated, fmt.Sprintf("migrated %s → %s in %s", k.from.Name, to.Name, short(took)), took)
	case revived:
		k.sayTook(EventRevived, fmt.Sprintf("%s answers again after %s", to.Name, short(took)), took)
	}
	k.suspect, k.from, k.moving = time.Time{}, to, nil
	if planned != nil {
		planned.done <- nil
	}
}

// doubt acts on a silence: it moves the link to the standby, and from then on
// sends it anew on one path after the other until something is heard.
func (k *pathKeeper) doubt(now time.Time, owed time.Duration) {
	if k.suspect.IsZero() {
		k.suspect = now
		if k.moving == nil {
			k.from = k.active.out.uplink
		}
		k.say(EventSilent, fmt.Sprintf("no answer over %s for %s", k.active.out.uplink.Name, short(owed)))
	} else if now.Sub(k.moved) < min(max(resendEvery, 2*k.active.rtt), slowResend) {
		return
	}
	k.resend(now)
}

// resend switches to the path that was not used for longest. The other uplinks
// are probed first: the switch opens the congestion window that the probes wait
// for.
func (k *pathKeeper) resend(now time.Time) {
	if !k.probing() && k.standbyUplink() == nil {
		for _, u := range k.endpoint.uplinks {
			if u != k.active.out.uplink && !u.down.Load() && !k.isValid(u.primary) {
				k.probe(u.primary, now)
				break // there is one free connection ID
			}
		}
	}
	for range k.paths {
		next := k.longestUnused()
		if next == nil || k.switchTo(next, now) {
			return
		}
	}
}

func (k *pathKeeper) isValid(o *outlet) bool {
	p := k.paths[o]
	return p != nil && p.valid
}

// standbyUplink returns the uplink of the standby, if it is another one than the
// one in use and not known to be down.
func (k *pathKeeper) standbyUplink() *uplink {
	if k.standby == nil || !k.standby.valid {
		return nil
	}
	if u := k.standby.out.uplink; u != k.active.out.uplink && !u.down.Load() {
		return u
	}
	return nil
}

// longestUnused returns the valid path that was switched to longest ago, of those
// whose uplink is not down if there are any. The standby was never used, or long
// ago, so that it comes first; the one in use comes last.
func (k *pathKeeper) longestUnused() *path {
	var best *path
	for _, p := range k.paths {
		switch {
		case p.quic == nil || !p.valid:
			continue
		case best == nil:
		case p.out.uplink.down.Load() != best.out.uplink.down.Load():
			if p.out.uplink.down.Load() {
				continue
			}
		case (p == k.standby) != (best == k.standby):
			if best == k.standby {
				continue
			}
		case !p.used.Before(best.used):
			continue
		}
		best = p
	}
	return best
}

// leave moves to the standby at once, without waiting for a silence, if that is on
// another uplink.
func (k *pathKeeper) leave(now time.Time, why string) {
	if k.standbyUplink() == nil || k.standby.out.erredSince(now.Add(-resendEvery)) {
		return
	}
	if k.suspect.IsZero() {
		k.suspect = now
		if k.moving == nil {
			k.from = k.active.out.uplink
		}
		if k.silence.asked.IsZero() {
			k.silence.asked = now
		}
		k.say(EventSilent, fmt.Sprintf(why, k.active.out.uplink.Name))
	}
	k.sendError = time.Time{}
	k.switchTo(k.standby, now)
}

// handle acts on a notice.
func (k *pathKeeper) handle(n notice) {
	now := time.Now()
	switch n.kind {
	case noticeSendError:
		if n.outlet == k.active.out && k.sendError.IsZero() {
			k.sendError = now
		}
	case noticeDown:
		if k.active.out.uplink == n.uplink {
			k.leave(now, "uplink %s is down")
		} else if k.standby != nil && k.standby.out.uplink == n.uplink {
			p := k.standby
			k.standby = nil
			if !p.probing {
				k.retire(p)
			}
			k.publish()
		}
	case noticeUp:
		for _, o := range n.uplink.outlets() {
			delete(k.failed, o)
		}
		if !k.suspect.IsZero() {
			k.reviveOn(n.uplink, now)
		}
	case noticeChanged:
		if !k.suspect.IsZero() && now.Sub(k.moved) >= sendErrorPatience {
			k.resend(now)
		}
	case noticeReset:
		if !k.suspect.IsZero() && now.Sub(k.spared) >= spareEvery {
			k.spared = now
			k.endpoint.wg.Go(func() { k.endpoint.dialSpare(k.link) })
		}
	}
}

// reviveOn sends anew at once over an uplink that came up, during a silence.
func (k *pathKeeper) reviveOn(u *uplink, now time.Time) {
	for _, o := range u.outlets() {
		if p := k.paths[o]; p != nil && k.switchTo(p, now) {
			return
		}
	}
	k.resend(now)
}

func (k *pathKeeper) say(kind EventKind, text string) {
	k.link.say(Event{Kind: kind, Level: slog.LevelWarn, Peer: k.link.peer, Path: k.active.out.uplink.Name, Text: text})
}

func (k *pathKeeper) sayTook(kind EventKind, text string, took time.Duration) {
	k.link.say(Event{Kind: kind, Peer: k.link.peer, Path: k.active.out.uplink.Name, Text: text, Took: took})
}
