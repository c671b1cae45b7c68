package quicx

import (
	"encoding/binary"
	"net"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// gatherBytes is the most that the kernel puts together: as much as one
	// datagram may have.
	gatherBytes = 64 << 10
	// gatherBatch is how many of those are read at once.
	gatherBatch = 8
	// gatherControl is what quic-go reserves for the control messages of a datagram.
	gatherControl = 128
)

// A gatherer reads from a socket on which the kernel puts datagrams together that
// came one right after the other (UDP_GRO), and takes them apart again. One by one,
// each would go through the kernel alone; sent with segmentation offload and read
// like this, a dozen cost about as much as one. It is for one goroutine.
type gatherer struct {
	conn *ipv4.PacketConn
	read [gatherBatch]ipv4.Message
	// left are those of read that were not taken yet. Of the first, rest was not,
	// and its datagrams have size bytes each, but for the last.
	left []ipv4.Message
	rest []byte
	size int
}

// newGatherer returns nil where the kernel can't do it.
func newGatherer(u *net.UDPConn) *gatherer {
	raw, err := u.SyscallConn()
	if err != nil {
		return nil
	}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	}); err != nil || refused != nil {
		return nil
	}
	g := &gatherer{conn: ipv4.NewPacketConn(u)}
	for i := range g.read {
		g.read[i].Buffers = [][]byte{make([]byte, gatherBytes)}
		g.read[i].OOB = make([]byte, gatherControl)
	}
	return g
}

// ReadBatch reads one datagram into each of ms, and returns how many there were.
func (g *gatherer) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	if len(g.left) == 0 {
		n, err := g.conn.ReadBatch(g.read[:], flags)
		if err != nil {
			return 0, err
		}
		g.left = g.read[:n]
		g.begin()
	}
	n := 0
	for ; n < len(ms) && len(g.left) > 0; n++ {
		g.take(&ms[n])
	}
	return n, nil
}

// begin begins with the first that is left.
func (g *gatherer) begin() {
	if len(g.left) > 0 {
		m := &g.left[0]
		g.rest = m.Buffers[0][:m.N]
		g.size = gatheredSize(m.OOB[:m.NN], m.N)
	}
}

func (g *gatherer) take(m *ipv4.Message) {
	from := &g.left[0]
	m.Addr, m.Flags = from.Addr, from.Flags
	m.NN = copy(m.OOB, from.OOB[:from.NN])
	m.N = copy(m.Buffers[0], g.rest[:min(g.size, len(g.rest))])
	g.rest = g.rest[min(g.size, len(g.rest)):]
	if len(g.rest) == 0 {
		g.left = g.left[1:]
		g.begin()
	}
}

// gatheredSize returns the size of each of the datagrams that came together, which
// is all of what came if it was only one.
func gatheredSize(control []byte, all int) int {
	for len(control) > 0 {
		header, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		if header.Level == unix.IPPROTO_UDP && header.Type == unix.UDP_GRO && len(data) == 4 {
			return max(1, int(binary.NativeEndian.Uint32(data)))
		}
		control = rest
	}
	return all
}

// A gatheringSocket is a udpSocket that is read by a gatherer, which quic-go finds
// by its method.
type gatheringSocket struct {
	*udpSocket
	*gatherer
}

func gathering(s *udpSocket) net.PacketConn {
	if g := newGatherer(s.UDPConn); g != nil {
		return &gatheringSocket{s, g}
	}
	return s
}
