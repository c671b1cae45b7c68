package quicx

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

var errTooMany = errors.New("too many handshakes at once")

// settledKey is the context key under which a connection carries the function
// that says its handshake is over, one way or the other.
type settledKey struct{}

// admitOne counts a connection as unproven from its first datagram on.
func (l *Listener) admitOne(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	l.keys.renew()
	if l.unproven.Add(1) > maxUnproven {
		l.unproven.Add(-1)
		return nil, errTooMany
	}
	settled := sync.OnceFunc(func() { l.unproven.Add(-1) })
	context.AfterFunc(ctx, settled)
	return context.WithValue(ctx, settledKey{}, settled), nil
}

func (l *Listener) serve() {
	for {
		conn, err := l.ln.Accept(l.ctx)
		if err != nil {
			return
		}
		l.wg.Go(func() { l.admit(conn) })
	}
}

// admit sees a connection through its handshake and sorts it. quic-go hands over
// connections before the source has proved anything.
func (l *Listener) admit(conn *quic.Conn) {
	settled := conn.Context().Value(settledKey{}).(func())
	defer settled()
	if cs := conn.ConnectionState().TLS; resumedLink(cs) {
		// Its key was proved in an earlier session, so what it sent as 0-RTT may
		// be answered. It may be a replay, and counts as unproven meanwhile.
		if k := l.enter(conn, cs); k != nil {
			k.runTarget(settled)
			l.leave(k)
		}
		return
	}
	select {
	case <-conn.HandshakeComplete():
	case <-conn.Context().Done():
		return
	}
	settled()
	cs := conn.ConnectionState().TLS
	if cs.NegotiatedProtocol == protocolPair {
		l.pairWith(conn, cs)
		return
	}
	if k := l.enter(conn, cs); k != nil {
		if cs.NegotiatedProtocol == protocolLane {
			l.wg.Go(func() { l.enterLane(k) })
		}
		k.runTarget(settled)
		l.leave(k)
	}
}

func resumedLink(cs tls.ConnectionState) bool {
	return cs.DidResume && cs.NegotiatedProtocol == protocolLink && len(cs.PeerCertificates) > 0
}

// enter makes a link of conn and queues it for Accept. It returns nil if the peer
// was un-paired meanwhile, or nobody accepts.
func (l *Listener) enter(conn *quic.Conn, cs tls.ConnectionState) *Link {
	pin, err := peerPin(cs)
	l.mu.Lock()
	defer l.mu.Unlock()
	peer, paired := l.peers[pin]
	switch {
	case l.ctx.Err() != nil:
		go conn.CloseWithError(CodeShutdown, "the target is going down")
		return nil
	case err != nil || !paired:
		go conn.CloseWithError(CodeNotPaired, errNotPaired.Error())
		return nil
	}
	k := newLink(conn, peer.Name, pin, l.say)
	k.stats.Resumed = cs.DidResume
	if cs.NegotiatedProtocol == protocolLane {
		k.say = func(Event) {}
		l.links[k] = true
		return k
	}
	select {
	case l.accepted <- k:
		l.links[k] = true
		return k
	default:
		go conn.CloseWithError(CodeBusy, "too many links wait to be accepted")
		return nil
	}
}

func (l *Listener) leave(k *Link) {
	k.inbound.fail(context.Cause(k.conn.Context()))
	l.mu.Lock()
	delete(l.links, k)
	l.mu.Unlock()
	k.sayLost(k.Err())
	close(k.finished)
}

// runTarget is the life of a target's link.
func (l *Link) runTarget(settled func()) {
	select {
	case <-l.conn.HandshakeComplete():
	case <-l.conn.Context().Done():
		return
	}
	settled()
	state := l.conn.ConnectionState()
	token, err := laneToken(state)
	if err != nil {
		token = nil // the source's lanes are refused then
	}
	l.mu.Lock()
	l.laneToken = token
	l.stats.Used0RTT = state.Used0RTT
	l.stats.Remote = l.conn.RemoteAddr().String()
	remote := l.stats.Remote
	l.mu.Unlock()
	l.confirm()
	l.say(Event{Kind: EventAttached, Peer: l.peer, Text: "attached from " + remote})
	var answering sync.WaitGroup
	defer answering.Wait()
	answering.Go(l.answerBeats)
	answering.Go(l.grant)
	ticker := time.NewTicker(moveEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.noticeMove()
		case <-l.conn.Context().Done():
			return
		}
	}
}

// moveEvery is how often a target looks where its source is.
const moveEvery = time.Second

// noticeMove notes that the source came to use another path.
func (l *Link) noticeMove() {
	now := l.conn.RemoteAddr().String()
	l.mu.Lock()
	was := l.stats.Remote
	if was == now {
		l.mu.Unlock()
		return
	}
	l.stats.Remote = now
	l.stats.Migrations++
	l.mu.Unlock()
	l.say(Event{Kind: EventMigrated, Level: slog.LevelInfo, Peer: l.peer, Text: "migrated from " + was + " to " + now})
}
