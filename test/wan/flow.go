package wan

import (
	"errors"
	"net"
	"net/netip"
	"time"
)

// A flow is what comes from one source address: the socket that stands for it
// before the target.
type flow struct {
	source netip.AddrPort
	path   *path
	conn   *net.UDPConn
	used   time.Time // under Line.mu
}

// readSources takes in what sources send until the line is closed.
func (l *Line) readSources() {
	for {
		p := newPacket()
		n, from, err := l.front.ReadFromUDPAddrPort(p.buf[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n > maxPacket {
			p.free()
			continue
		}
		p.n = n
		if p.flow = l.flow(plain(from)); p.flow == nil {
			p.free()
			continue
		}
		p.flow.path.up.admit(p)
	}
}

// flow returns the flow of a source address, a new one if needed. It is nil if
// the address belongs to no path, or the line is being closed.
func (l *Line) flow(source netip.AddrPort) *flow {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.flows[source]; f != nil {
		f.used = time.Now()
		return f
	}
	on := l.pathOf(source)
	if on == nil || l.closed {
		l.lost++
		return nil
	}
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(l.target))
	if err != nil {
		l.lost++
		return nil
	}
	widen(conn)
	if len(l.flows) >= maxFlows {
		l.dropOldest()
	}
	f := &flow{source: source, path: on, conn: conn, used: time.Now()}
	l.flows[source] = f
	l.work.Go(func() { readTarget(f) })
	return f
}

func (l *Line) pathOf(source netip.AddrPort) *path {
	if p := l.owned[source]; p != nil {
		return p
	}
	for _, p := range l.paths {
		if p.From == source.Addr() {
			return p
		}
	}
	return nil
}

func (l *Line) dropOldest() {
	var oldest *flow
	for _, f := range l.flows {
		if oldest == nil || f.used.Before(oldest.used) {
			oldest = f
		}
	}
	oldest.conn.Close()
	delete(l.flows, oldest.source)
}

// readTarget takes in what the target answers to one source address, until the
// flow is closed. While the target is not running, the kernel answers with errors
// that a real line would not carry; they are passed over.
func readTarget(f *flow) {
	for {
		p := newPacket()
		n, err := f.conn.Read(p.buf[:])
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n > maxPacket {
			p.free()
			continue
		}
		p.n, p.flow = n, f
		f.path.down.admit(p)
	}
}

// toTarget and toSource hand over a packet at the end of its way. A packet that
// the kernel refuses is lost, as packets are.
func (l *Line) toTarget(p *packet) {
	_, _ = p.flow.conn.Write(p.buf[:p.n])
}

func (l *Line) toSource(p *packet) {
	_, _ = l.front.WriteToUDPAddrPort(p.buf[:p.n], p.flow.source)
}
