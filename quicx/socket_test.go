package quicx

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// brokenSocket fails each send.
type brokenSocket struct {
	net.PacketConn
	err error
}

func (s brokenSocket) WriteTo([]byte, net.Addr) (int, error) { return 0, s.err }
func (s brokenSocket) LocalAddr() net.Addr                   { return &net.UDPAddr{} }

func TestGuardJudgesSendErrors(t *testing.T) {
	wrapErr := func(e error) error { return &net.OpError{Op: "write", Err: os.NewSyscallError("sendmsg", e)} }
	tests := []struct {
		err    error
		passes bool
	}{
		{wrapErr(syscall.ENETUNREACH), false},
		{wrapErr(syscall.ENETDOWN), false},
		{wrapErr(syscall.EADDRNOTAVAIL), false},
		{wrapErr(syscall.EPERM), false},
		{wrapErr(syscall.ENOBUFS), false},
		{wrapErr(errTooLong), true},
		{wrapErr(syscall.EIO), true},
		{net.ErrClosed, true},
	}
	for _, test := range tests {
		reported := 0
		s, g := guarded(brokenSocket{err: test.err}, func(error) { reported++ }, nil)
		for range 100 {
			n, err := s.WriteTo([]byte("datagram"), nil)
			if passes := err != nil; passes != test.passes || !passes && n != 8 {
				t.Fatalf("%v: %d, %v", test.err, n, err)
			}
		}
		if want := !test.passes; (reported > 0) != want || reported > 10 || (g.failures.Load() == 100) != want {
			t.Errorf("%v: reported %d times, counted %d", test.err, reported, g.failures.Load())
		}
	}
	s, g := guarded(brokenSocket{err: errors.New("must not be sent")}, nil, nil)
	g.hold(true)
	if n, err := s.WriteTo([]byte("datagram"), nil); n != 8 || err != nil || g.failures.Load() != 0 {
		t.Errorf("held: %d, %v", n, err)
	}
}

// The guard must not cost what quic-go does with a real UDP socket only.
func TestGuardKeepsOffloads(t *testing.T) {
	id := testIdentity(t, "dr-paris")
	l, err := Listen(ListenConfig{Identity: id, Address: "127.0.0.1:0", Peers: []Peer{{Name: "a", Pin: id.Pin()}}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	gso := func(wrap func(*net.UDPConn) net.PacketConn) bool {
		u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		tr := &quic.Transport{Conn: wrap(u)}
		defer tr.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		conn, err := tr.Dial(ctx, l.Addr(), clientTLS(id, protocolLink, only(id.pin), nil), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseWithError(0, "")
		return conn.ConnectionState().GSO
	}
	plain := gso(func(u *net.UDPConn) net.PacketConn { return u })
	kept := gso(func(u *net.UDPConn) net.PacketConn { s, _ := guarded(u, nil, nil); return s })
	hidden := gso(func(u *net.UDPConn) net.PacketConn { return struct{ net.PacketConn }{u} })
	if kept != plain {
		t.Errorf("segmentation offload: %v, without the guard %v", kept, plain)
	}
	if hidden {
		t.Error("quic-go needs less than an embedded *net.UDPConn by now")
	}
}

// Everything over the machine's own sockets and its network watcher.
func TestOverLoopback(t *testing.T) {
	binds := []string{"", "127.0.0.1"}
	if runtime.GOOS == "linux" {
		binds = append(binds, "lo")
	}
	for _, bind := range binds {
		t.Run("bind "+bind, func(t *testing.T) {
			src, dst := testIdentity(t, "branch-lyon"), testIdentity(t, "dr-paris")
			l, err := Listen(ListenConfig{Identity: dst, Address: "127.0.0.1:0", StateDir: t.TempDir(),
				Peers: []Peer{{Name: src.Name, Pin: src.Pin()}}})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			echo(l)
			e, err := NewEndpoint(Config{Identity: src, TicketDir: t.TempDir(), Uplinks: []Uplink{{Name: "a", Bind: bind}, {Name: "b", Bind: bind}}})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			link, err := e.Dial(ctx, Peer{Name: dst.Name, Addresses: []string{l.Addr().String()}, Pin: dst.Pin()})
			if err != nil {
				t.Fatal(err)
			}
			s, err := link.OpenStream(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for i, to := range []string{"a", "b", "a"} {
				if err := link.Confirmed(ctx); err != nil {
					t.Fatal(err)
				}
				if err := link.Migrate(ctx, to); err != nil {
					t.Fatal(err)
				}
				b := patternAt(i*loadChunk, loadChunk)
				go s.Write(b)
				got := make([]byte, len(b))
				if _, err := io.ReadFull(s, got); err != nil || string(got) != string(b) {
					t.Fatalf("over %s: %v", to, err)
				}
			}
			if got := link.Stats(); got.Migrations != 2 || got.Path != "a" {
				t.Errorf("stats: %+v", got)
			}
		})
	}
}

func TestUplinkThatIsNotThere(t *testing.T) {
	e, err := NewEndpoint(Config{Identity: testIdentity(t, "a"), Uplinks: []Uplink{{Name: "lte", Bind: "wwan99"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_, err = e.Dial(t.Context(), Peer{Name: "b", Addresses: []string{"127.0.0.1:9"}, Pin: testIdentity(t, "b").Pin()})
	if classOf(err) != Dropped {
		t.Errorf("got %v, want dropped: it may be plugged in later", err)
	}
}

// A socket that broke is opened anew by the next dial.
func TestBrokenSocketIsReplaced(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		echo(w.target(src))
		cfg := w.sourceConfig(src, 1)
		open, opened := cfg.Sockets, []net.PacketConn{}
		cfg.Sockets = func(u Uplink) (net.PacketConn, error) {
			pc, err := open(u)
			opened = append(opened, pc)
			return pc, err
		}
		e := w.endpoint(cfg)
		for range 3 {
			link, err := e.Dial(t.Context(), w.peer())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := say(t.Context(), link, "hello"); got != "hello" {
				t.Fatal(err)
			}
			opened[len(opened)-1].Close()
			<-link.Done()
		}
		if len(opened) != 3 {
			t.Errorf("%d sockets were opened, want 3", len(opened))
		}
	})
}
