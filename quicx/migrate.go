package quicx

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var errBusy = errors.New("the link is moving already")

// Migrate moves a source's link to another uplink and returns when the target was
// heard over it. Streams do not notice. If the path cannot be used the link stays
// where it is.
func (l *Link) Migrate(ctx context.Context, uplinkName string) error {
	const op = "migrate the link to"
	if l.endpoint == nil {
		return &Error{Class: Local, Op: op, Peer: l.peer, text: "only the source can move a link"}
	}
	to := l.endpoint.uplink(uplinkName)
	if to == nil {
		return &Error{Class: Local, Op: op, Peer: l.peer, text: fmt.Sprintf("no uplink is named %q", clip(uplinkName)),
			hint: "[[uplink]] in the configuration lists them"}
	}
	m := &migration{ctx: ctx, to: to, began: time.Now(), done: make(chan error, 1)}
	select {
	case l.path.migrations <- m:
	case <-l.Done():
		return l.Err()
	case <-ctx.Done():
		return wrap(op, l.peer, ctx.Err())
	}
	select {
	case err := <-m.done:
		return wrap(op, l.peer, err)
	case <-l.Done():
		return l.Err()
	case <-ctx.Done():
		return wrap(op, l.peer, ctx.Err())
	}
}

// begin starts a migration: at once if the standby is where it goes, else when
// that path has been validated.
func (k *pathKeeper) begin(m *migration) {
	now := time.Now()
	switch {
	case k.active.out.uplink == m.to:
		m.done <- nil
		return
	case k.pending != nil || k.moving != nil:
		m.done <- errBusy
		return
	}
	p := k.paths[m.to.primary]
	switch {
	case p != nil && p == k.standby && p.valid:
		k.move(p, m)
	case p != nil && p.probing:
		k.pending = m
	default:
		k.pending = m
		k.probe(m.to.primary, now, probeTimeout)
	}
}

// move switches to a validated path as planned. If nothing is heard there, doubt
// does what it does in any silence.
func (k *pathKeeper) move(p *path, m *migration) {
	from := k.active.out.uplink
	if !k.switchTo(p, time.Now()) {
		m.done <- errors.New("the path is not valid any more")
		return
	}
	if k.suspect.IsZero() {
		k.from = from
	}
	k.moving = m
}

// giveUp ends a pending migration whose path could not be validated.
func (k *pathKeeper) giveUp(to *uplink, err error) {
	if m := k.pending; m != nil && m.to == to {
		k.pending = nil
		m.done <- err
	}
}

// maybeReturn moves the link back to a better uplink that has been good for long
// enough.
func (k *pathKeeper) maybeReturn(now time.Time) {
	p := k.standby
	if p == nil || !p.valid || !k.suspect.IsZero() || k.moving != nil || k.pending != nil {
		return
	}
	u := p.out.uplink
	if u.rank < k.active.out.uplink.rank && !u.down.Load() && now.Sub(p.good) >= k.endpoint.cfg.ReturnAfter {
		k.move(p, &migration{ctx: context.Background(), to: u, began: now, done: make(chan error, 1)})
	}
}
