package wan

import (
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"
)

// within is how long a test waits for a packet that must come.
const within = 10 * time.Second

// echo starts a target that sends every packet back with its own first byte
// replaced, and tells the source address of each.
func echo(t *testing.T) (netip.AddrPort, <-chan netip.AddrPort) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	from := make(chan netip.AddrPort, 100)
	go func() {
		buf := make([]byte, 2048)
		for {
			n, source, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			buf[0] = 'T'
			from <- source
			conn.WriteToUDPAddrPort(buf[:n], source)
		}
	}()
	return addrOf(conn), from
}

func newLine(t *testing.T, cfg Config) *Line {
	t.Helper()
	l, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// ask sends a packet over the line and returns the answer, or "" if none comes
// within the time.
func ask(t *testing.T, conn *net.UDPConn, l *Line, text string, wait time.Duration) string {
	t.Helper()
	if _, err := conn.WriteToUDPAddrPort([]byte(text), l.Addr()); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 2048)
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		return ""
	}
	if plain(from) != l.Addr() {
		t.Errorf("the answer came from %v, want the line's address %v", from, l.Addr())
	}
	return string(buf[:n])
}

func open(t *testing.T, l *Line, path string) *net.UDPConn {
	t.Helper()
	conn, err := l.Socket(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestTwoPathsToOneTarget(t *testing.T) {
	target, from := echo(t)
	l := newLine(t, Config{Target: target, Paths: []Path{
		{Name: "a", Up: Shape{Delay: 15 * time.Millisecond}, Down: Shape{Delay: 15 * time.Millisecond}},
		{Name: "b"},
	}})
	a, b := open(t, l, "a"), open(t, l, "b")

	start := time.Now()
	if got := ask(t, a, l, "one", within); got != "Tne" {
		t.Fatalf("answer on path a: %q", got)
	}
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("a round trip on path a took %v, want at least 30ms", took)
	}
	if got := ask(t, b, l, "two", within); got != "Two" {
		t.Fatalf("answer on path b: %q", got)
	}
	if first, second := <-from, <-from; first == second {
		t.Errorf("the target sees both paths as %v", first)
	}
	stats := l.Stats()
	if stats[0].Up.Bytes != 3 || stats[1].Down.Packets != 1 {
		t.Errorf("counters %+v", stats)
	}
}

func TestCutAndRestore(t *testing.T) {
	target, _ := echo(t)
	l := newLine(t, Config{Target: target, Paths: []Path{{Name: "a"}, {Name: "b"}}})
	a, b := open(t, l, "a"), open(t, l, "b")
	const silence = 30 * time.Millisecond

	l.Cut("a")
	if got := ask(t, a, l, "cut", silence); got != "" || !l.IsCut("a") {
		t.Errorf("answer on a cut path: %q", got)
	}
	if got := ask(t, b, l, "whole", within); got != "Thole" {
		t.Errorf("answer on the other path: %q", got)
	}
	l.CutAll()
	if got := ask(t, b, l, "dark", silence); got != "" {
		t.Errorf("answer with all paths cut: %q", got)
	}
	l.RestoreAll()
	for _, conn := range []*net.UDPConn{a, b} {
		if got := ask(t, conn, l, "back", within); got != "Tack" {
			t.Errorf("answer after restore: %q", got)
		}
	}
	if s := l.Stats(); s[0].Up.CutPackets != 1 || s[1].Up.CutPackets != 1 {
		t.Errorf("counters %+v, want one packet cut on each path", s)
	}
}

func TestPathByAddress(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("macOS has only 127.0.0.1 on its loopback")
	}
	target, _ := echo(t)
	second := netip.MustParseAddr("127.0.0.2")
	l := newLine(t, Config{Target: target, Paths: []Path{{Name: "a"}, {Name: "b", From: second}}})
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: second.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := ask(t, conn, l, "two", within); got != "Two" {
		t.Errorf("answer: %q", got)
	}
	if s := l.Stats(); s[1].Up.Packets != 1 {
		t.Errorf("counters %+v, want the packet on path b", s)
	}
}

func TestStrangersAndGiantsAreDropped(t *testing.T) {
	target, _ := echo(t)
	l := newLine(t, Config{Target: target, Paths: []Path{{Name: "a"}}})
	stranger, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if got := ask(t, stranger, l, "hello", 30*time.Millisecond); got != "" || l.Stray() != 1 {
		t.Errorf("a stranger got %q, %d packets counted as stray", got, l.Stray())
	}
	a := open(t, l, "a")
	if got := ask(t, a, l, strings.Repeat("x", maxPacket+1), 30*time.Millisecond); got != "" {
		t.Errorf("a packet of %d bytes passed", len(got))
	}
	if got := ask(t, a, l, strings.Repeat("x", maxPacket), within); len(got) != maxPacket {
		t.Errorf("a packet of %d bytes gave %d back", maxPacket, len(got))
	}
}

func TestOldFlowsMakeRoom(t *testing.T) {
	target, _ := echo(t)
	l := newLine(t, Config{Target: target, Paths: []Path{{Name: "a"}}})
	for range maxFlows + 5 {
		conn := open(t, l, "a")
		if got := ask(t, conn, l, "one", within); got != "Tne" {
			t.Fatalf("answer %q", got)
		}
		conn.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.flows) != maxFlows {
		t.Errorf("%d flows remembered, want %d", len(l.flows), maxFlows)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		l, err := New(Config{Target: addrOf(conn), Paths: []Path{{Name: "a"}, {Name: "b", Up: Shape{Rate: 1e6, Delay: time.Minute}}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"a", "b"} {
			ask(t, open(t, l, path), l, "left on the way", time.Millisecond)
		}
		conn.Close()
		l.Close()
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

func TestALineNeedsAPath(t *testing.T) {
	if l, err := New(Config{}); err == nil {
		l.Close()
		t.Error("a line without a path was opened")
	}
}
