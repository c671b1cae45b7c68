package quicx

import (
	"bytes"
	"cmp"
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// What the kernel took over as one and hands on as one comes as the datagrams that
// were meant, whatever else is between them.
func TestGathererTakesDatagramsApart(t *testing.T) {
	from, to := loopbackSocket(t), loopbackSocket(t)
	g := newGatherer(to)
	if g == nil {
		t.Skip("the kernel gathers no datagrams")
	}
	bursts := []struct{ bytes, segment int }{
		{1, 0}, {1452, 0}, {14 * 1400, 1400}, {13*1400 + 77, 1400}, {1401, 1400}, {30 * 40, 40}, {500, 0},
	}
	var want [][]byte
	for i, b := range bursts {
		content := patternAt(i, b.bytes)
		segmentSends(t, from, b.segment)
		if _, err := from.WriteTo(content, to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		want = slices.AppendSeq(want, slices.Chunk(content, cmp.Or(b.segment, b.bytes)))
	}
	to.SetReadDeadline(time.Now().Add(10 * time.Second))
	ms := make([]ipv4.Message, 3)
	for i := range ms {
		ms[i].Buffers, ms[i].OOB = [][]byte{make([]byte, 1452)}, make([]byte, gatherControl)
	}
	for at := 0; at < len(want); {
		n, err := g.ReadBatch(ms, 0)
		if err != nil {
			t.Fatalf("datagram %d of %d: %v", at, len(want), err)
		}
		for _, m := range ms[:n] {
			if got := m.Buffers[0][:m.N]; !bytes.Equal(got, want[at]) {
				t.Fatalf("datagram %d: %d bytes %.8x, want %d bytes %.8x", at, len(got), got, len(want[at]), want[at])
			}
			if m.Addr.String() != from.LocalAddr().String() {
				t.Fatalf("datagram %d came from %v", at, m.Addr)
			}
			at++
		}
	}
}

// quic-go reads with the gatherer of the socket that it is given.
func TestGuardKeepsGathering(t *testing.T) {
	src, dst := testIdentity(t, "branch-lyon"), testIdentity(t, "dr-paris")
	l, err := Listen(ListenConfig{Identity: dst, Address: "127.0.0.1:0", Peers: []Peer{{Name: src.Name, Pin: src.Pin()}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, ok := l.sock.(*gatheringSocket)
	if !ok {
		t.Skip("the kernel gathers no datagrams")
	}
	e, err := NewEndpoint(Config{Identity: src})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Dial(t.Context(), Peer{Name: dst.Name, Addresses: []string{l.Addr().String()}, Pin: dst.Pin()}); err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody reads any more
	if s.read[0].N == 0 {
		t.Error("the gatherer has read nothing")
	}
}

func loopbackSocket(t *testing.T) *net.UDPConn {
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return u
}

// segmentSends makes the kernel send datagrams of size bytes; 0 is as they come.
func segmentSends(t *testing.T, u *net.UDPConn, size int) {
	raw, err := u.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var refused error
	if err := raw.Control(func(fd uintptr) {
		refused = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size)
	}); err != nil {
		t.Fatal(err)
	}
	if refused != nil {
		t.Skipf("the kernel segments no datagrams: %v", refused)
	}
}
