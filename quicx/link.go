package quicx

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"wanrep/quicx/stripe"
)

// A Link is one QUIC connection between two appliances. A source's link moves
// between uplinks and lives through short blackouts; it ends when nothing was
// heard for the idle timeout, when the target was restarted, or when it is closed.
type Link struct {
	conn *quic.Conn
	peer string
	pin  Pin
	say  func(Event)

	confirmed chan struct{} // closed by confirm
	confirm   func()
	finished  chan struct{} // closed when the link's own goroutines have ended
	beat      chan struct{} // see sendBeats

	streams atomic.Uint64 // opened from here
	writes  atomic.Uint64 // Write calls begun
	writing atomic.Int64  // Write calls running
	blocked atomic.Int64  // those of them that wait for QUIC, and not for a limit
	answers atomic.Uint64 // heartbeats answered

	// Of a source's link; nil or zero at a target.
	endpoint *Endpoint
	target   Peer
	path     *pathKeeper
	began    time.Time
	early    bool // 0-RTT was tried: returned by Dial before the target answered

	// lanes are the link's other connections, and main is set in their place if
	// this is one of them.
	lanes  *laneSet
	main   *Link
	remote netip.AddrPort

	// first is the stream of an early link that was opened with it, until it is
	// handed out.
	first atomic.Pointer[quic.Stream]

	// Of a target's link: the streams it accepted, and what its lanes show.
	inbound   inbound
	laneToken []byte

	mu     sync.Mutex
	ending error // why this side ended it, where quic-go cannot know
	stats  Stats
}

func newLink(conn *quic.Conn, peer string, pin Pin, say func(Event)) *Link {
	l := &Link{
		conn: conn, peer: peer, pin: pin, say: say,
		confirmed: make(chan struct{}),
		finished:  make(chan struct{}),
		beat:      make(chan struct{}, 1),
	}
	l.confirm = sync.OnceFunc(func() { close(l.confirmed) })
	return l
}

func newSourceLink(e *Endpoint, got dialed, p Peer, pin Pin, via way, began time.Time) *Link {
	l := newLink(got.conn, p.Name, pin, e.say)
	l.endpoint, l.target, l.began = e, p, began
	l.stats.Remote = via.addr.String()
	l.stats.Path = via.out.uplink.Name
	l.path = newPathKeeper(l, via.out)
	l.early = got.first != nil
	l.first.Store(got.first)
	l.remote = via.addr
	return l
}

// runSource is the life of a source's link.
func (l *Link) runSource() {
	defer l.end()
	select {
	case <-l.conn.HandshakeComplete():
	case <-l.conn.Context().Done():
		return
	}
	// Reading the state races with a migration, so it is read here, once, before
	// there can be any.
	state := l.conn.ConnectionState()
	if l.early && !state.Used0RTT {
		// What was sent is lost, and such a connection can never migrate: the
		// connection IDs it sent early are not sent again.
		l.fail(errEarlyRejected)
		return
	}
	l.mu.Lock()
	l.stats.Resumed, l.stats.Used0RTT = state.TLS.DidResume, state.Used0RTT
	l.mu.Unlock()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(l.awaitBeats)
	wg.Go(l.sendBeats)
	if state.TLS.DidResume {
		// The target decided before it answered: a resumed session carries the
		// key that was proved when it began.
		l.confirm()
	} else {
		if !l.askUntilConfirmed() {
			return
		}
	}
	if l.main == nil {
		l.accepted()
		wg.Go(func() { l.lanes.run(state) })
	}
	l.path.run()
}

// accepted notes that the target has let this source in.
func (l *Link) accepted() {
	took := time.Since(l.began)
	l.mu.Lock()
	l.stats.Handshake = took
	s := l.stats
	l.mu.Unlock()
	e := l.endpoint
	e.mu.Lock()
	verb := "attached"
	if e.attached[l.pin] {
		verb = "reattached"
	}
	e.attached[l.pin] = true
	delete(e.cautious, l.pin)
	e.mu.Unlock()
	how := "full handshake"
	switch {
	case s.Used0RTT:
		how = "0-RTT"
	case s.Resumed:
		how = "session resumed"
	}
	l.say(Event{Kind: EventAttached, Peer: l.peer, Path: s.Path, Took: took,
		Text: fmt.Sprintf("%s over %s, %s, %s%s", verb, s.Path, how, short(took), l.path.carrier.Load().terms())})
}

// end does what is left to do once the connection has ended.
func (l *Link) end() {
	e := l.endpoint
	defer close(l.finished)
	defer e.gone(l)
	if l.main != nil {
		return
	}
	err := l.Err()
	var reset *quic.StatelessResetError
	var idle *quic.IdleTimeoutError
	var alert *quic.TransportError
	if errors.Is(err, errEarlyRejected) || errors.As(err, &reset) || errors.As(err, &alert) && alert.ErrorCode.IsCryptoError() {
		// A restarted target has new ticket keys: its old ticket would cost a
		// rejected 0-RTT attempt. And a TLS alert must not be the ticket's fault
		// a second time. That a file could not be removed only means that it is.
		_ = e.tickets.drop(l.pin)
	}
	if !l.isConfirmed() || errors.As(err, &idle) {
		e.mu.Lock()
		e.cautious[l.pin] = true
		e.mu.Unlock()
	}
	l.sayLost(err)
}

// sayLost tells of a link that ended before its work was done.
func (l *Link) sayLost(err error) {
	var known *Error
	if errors.As(err, &known) && known.Class != Local && !known.done() && !errors.Is(err, errEarlyRejected) {
		l.say(Event{Kind: EventLost, Level: slog.LevelWarn, Peer: l.peer, Text: "link lost: " + known.text})
	}
}

func (l *Link) isConfirmed() bool {
	select {
	case <-l.confirmed:
		return true
	default:
		return false
	}
}

// fail ends the link for a reason that is not the engine's.
func (l *Link) fail(why error) { l.failWith(CodeDone, why) }

func (l *Link) failWith(code uint64, why error) {
	l.mu.Lock()
	if l.ending == nil {
		l.ending = why
	}
	l.mu.Unlock()
	l.conn.CloseWithError(quic.ApplicationErrorCode(code), "")
}

// Peer returns the paired name of the other side.
func (l *Link) Peer() string { return l.peer }

// Confirmed waits until both sides have proved who they are. Before that, what
// arrives at a target may be a replay of an earlier link's first datagrams, and
// what a source sent may yet be refused.
func (l *Link) Confirmed(ctx context.Context) error {
	select {
	case <-l.confirmed:
		return nil
	default:
	}
	select {
	case <-l.confirmed:
		return nil
	case <-l.finished:
		return l.Err()
	case <-ctx.Done():
		return wrap("wait for", l.peer, ctx.Err())
	}
}

// OpenStream opens a stream; it waits while the peer allows no more. The peer
// sees a stream only when something was written to it. Before the link is
// confirmed a source can open one, and waits with the next.
//
// The first stream that is opened is for what steers the others: it goes before
// them, and is not held back where sending is limited.
func (l *Link) OpenStream(ctx context.Context) (*Stream, error) {
	if s := l.first.Swap(nil); s != nil {
		return l.opened(s), nil
	}
	if l.early {
		select {
		case <-l.conn.HandshakeComplete():
		case <-l.conn.Context().Done():
		case <-ctx.Done():
			return nil, l.wrap("open a stream to", ctx.Err())
		}
	}
	s, err := l.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, l.wrap("open a stream to", err)
	}
	return l.opened(s), nil
}

func (l *Link) opened(s *quic.Stream) *Stream {
	const highest = 0 // of RFC 9218, section 4.1; 3 is usual
	urgent := l.streams.Add(1) == 1
	if urgent {
		s.SetPriority(highest, true)
	}
	stream := &Stream{s: s, link: l, urgent: urgent}
	if l.endpoint != nil && !urgent {
		stream.out = stripe.NewWriter(s)
	}
	return stream
}

// AcceptStream waits for a stream that the peer opens.
func (l *Link) AcceptStream(ctx context.Context) (*Stream, error) {
	s, err := l.conn.AcceptStream(ctx)
	if err != nil {
		return nil, l.wrap("accept a stream from", err)
	}
	stream := &Stream{s: s, link: l}
	if l.endpoint == nil {
		l.inbound.accepted(stream)
	}
	return stream, nil
}

// Done is closed when the link has ended, and all that belongs to it.
func (l *Link) Done() <-chan struct{} { return l.finished }

// Err returns why the link ended, and nil while it lives.
func (l *Link) Err() error {
	ctx := l.conn.Context()
	if ctx.Err() == nil {
		return nil
	}
	return l.explain("link to", context.Cause(ctx))
}

// wrap is wrap for an error of one of this link's calls. If the error ended the
// link, it returns when the link's own goroutine has ended too: the next dial must
// find the ticket dropped that was no good, and this link gone.
func (l *Link) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, quic.Err0RTTRejected) {
		l.fail(errEarlyRejected)
	}
	if endsLink(err) {
		<-l.finished
	}
	return l.explain(op, err)
}

// explain is wrap, unless this side ended the link for a reason that quic-go does
// not know: then it is that reason.
func (l *Link) explain(op string, err error) error {
	l.mu.Lock()
	ending := l.ending
	l.mu.Unlock()
	if ending != nil && l.conn.Context().Err() != nil {
		err = ending
	}
	return wrap(op, l.peer, err)
}

// Close ends the link; the peer's engine sees code and reason. What was written
// and has not arrived is lost: let the peer acknowledge first.
func (l *Link) Close(code uint64, reason string) error {
	l.conn.CloseWithError(quic.ApplicationErrorCode(code), reason)
	<-l.finished
	return nil
}

// short writes a duration for people: 78 ms, 0.4 s, 12.3 s.
func short(d time.Duration) string {
	if d < 100*time.Millisecond {
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond).Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}
