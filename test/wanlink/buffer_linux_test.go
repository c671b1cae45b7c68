package wanlink

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// together is several packets in one, as the kernel hands them over.
func together(protocol byte, size int, payload []byte) []byte {
	kind, upper := byte(typeUDP), make([]byte, 8)
	if protocol == unix.IPPROTO_TCP {
		kind, upper = typeTCP, make([]byte, 32)
		upper[12] = 8 << 4                               // its length in words
		upper[13] = 0x80 | 0x10 | 0x08 | 0x01            // CWR, ACK, PSH, FIN
		binary.BigEndian.PutUint32(upper[4:], 1_000_000) // sequence number
	}
	ip := make([]byte, 20)
	ip[0], ip[9] = 4<<4|5, protocol
	binary.BigEndian.PutUint16(ip[4:], 7) // identification
	copy(ip[12:], []byte{10, 77, 0, 1, 10, 77, 0, 2})
	virtio := make([]byte, virtioHeader)
	virtio[0], virtio[1] = needsSum, kind
	binary.NativeEndian.PutUint16(virtio[4:], uint16(size))
	return slices.Concat(virtio, ip, upper, payload)
}

// carryAll takes in what was read and returns what is handed over, after dropping some
// of the packets.
func carryAll(read []byte, drop func(part int) bool) (written [][]byte) {
	d := newDirection(Shape{}, 0)
	d.write = func(head, body []byte) error {
		written = append(written, slices.Concat(head, body))
		return nil
	}
	b := d.buffers.take(read)
	for part := range b.parts {
		if !drop(part) {
			d.admit(b, part, b.partBytes(part), 0)
		}
	}
	d.buffers.release(b)
	d.giveOut(time.Second)
	return written
}

func TestPacketsAreCut(t *testing.T) {
	payload := make([]byte, 4500)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	// Of the packets 0 to 4 the third is lost: two are written, and two more.
	const size = 1000
	written := carryAll(together(unix.IPPROTO_TCP, size, payload), func(part int) bool { return part == 2 })
	if len(written) != 2 {
		t.Fatalf("%d writes, want 2", len(written))
	}
	tests := []struct {
		sequence uint32
		number   uint16
		flags    byte
		payload  []byte
	}{
		{1_000_000, 7, 0x80 | 0x10, payload[:2000]},
		{1_003_000, 7 + 3, 0x10 | 0x08 | 0x01, payload[3000:]},
	}
	for i, tt := range tests {
		virtio, ip := written[i][:virtioHeader], written[i][virtioHeader:]
		tcp := ip[20:]
		if got := binary.NativeEndian.Uint16(virtio[4:]); got != size {
			t.Errorf("write %d is to be cut to %d bytes, want %d", i, got, size)
		}
		if got := binary.BigEndian.Uint16(ip[2:]); int(got) != len(ip) {
			t.Errorf("write %d says it has %d bytes, and has %d", i, got, len(ip))
		}
		if sum(ip[:20], 0) != 0xffff {
			t.Errorf("write %d has a wrong checksum", i)
		}
		if got := binary.BigEndian.Uint16(ip[4:]); got != tt.number {
			t.Errorf("write %d is identified as %d, want %d", i, got, tt.number)
		}
		if got := binary.BigEndian.Uint32(tcp[4:]); got != tt.sequence {
			t.Errorf("write %d begins at %d, want %d", i, got, tt.sequence)
		}
		if tcp[13] != tt.flags {
			t.Errorf("write %d has the flags %#x, want %#x", i, tcp[13], tt.flags)
		}
		if !bytes.Equal(tcp[32:], tt.payload) {
			t.Errorf("write %d carries something else", i)
		}
	}
}

func TestOneDatagramIsNotToBeCut(t *testing.T) {
	payload := bytes.Repeat([]byte{1}, 1500)
	written := carryAll(together(unix.IPPROTO_UDP, 1000, payload), func(part int) bool { return part == 0 })
	if len(written) != 1 {
		t.Fatalf("%d writes, want 1", len(written))
	}
	virtio, udp := written[0][:virtioHeader], written[0][virtioHeader+20:]
	if virtio[1] != 0 || binary.NativeEndian.Uint16(virtio[4:]) != 0 {
		t.Errorf("a single datagram is to be cut: %v", virtio)
	}
	if got := binary.BigEndian.Uint16(udp[4:]); got != 8+500 {
		t.Errorf("the datagram says it has %d bytes, want 508", got)
	}
}

func TestWhatCannotBeCutIsOnePacket(t *testing.T) {
	whole := together(unix.IPPROTO_TCP, 1000, make([]byte, 3000))
	tests := []struct {
		name   string
		change func(read []byte) []byte
	}{
		{"no size", func(r []byte) []byte { r[4], r[5] = 0, 0; return r }},
		{"not IPv4", func(r []byte) []byte { r[virtioHeader] = 6 << 4; return r }},
		{"another type", func(r []byte) []byte { r[1] = 3; return r }},
		{"headers that are all", func(r []byte) []byte { return r[:virtioHeader+52] }},
		{"shorter than headers", func(r []byte) []byte { return r[:virtioHeader+30] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			read := tt.change(slices.Clone(whole))
			written := carryAll(read, func(int) bool { return false })
			if len(written) != 1 || !bytes.Equal(written[0], read) {
				t.Errorf("%d writes, want what was read, as it was", len(written))
			}
		})
	}
}
