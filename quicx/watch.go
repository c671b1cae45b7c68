package quicx

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
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
	owed, heard := k.silence.observe(now, k.heardPackets(c.PacketsReceived), k.link.takeWrites())
	if heard {
		k.heardAt.Store(now.UnixNano())
	}
	// What was under way when an uplink went down is no reason to stay there.
	if stale := k.active.out.uplink.down.Load() && now.Sub(k.suspect) < resendEvery; heard && !stale {
		k.hear(now, owed, c.SmoothedRTT)
	}
	if k.silence.wantsBeat(now) {
		k.silence.asked = now
		k.link.askBeat()
	}
	if owed := k.silence.owed(now); k.rescuing {
		k.resend(now)
	} else if owed >= suspicious(c) {
		k.doubt(now, owed)
	} else if !k.sendError.IsZero() && now.Sub(k.silence.heard) >= sendErrorPatience {
		k.leave(now, "sending over "+k.active.out.uplink.Name+" fails")
	}
	k.keepStandby(now)
	k.maybeReturn(now)
}

// probePackets is more packets than a target sends to answer a probe.
const probePackets = 4

// heardPackets returns how many packets of those received may count as heard. In a
// silence with a probe under way one or two may be its answer, which came over
// another path than the one in use; then only more of them count, or the answer
// to a heartbeat.
func (k *pathKeeper) heardPackets(received uint64) uint64 {
	answers := k.link.answers.Load()
	answered := answers != k.answers
	k.answers = answers
	if k.suspect.IsZero() || !k.probing() || answered || received >= k.silence.packets+probePackets {
		return received
	}
	return k.silence.packets
}

// takeWrites reports whether streams were written to since the last call, or are
// being written to now.
func (l *Link) takeWrites() bool {
	return l.writes.Swap(0) > 0 || l.writing.Load() > 0
}

// hear notes that the peer was heard, after owed.
func (k *pathKeeper) hear(now time.Time, owed, rtt time.Duration) {
	from, to := k.from, k.active.out.uplink
	k.heardOn, k.sendError = k.active.out, time.Time{}
	planned, moved, doubted := k.moving, to != from, !k.suspect.IsZero()
	k.suspect, k.from, k.moving, k.rescuing = time.Time{}, to, nil, false
	k.count(owed, moved, doubted, rtt)
	if moved {
		k.endRescue()
	}
	switch {
	case moved:
		took := owed
		if planned != nil {
			took = now.Sub(planned.began)
		}
		k.sayTook(EventMigrated, fmt.Sprintf("migrated %s → %s in %s%s", from.Name, to.Name, short(took), to.terms()), took)
	case doubted:
		k.sayTook(EventRevived, fmt.Sprintf("%s answers again after %s", to.Name, short(owed)), owed)
	}
	switch {
	case planned == nil:
	case planned.to == to:
		planned.done <- nil
	default:
		planned.done <- fmt.Errorf("no answer over %s, the link is on %s", planned.to.Name, to.Name)
	}
}

// endRescue gives up the probes of a silence that is over. They would hold the last
// free connection ID for as long as they may take.
func (k *pathKeeper) endRescue() {
	for _, p := range k.paths {
		if p.probing && p != k.standby && k.pending == nil {
			p.cancel()
		}
	}
}

// count brings the statistics up to date.
func (k *pathKeeper) count(owed time.Duration, moved, doubted bool, rtt time.Duration) {
	l := k.link
	l.mu.Lock()
	defer l.mu.Unlock()
	if moved || doubted || owed >= stallFloor+2*rtt {
		l.stats.LongestStall = max(l.stats.LongestStall, owed)
	}
	switch {
	case moved:
		l.stats.Migrations++
	case doubted:
		l.stats.Revivals++
	}
}

// doubt acts on a silence: it moves the link to the standby, and from then on
// sends it anew on one path after the other until something is heard.
func (k *pathKeeper) doubt(now time.Time, owed time.Duration) {
	if k.suspect.IsZero() {
		k.beginSilence(now, fmt.Sprintf("no answer over %s for %s", k.active.out.uplink.Name, short(owed)))
	} else if now.Sub(k.moved) < min(max(resendEvery, 2*k.active.rtt), slowResend) {
		return
	}
	k.resend(now)
}

// beginSilence notes that the path in use is suspect. The text is why, if that was
// not told yet.
func (k *pathKeeper) beginSilence(now time.Time, text string) {
	k.suspect = now
	if k.moving == nil {
		k.from = k.active.out.uplink
	}
	if k.silence.asked.IsZero() {
		k.silence.asked = now
	}
	if text != "" {
		k.say(EventSilent, text)
	}
	if k.active.quic != nil || k.probing() {
		return
	}
	// quic-go has no way back to the path a link was dialed on. Its uplink's
	// other socket gets the last free connection ID now: the next time the link
	// is sent anew on the standby, that would take it.
	for _, o := range k.active.out.uplink.outlets() {
		if o != k.active.out && !k.isValid(o) {
			k.probe(o, now, rescueTimeout)
		}
	}
}

func (k *pathKeeper) isValid(o *outlet) bool {
	p := k.paths[o]
	return p != nil && p.valid
}

// resend switches to the path that was not used for longest. If no other uplink
// can be switched to, one is probed first: the switch opens the congestion window
// that the probe waits for. It is made at the next look, when the probe surely
// waits: else all that is sent anew would go first and close the window again.
func (k *pathKeeper) resend(now time.Time) {
	if !k.probing() {
		if o := k.rescuer(); o != nil {
			k.probe(o, now, rescueTimeout)
			k.rescuing = true
			return
		}
	}
	k.rescuing = false
	for range k.paths {
		next := k.longestUnused()
		if next == nil || k.switchTo(next, now) {
			return
		}
	}
}

// rescuer returns the outlet to probe during a silence: on an uplink other than
// the one in use, and not where the target sends to. nil: such a path is valid.
func (k *pathKeeper) rescuer() *outlet {
	var best *outlet
	for _, u := range k.endpoint.uplinks {
		if u == k.active.out.uplink || u.down.Load() {
			continue
		}
		for _, o := range u.outlets() {
			p := k.paths[o]
			switch {
			case p != nil && p.valid:
				return nil
			case o == k.heardOn:
			case p != nil && p.quic != nil:
				return o // it has the last connection ID there was
			case best == nil:
				best = o
			}
		}
	}
	return best
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

// longestUnused returns the valid path to send anew on: the standby first, then
// one on the uplink that was used longest ago, so that uplinks take turns however
// many paths each has. Uplinks known to be down come last.
func (k *pathKeeper) longestUnused() *path {
	used := make(map[*uplink]time.Time)
	var valid []*path
	for _, p := range k.paths {
		if u := p.out.uplink; p.used.After(used[u]) {
			used[u] = p.used
		}
		if p.quic != nil && p.valid {
			valid = append(valid, p)
		}
	}
	if len(valid) == 0 {
		return nil
	}
	return slices.MinFunc(valid, func(a, b *path) int {
		return cmp.Or(
			falseFirst(a.out.uplink.down.Load(), b.out.uplink.down.Load()),
			falseFirst(a != k.standby, b != k.standby),
			used[a.out.uplink].Compare(used[b.out.uplink]),
			a.used.Compare(b.used),
			cmp.Compare(a.out.uplink.rank, b.out.uplink.rank),
		)
	})
}

func falseFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// leave moves to the standby at once, without waiting for a silence, if that is on
// another uplink. It reports whether there was one. why may be empty.
func (k *pathKeeper) leave(now time.Time, why string) bool {
	if k.standbyUplink() == nil || k.standby.out.erredSince(now.Add(-resendEvery)) {
		return false
	}
	if k.suspect.IsZero() {
		k.beginSilence(now, why)
	}
	k.sendError = time.Time{}
	k.switchTo(k.standby, now)
	return true
}

// escape leaves an uplink that went down. Without a standby it does at once what a
// silence would do later, if there is another uplink to go to.
func (k *pathKeeper) escape(now time.Time) {
	others := slices.ContainsFunc(k.endpoint.uplinks, func(u *uplink) bool { return !u.down.Load() })
	if !k.leave(now, "") && k.suspect.IsZero() && others {
		k.beginSilence(now, "")
		k.resend(now)
	}
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
			k.escape(now)
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
		if k.link.main == nil && !k.suspect.IsZero() && now.Sub(k.spared) >= spareEvery {
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
