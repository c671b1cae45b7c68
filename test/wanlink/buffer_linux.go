package wanlink

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// What stands before each packet that is read from or written to a device
// (linux/virtio_net.h): flags, type, length of the headers, size of a segment, where
// the checksum begins and where it goes, in the byte order of the machine.
const (
	virtioHeader = 10
	needsSum     = 1 // in flags: the sum is of the pseudo header only
	typeTCP      = 1 // for IPv4
	typeUDP      = 5
	typeECN      = 0x80 // may be added
)

const (
	// mostRead is the longest packet, with what stands before it.
	mostRead = virtioHeader + 1<<16
	// headerRoom is enough for what stands before a packet and for its headers.
	headerRoom = virtioHeader + 60 + 60
)

// A buffer holds what was read at once: a packet, or several in one, with the same
// headers, that are to be cut.
type buffer struct {
	data  []byte // with the virtio header
	room  []byte
	users int
	// parts is how many packets it is. If it is one the rest is zero.
	parts   int
	kind    byte
	ip      int // length of the IP header
	headers int // length of all headers
	size    int // payload of each packet but the last
}

// buffers keeps those that are not in use, by what they have room for.
type buffers [3][]*buffer

var bufferRoom = [3]int{2048, 16 << 10, mostRead}

func roomFor(bytes int) int {
	class := 0
	for bufferRoom[class] < bytes {
		class++
	}
	return class
}

// take returns a buffer with a copy of what was read. It has one user.
func (f *buffers) take(read []byte) *buffer {
	class := roomFor(len(read))
	b := &buffer{}
	if n := len(f[class]); n > 0 {
		b, f[class] = f[class][n-1], f[class][:n-1]
	} else {
		b.room = make([]byte, bufferRoom[class])
	}
	*b = buffer{room: b.room, data: b.room[:copy(b.room, read)], users: 1, parts: 1}
	b.divide()
	return b
}

func (f *buffers) release(b *buffer) {
	if b.users--; b.users == 0 {
		class := roomFor(len(b.room))
		f[class] = append(f[class], b)
	}
}

// divide finds out whether the buffer holds several packets.
func (b *buffer) divide() {
	kind, size := b.data[1]&^typeECN, int(binary.NativeEndian.Uint16(b.data[4:]))
	packet := b.data[virtioHeader:]
	if size == 0 || len(packet) < 20+20 || packet[0]>>4 != 4 {
		return
	}
	ip := int(packet[0]&15) * 4
	headers := ip + 8
	switch kind {
	case typeTCP:
		headers = ip + int(packet[ip+12]>>4)*4
	case typeUDP:
	default:
		return
	}
	if headers >= len(packet) || headers > headerRoom-virtioHeader {
		return
	}
	b.kind, b.ip, b.headers, b.size = kind, ip, headers, size
	b.parts = (len(packet) - headers + size - 1) / size
}

func (b *buffer) udp() bool {
	return len(b.data) > virtioHeader+9 && b.data[virtioHeader+9] == unix.IPPROTO_UDP
}

// payload returns what some of the packets of a divided buffer carry.
func (b *buffer) payload(from, to int) []byte {
	all := b.data[virtioHeader+b.headers:]
	return all[from*b.size : min(to*b.size, len(all))]
}

// partBytes is the length of one packet.
func (b *buffer) partBytes(part int) int {
	if b.headers == 0 {
		return len(b.data) - virtioHeader
	}
	return b.headers + len(b.payload(part, part+1))
}

// handOver writes some of the packets of the buffer, at once.
func (d *direction) handOver(b *buffer, from, to int) {
	head, body := b.data, []byte(nil)
	if b.headers > 0 {
		body = b.payload(from, to)
		head = b.head(d.segment[:virtioHeader+b.headers], from, to, len(body))
	}
	// A device that is full, or down, drops.
	_ = d.write(head, body)
	for range to - from {
		d.buffers.release(b)
	}
}

// head writes the headers of some of the packets of a divided buffer.
func (b *buffer) head(head []byte, from, to, body int) []byte {
	virtio, ip := head[:virtioHeader], head[virtioHeader:]
	copy(ip, b.data[virtioHeader:])
	clear(virtio)
	virtio[0] = needsSum
	if to-from > 1 {
		virtio[1] = b.data[1]
		binary.NativeEndian.PutUint16(virtio[2:], uint16(b.headers))
		binary.NativeEndian.PutUint16(virtio[4:], uint16(b.size))
	}
	binary.NativeEndian.PutUint16(virtio[6:], uint16(b.ip))

	big := binary.BigEndian
	big.PutUint16(ip[2:], uint16(b.headers+body))
	big.PutUint16(ip[4:], big.Uint16(ip[4:])+uint16(from)) // identification
	big.PutUint16(ip[10:], 0)
	big.PutUint16(ip[10:], ^sum(ip[:b.ip], 0))
	upper := ip[b.ip:]
	length := len(upper) + body
	pseudo := sum(ip[12:20], uint32(ip[9])+uint32(length))
	if b.kind == typeUDP {
		binary.NativeEndian.PutUint16(virtio[8:], 6)
		big.PutUint16(upper[4:], uint16(length))
		big.PutUint16(upper[6:], pseudo)
		return head
	}
	binary.NativeEndian.PutUint16(virtio[8:], 16)
	big.PutUint32(upper[4:], big.Uint32(upper[4:])+uint32(from*b.size))
	const fin, push, windowReduced = 0x01, 0x08, 0x80
	if to < b.parts {
		upper[13] &^= fin | push
	}
	if from > 0 {
		upper[13] &^= windowReduced
	}
	big.PutUint16(upper[16:], pseudo)
	return head
}

// sum is the ones' complement sum of 16-bit words that IP uses (RFC 1071).
func sum(words []byte, s uint32) uint16 {
	for ; len(words) > 1; words = words[2:] {
		s += uint32(words[0])<<8 | uint32(words[1])
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// writeTo writes to a device.
func writeTo(fd int) func(head, body []byte) error {
	return func(head, body []byte) error {
		if len(body) == 0 {
			_, err := unix.Write(fd, head)
			return err
		}
		if _, err := unix.Writev(fd, [][]byte{head, body}); err != nil {
			return fmt.Errorf("write to the device: %w", err)
		}
		return nil
	}
}
