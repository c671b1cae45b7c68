package quicx

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// sendReportEvery bounds how often the send errors of one socket are reported.
const sendReportEvery = 50 * time.Millisecond

// A guard stands between quic-go and a UDP socket. quic-go destroys a connection
// on any send error but "message too long", so that a route missing for a second
// would end a link. To QUIC a datagram that did not leave is a lost packet like
// any other, so the guard says it was sent, and reports the error instead.
type guard struct {
	// onSendError is called at most every 50 ms, from whoever sends.
	onSendError func(error)
	// onSent is called with the bytes of each datagram that left, or of several
	// that the kernel takes apart.
	onSent func(bytes int)

	held     atomic.Bool
	failures atomic.Uint64
	// handshakes has room for one: whoever put something in lets no datagram of a
	// handshake out until he takes it back.
	handshakes chan struct{}

	mu       sync.Mutex
	reported time.Time
}

// hold drops what is sent from now on. While an interface has no address, Linux
// sends with another interface's address, which would cost the target one of the
// few paths it keeps track of.
func (g *guard) hold(on bool) { g.held.Store(on) }

// await waits with a datagram of a handshake while those are kept back.
func (g *guard) await(datagram []byte) {
	const longHeader = 0x80 // RFC 9000, section 17.2
	if len(datagram) > 0 && datagram[0]&longHeader != 0 {
		g.handshakes <- struct{}{}
		<-g.handshakes
	}
}

// sent reports n bytes, and returns n.
func (g *guard) sent(n int) int {
	if g.onSent != nil {
		g.onSent(n)
	}
	return n
}

// judge returns nil for an error that only says this datagram did not leave.
func (g *guard) judge(err error) error {
	if err == nil || mustPass(err) {
		return err
	}
	g.failures.Add(1)
	now := time.Now()
	g.mu.Lock()
	due := now.Sub(g.reported) >= sendReportEvery
	if due {
		g.reported = now
	}
	g.mu.Unlock()
	if due && g.onSendError != nil {
		g.onSendError(err)
	}
	return nil
}

// mustPass names the errors quic-go itself acts on: a closed socket, a datagram
// larger than the path's MTU, and EIO, which tells it that the interface cannot
// segment for it.
func mustPass(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, errTooLong) || errors.Is(err, syscall.EIO)
}

// A udpSocket is a guarded *net.UDPConn. It embeds the real socket because
// quic-go looks for its methods: with them it batches reads, segments in the
// kernel and reads ECN marks.
type udpSocket struct {
	*net.UDPConn
	guard
}

// WriteMsgUDP is what quic-go sends with where it has control messages.
func (s *udpSocket) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	if s.held.Load() {
		return len(b), len(oob), nil
	}
	s.await(b)
	n, oobn, err = s.UDPConn.WriteMsgUDP(b, oob, addr)
	if errors.Is(err, syscall.EPERM) {
		// Linux reports a firewall's verdict on an earlier datagram once
		// (golang/go#63322).
		n, oobn, err = s.UDPConn.WriteMsgUDP(b, oob, addr)
	}
	if err == nil {
		return s.sent(n), oobn, nil
	}
	if err := s.judge(err); err != nil {
		return n, oobn, err
	}
	return len(b), len(oob), nil
}

// WriteTo is what quic-go sends with elsewhere.
func (s *udpSocket) WriteTo(b []byte, addr net.Addr) (int, error) {
	if s.held.Load() {
		return len(b), nil
	}
	s.await(b)
	n, err := s.UDPConn.WriteTo(b, addr)
	if err == nil {
		return s.sent(n), nil
	}
	if err := s.judge(err); err != nil {
		return n, err
	}
	return len(b), nil
}

// A packetSocket is any other guarded socket, such as a simulated one.
type packetSocket struct {
	net.PacketConn
	guard
}

func (s *packetSocket) WriteTo(b []byte, addr net.Addr) (int, error) {
	if s.held.Load() {
		return len(b), nil
	}
	s.await(b)
	n, err := s.PacketConn.WriteTo(b, addr)
	if err == nil {
		return s.sent(n), nil
	}
	if err := s.judge(err); err != nil {
		return n, err
	}
	return len(b), nil
}

// SetReadBuffer keeps quic-go from complaining on the process's standard error.
func (s *packetSocket) SetReadBuffer(n int) error {
	if c, ok := s.PacketConn.(interface{ SetReadBuffer(int) error }); ok {
		return c.SetReadBuffer(n)
	}
	return nil
}

// SetWriteBuffer is there for the same reason.
func (s *packetSocket) SetWriteBuffer(n int) error {
	if c, ok := s.PacketConn.(interface{ SetWriteBuffer(int) error }); ok {
		return c.SetWriteBuffer(n)
	}
	return nil
}

// guarded wraps pc. The guard returned is the one inside the socket returned.
func guarded(pc net.PacketConn, onSendError func(error), onSent func(bytes int)) (net.PacketConn, *guard) {
	newGuard := func() guard {
		return guard{onSendError: onSendError, onSent: onSent, handshakes: make(chan struct{}, 1)}
	}
	if u, ok := pc.(*net.UDPConn); ok {
		s := &udpSocket{UDPConn: u, guard: newGuard()}
		return gathering(s), &s.guard
	}
	s := &packetSocket{PacketConn: pc, guard: newGuard()}
	return s, &s.guard
}
