package quicx

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	// settleTime is how long after a move no path is probed: late packets of the
	// path just left would make the target go back to it for a moment.
	settleTime = 2 * time.Second
	// standbyEvery is how often the standby path is validated again.
	standbyEvery = 30 * time.Second
	// betterEvery is the same for a standby on a better uplink than the one in
	// use, which the link waits to go back to.
	betterEvery = 5 * time.Second
	// meteredEvery is the same for a standby on a metered uplink. What it costs
	// is in the annotated config; TestMeteredStandbyIsCheap measures it.
	meteredEvery = 10 * time.Minute
	// probeTimeout bounds one validation. A path that needs longer is of no use
	// as a standby, and a probe under way holds the last free connection ID.
	probeTimeout = 3 * time.Second
	// rescueTimeout bounds one during a silence, when probes get out only as the
	// link is sent anew, and must be new when the line comes back.
	rescueTimeout = time.Second
	// retryProbe is when a path that did not validate is tried again.
	retryProbe = 15 * time.Second
)

// A path is one way of a link: an outlet to the target's address.
type path struct {
	out *outlet
	// quic is nil for the path the link was dialed on, until it has been left
	// and probed: quic-go has no such object for it.
	quic *quic.Path
	// valid: the target has answered a probe, and it can be switched to.
	valid, probing bool
	cancel         context.CancelFunc // of the last probe
	probed         time.Time          // when the last probe began
	good           time.Time          // since when probes have been answered without a miss
	rtt            time.Duration      // of the last probe
	used           time.Time          // when the link last switched to it
}

// A pathKeeper moves one source's link between paths. One goroutine (run) owns
// everything in it but the channels and the atomics.
//
// It keeps exactly one standby path validated while the link is healthy, because
// a path cannot be probed any more once the one in use is dead under load: probes
// wait for a congestion window that never opens. One and not two, because the
// target gives out four connection IDs: the path in use, the standby, one lost in
// the handshake, and one that must be free when a NAT changes our address.
type pathKeeper struct {
	link     *Link
	endpoint *Endpoint

	notices    chan notice
	migrations chan *migration
	probes     chan probeResult
	wg         sync.WaitGroup

	paths           map[*outlet]*path
	active, standby *path
	failed          map[*outlet]time.Time // when an outlet's probe last failed

	silence silence
	answers uint64 // to heartbeats, so far
	// suspect is when this silence became suspicious; zero while all is well.
	suspect time.Time
	// rescuing: another uplink's probe waits for the link to be sent anew.
	rescuing bool
	// heardOn is the outlet in use when the peer was last heard: the address that
	// the target sends to. It does not answer probes from there.
	heardOn *outlet
	// from is the uplink in use before the silence, or before the move under way.
	from *uplink
	// moved is when the path was last switched.
	moved time.Time
	// moving is a planned move whose first answer is awaited; pending is a
	// migration that waits for its path to validate.
	moving, pending *migration
	sendError       time.Time // first send error on the active path not followed by a packet
	spared          time.Time // when a spare link was last dialed

	// heardAt is silence.heard for other goroutines, in nanoseconds since 1970.
	heardAt atomic.Int64
	// carrier is the uplink of the active path, for other goroutines.
	carrier atomic.Pointer[uplink]
}

// A notice tells a pathKeeper of something that happened elsewhere.
type notice struct {
	kind   noticeKind
	outlet *outlet
	uplink *uplink
}

type noticeKind int

const (
	noticeReset     noticeKind = iota // a datagram that may be a stateless reset
	noticeSendError                   // of outlet
	noticeDown                        // uplink
	noticeUp                          // uplink
	noticeChanged                     // something about the network
)

// A migration is a request to move to an uplink.
type migration struct {
	ctx   context.Context
	to    *uplink
	began time.Time
	done  chan error // has room for one
}

type probeResult struct {
	path *path
	took time.Duration
	err  error
}

func newPathKeeper(l *Link, dialed *outlet) *pathKeeper {
	k := &pathKeeper{
		link: l, endpoint: l.endpoint,
		notices:    make(chan notice, 16),
		migrations: make(chan *migration),
		probes:     make(chan probeResult),
		paths:      make(map[*outlet]*path),
		failed:     make(map[*outlet]time.Time),
		from:       dialed.uplink,
	}
	k.active, k.heardOn = &path{out: dialed}, dialed
	k.paths[dialed] = k.active
	k.carrier.Store(dialed.uplink)
	return k
}

// tell hands a notice over without blocking. While sixteen wait, one more would
// tell nothing new.
func (k *pathKeeper) tell(n notice) {
	select {
	case k.notices <- n:
	default:
	}
}

// run watches the link until it ends.
func (k *pathKeeper) run() {
	defer k.wg.Wait()
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	k.silence.heard = time.Now()
	for {
		select {
		case <-k.link.conn.Context().Done():
			return
		case <-ticker.C:
			k.watch(time.Now())
		case n := <-k.notices:
			k.handle(n)
		case m := <-k.migrations:
			k.begin(m)
		case r := <-k.probes:
			k.validated(r)
		}
	}
}

// keepStandby sees to it that there is one validated standby path, the best there
// is.
func (k *pathKeeper) keepStandby(now time.Time) {
	if !k.suspect.IsZero() || k.pending != nil || k.probing() || now.Sub(k.moved) < settleTime {
		return
	}
	best := k.bestStandby(now)
	if k.standby != nil && (best == nil || best == k.standby.out) {
		if now.Sub(k.standby.probed) >= k.probeEvery() {
			k.probe(k.standby.out, now, probeTimeout)
		}
		return
	}
	if best != nil {
		k.probe(best, now, probeTimeout)
	}
}

// probeEvery is how often the standby path is validated again.
func (k *pathKeeper) probeEvery() time.Duration {
	switch standby, in := k.standby.out.uplink, k.active.out.uplink; {
	case standby.Metered:
		return meteredEvery
	case standby.rank < in.rank:
		return betterEvery
	}
	return standbyEvery
}

// bestStandby returns the outlet the standby path should be on: the best other
// uplink, or else the second socket of the one in use. nil: all failed just now.
func (k *pathKeeper) bestStandby(now time.Time) *outlet {
	in := k.active.out.uplink
	var candidates []*outlet
	for _, u := range k.endpoint.uplinks {
		if u != in && !u.down.Load() {
			candidates = append(candidates, u.primary)
		}
	}
	for _, o := range in.outlets() {
		if o != k.active.out {
			candidates = append(candidates, o)
		}
	}
	for _, o := range candidates {
		if now.Sub(k.failed[o]) >= retryProbe {
			return o
		}
	}
	return nil
}

func (k *pathKeeper) probing() bool {
	for _, p := range k.paths {
		if p.probing {
			return true
		}
	}
	return false
}

// probe starts to validate the path over an outlet that is not in use. The result
// comes to validated.
func (k *pathKeeper) probe(o *outlet, now time.Time, timeout time.Duration) {
	p := k.paths[o]
	if p == nil {
		p = &path{out: o}
	}
	if p.quic == nil {
		tr, _, err := o.transport()
		if err == nil {
			p.quic, err = k.link.conn.AddPath(tr)
		}
		if err != nil {
			k.failed[o] = now
			k.giveUp(o.uplink, err)
			return
		}
	}
	k.paths[o] = p
	p.probing, p.valid, p.probed = true, false, now
	ctx, cancel := context.WithTimeout(k.link.conn.Context(), timeout)
	p.cancel = cancel
	k.wg.Go(func() {
		defer cancel()
		err := p.quic.Probe(ctx)
		select {
		case k.probes <- probeResult{p, time.Since(now), err}:
		case <-k.link.conn.Context().Done():
		}
	})
}

// validated takes the result of a probe.
func (k *pathKeeper) validated(r probeResult) {
	p, now := r.path, time.Now()
	p.probing = false
	if r.err != nil {
		if !errors.Is(r.err, context.Canceled) { // see endRescue
			k.failed[p.out] = now
		}
		if k.standby == p {
			k.standby = nil
			k.say(EventStandby, "the standby path over "+p.out.uplink.Name+" does not answer")
		}
		if k.suspect.IsZero() {
			k.retire(p)
		} // else the target could not give us another connection ID for it
		k.giveUp(p.out.uplink, r.err)
		k.publish()
		return
	}
	p.valid = true
	if k.suspect.IsZero() {
		p.rtt = r.took // else most of it was the silence
	} else {
		k.silence.packets = k.link.conn.ConnectionStats().PacketsReceived // see heardPackets
	}
	delete(k.failed, p.out)
	if p.good.IsZero() {
		p.good = now
	}
	if k.standby != p {
		old := k.standby
		k.standby = p
		if old != nil {
			k.retire(old)
		}
		k.publish()
	}
	switch m := k.pending; {
	case m != nil && m.to == p.out.uplink:
		k.pending = nil
		if m.ctx.Err() == nil {
			k.move(p, m)
		}
	case p.out.uplink == k.active.out.uplink:
	case !k.suspect.IsZero(), k.active.out.uplink.down.Load():
		k.switchTo(p, now)
	}
}

// retire gives a path's connection ID back. It is forgotten, since quic-go does
// not let a closed one be probed again.
func (k *pathKeeper) retire(p *path) {
	if p == k.active || p.quic == nil {
		return
	}
	// It fails only for the active path.
	_ = p.quic.Close()
	if k.paths[p.out] == p {
		delete(k.paths, p.out)
	}
}

// switchTo moves the link to a validated path, or resends on the one in use:
// either way all that is in flight counts as lost, goes out anew, and the time to
// the next try is short again. It reports whether it could.
func (k *pathKeeper) switchTo(p *path, now time.Time) bool {
	if p.quic == nil || !p.valid || p.quic.Switch() != nil {
		p.valid = false
		return false
	}
	p.used, k.moved = now, now
	if p != k.active {
		k.active.good = time.Time{}
		k.active = p
		if k.standby == p {
			k.standby = nil
		}
		k.publish()
	}
	// quic-go switches when it next does anything; a heartbeat makes it.
	k.link.askBeat()
	return true
}

func (k *pathKeeper) publish() {
	standby := ""
	if k.standby != nil {
		standby = k.standby.out.uplink.Name
	}
	k.carrier.Store(k.active.out.uplink)
	k.link.mu.Lock()
	k.link.stats.Path, k.link.stats.Standby = k.active.out.uplink.Name, standby
	k.link.mu.Unlock()
}
