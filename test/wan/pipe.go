package wan

import (
	"encoding/binary"
	"io"
	"sync"
	"sync/atomic"
)

// A Pipe carries whole IP packets between two network devices, such as TUN devices
// in two namespaces, until Close.
type Pipe struct {
	source, target io.ReadWriteCloser
	up, down       *lane
	// nat is what the ports of the source's datagrams are changed by on their way
	// to the target, and back.
	nat  atomic.Uint32
	work sync.WaitGroup
}

// Carry starts a pipe. Each Read of a device returns one packet of at most 1500
// bytes, each Write takes one. up shapes what goes to the target, down what comes
// back. The pipe closes the devices.
func Carry(source, target io.ReadWriteCloser, up, down Shape) *Pipe {
	p := &Pipe{source: source, target: target, up: newLane(up, 1, 0), down: newLane(down, 1, 1)}
	p.up.overhead, p.down.overhead = 0, 0
	p.work.Go(func() { p.read(p.source, p.up, portOfSender) })
	p.work.Go(func() { p.read(p.target, p.down, portOfReceiver) })
	// A packet that a device refuses, because it is down, is lost, as packets are.
	p.work.Go(func() { p.up.run(func(k *packet) { _, _ = p.target.Write(k.buf[:k.n]) }) })
	p.work.Go(func() { p.down.run(func(k *packet) { _, _ = p.source.Write(k.buf[:k.n]) }) })
	return p
}

// read takes in what a device sends until it is closed.
func (p *Pipe) read(from io.Reader, l *lane, port int) {
	for {
		k := newPacket()
		n, err := from.Read(k.buf[:])
		if err != nil {
			k.free()
			return
		}
		if k.n = n; n > headerBytes+maxPacket {
			k.free()
			continue
		}
		translate(k.buf[:n], port, uint16(p.nat.Load()))
		l.admit(k)
	}
}

// Where the UDP header has the ports.
const (
	portOfSender   = 0
	portOfReceiver = 2
)

// translate changes one port of a UDP datagram over IPv4 by key. Changing it twice
// restores it, so that no table is needed.
func translate(ip []byte, port int, key uint16) {
	const udp, more = 17, 0x3fff // the protocol, and what is set in a fragment
	if key == 0 || len(ip) < headerBytes || ip[0]>>4 != 4 || ip[9] != udp || binary.BigEndian.Uint16(ip[6:])&more != 0 {
		return
	}
	header := ip[min(int(ip[0]&15)*4, len(ip)-8):]
	binary.BigEndian.PutUint16(header[port:], binary.BigEndian.Uint16(header[port:])^key)
	binary.BigEndian.PutUint16(header[6:], 0) // no checksum: RFC 768 allows it
}

// Rebind does what a NAT does that has lost its table: from now on the target sees
// other ports, and what it sends to the old ones does not arrive.
func (p *Pipe) Rebind() { p.nat.Store((p.nat.Load() + 1) & 0xff) }

// Cut makes the pipe swallow every packet, those on their way too. The devices do
// not notice.
func (p *Pipe) Cut() { p.setCut(true) }

// Restore ends a Cut.
func (p *Pipe) Restore() { p.setCut(false) }

func (p *Pipe) setCut(cut bool) {
	p.up.setCut(cut)
	p.down.setCut(cut)
}

// Close ends the pipe and waits for its goroutines.
func (p *Pipe) Close() {
	p.source.Close()
	p.target.Close()
	p.up.close()
	p.down.close()
	p.work.Wait()
}
