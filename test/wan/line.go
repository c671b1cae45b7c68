// Package wan is a thin, long, lossy line on loopback: UDP relays inside one
// process that stand before a real target. Each path of the line has its own
// rate, delay, random loss and queue in each direction, and can be cut.
//
// A source dials the line's one address. Which path a packet takes follows from
// the address it was sent from, as with two uplinks of a site, because a QUIC
// connection keeps its remote address when it migrates. Towards the target every
// source address has its own socket, so that the target sees the source's
// address change.
//
// A Pipe is one such path between two network devices, for scenarios in network
// namespaces.
//
// It serves the demo, tests and benchmarks. It is not a model of congestion between
// strangers, and it knows nothing of QUIC. Start with New, or with Carry for a Pipe;
// the shaping itself is in lane.go.
package wan

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// Config describes a line.
type Config struct {
	// Listen is the UDP address that sources dial. Default: a free port of
	// 127.0.0.1.
	Listen string
	// Target is where the line ends.
	Target netip.AddrPort
	// Paths are the ways over the line, at least one.
	Paths []Path
	// Seed makes the random loss repeatable.
	Seed uint64
}

// A Path is one way over the line.
type Path struct {
	Name string
	// From is the address whose packets take this path, whatever their port. The
	// zero value leaves only the sockets that Line.Socket opened.
	From netip.Addr
	// Up shapes what goes to the target, Down what comes back.
	Up, Down Shape
}

// A Line carries UDP packets between sources and one target until Close.
type Line struct {
	target netip.AddrPort
	front  *net.UDPConn
	paths  []*path

	mu     sync.Mutex
	closed bool
	flows  map[netip.AddrPort]*flow // by the source's address
	owned  map[netip.AddrPort]*path // of the sockets that Socket opened
	lost   uint64                   // packets that belong to no path
	work   sync.WaitGroup
}

// path is a Path at work.
type path struct {
	Path
	up, down *lane
}

const (
	// maxFlows is how many source addresses a line remembers. A source has one or
	// two sockets an uplink; the rest are sources of earlier runs.
	maxFlows = 64
	// maxPacket is the largest packet that passes, in bytes of UDP payload. Like
	// most WANs the line takes no jumbo frames.
	maxPacket = 1472
	// socketBuffer is what is asked of the kernel for each socket, in bytes: some
	// 30 ms at 500 Mbit/s, so that a busy machine does not add loss of its own.
	socketBuffer = 2 << 20
)

// New opens a line that works until Close.
func New(cfg Config) (*Line, error) {
	if len(cfg.Paths) == 0 {
		return nil, errors.New("a line needs a path")
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	addr, err := net.ResolveUDPAddr("udp4", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen address of the line: %w", err)
	}
	front, err := net.ListenUDP("udp4", addr)
	if err != nil {
		return nil, fmt.Errorf("open the line: %w", err)
	}
	widen(front)
	l := &Line{
		target: cfg.Target, front: front,
		flows: map[netip.AddrPort]*flow{}, owned: map[netip.AddrPort]*path{},
	}
	for i, p := range cfg.Paths {
		run := &path{
			Path: p,
			up:   newLane(p.Up, cfg.Seed, uint64(2*i)),
			down: newLane(p.Down, cfg.Seed, uint64(2*i+1)),
		}
		l.paths = append(l.paths, run)
		l.work.Go(func() { run.up.run(l.toTarget) })
		l.work.Go(func() { run.down.run(l.toSource) })
	}
	l.work.Go(l.readSources)
	return l, nil
}

// Addr is the address that sources dial.
func (l *Line) Addr() netip.AddrPort { return addrOf(l.front) }

// Socket opens a UDP socket whose packets take the path. The caller closes it.
func (l *Line) Socket(name string) (*net.UDPConn, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("open a socket on path %s: %w", name, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owned[addrOf(conn)] = l.path(name)
	return conn, nil
}

// Cut makes a path swallow every packet, those on their way too.
func (l *Line) Cut(name string) { l.setCut(l.path(name), true) }

// Restore ends a Cut.
func (l *Line) Restore(name string) { l.setCut(l.path(name), false) }

// CutAll cuts every path.
func (l *Line) CutAll() { l.setCutAll(true) }

// RestoreAll restores every path.
func (l *Line) RestoreAll() { l.setCutAll(false) }

// IsCut reports whether the path is cut.
func (l *Line) IsCut(name string) bool { return l.path(name).up.isCut() }

func (l *Line) setCutAll(cut bool) {
	for _, p := range l.paths {
		l.setCut(p, cut)
	}
}

func (l *Line) setCut(p *path, cut bool) {
	p.up.setCut(cut)
	p.down.setCut(cut)
}

// path finds a path by name. A name that was not configured is a bug.
func (l *Line) path(name string) *path {
	for _, p := range l.paths {
		if p.Name == name {
			return p
		}
	}
	panic(fmt.Sprintf("wan: the line has no path %q", name))
}

// Stats are the counters of a path.
type Stats struct {
	Path     string
	Up, Down Counters
}

// Stats returns the counters of every path, in the order of Config.Paths.
func (l *Line) Stats() []Stats {
	all := make([]Stats, 0, len(l.paths))
	for _, p := range l.paths {
		all = append(all, Stats{Path: p.Name, Up: p.up.counters(), Down: p.down.counters()})
	}
	return all
}

// Stray returns how many packets came from an address that belongs to no path.
func (l *Line) Stray() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// Close ends the line and waits for its goroutines.
func (l *Line) Close() error {
	l.mu.Lock()
	l.closed = true
	for _, f := range l.flows {
		f.conn.Close()
	}
	l.mu.Unlock()
	err := l.front.Close()
	for _, p := range l.paths {
		p.up.close()
		p.down.close()
	}
	l.work.Wait()
	return err
}

func addrOf(c *net.UDPConn) netip.AddrPort {
	return plain(c.LocalAddr().(*net.UDPAddr).AddrPort())
}

// plain makes the two ways to write an IPv4 address the same.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// widen asks for larger buffers. Less is slower, not wrong.
func widen(c *net.UDPConn) {
	_ = c.SetReadBuffer(socketBuffer)
	_ = c.SetWriteBuffer(socketBuffer)
}
