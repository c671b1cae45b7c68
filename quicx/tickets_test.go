package quicx

import (
	"context"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// attachOnce dials, says something and closes, and returns the link's stats.
func attachOnce(t *testing.T, e *Endpoint, p Peer) Stats {
	t.Helper()
	link, err := e.Dial(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := say(t.Context(), link, "where were we?"); err != nil {
		t.Fatal(err)
	}
	if err := link.Confirmed(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // the new ticket arrives
	s := link.Stats()
	link.Close(CodeDone, "")
	return s
}

// A restarted source resumes its session from the file, with 0-RTT.
func TestTicketOutlivesTheSource(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src, dir := testIdentity(t, "branch-lyon"), t.TempDir()
		echo(w.target(src))
		for run := range 3 {
			cfg := w.sourceConfig(src, 1)
			cfg.TicketDir = dir
			e := w.endpoint(cfg)
			s := attachOnce(t, e, w.peer())
			if want := run > 0; s.Resumed != want || s.Used0RTT != want {
				t.Errorf("run %d: resumed %v, 0-RTT %v, want %v", run, s.Resumed, s.Used0RTT, want)
			}
			e.Close()
		}
		info, err := os.Stat((&ticketStore{dir: dir}).path(w.identity.pin))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the ticket's file: %v, %v", info.Mode(), err)
		}
	})
}

// crypto/tls drops a ticket after any failed handshake; a redial into a dead line
// must not cost it.
func TestTicketOutlivesFailedDials(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		echo(w.target(src))
		cfg := w.sourceConfig(src, 1)
		cfg.TicketDir = t.TempDir()
		e := w.endpoint(cfg)
		attachOnce(t, e, w.peer())
		w.wan.set(true, uplinkIP(0))
		for range 3 {
			link, err := e.Dial(t.Context(), w.peer())
			if err == nil {
				err = link.Confirmed(t.Context())
			}
			if classOf(err) != Dropped {
				t.Fatalf("a dial into silence: %v", err)
			}
		}
		w.wan.set(false, uplinkIP(0))
		if s := attachOnce(t, e, w.peer()); !s.Resumed {
			t.Error("the ticket was lost")
		}
		if s := attachOnce(t, e, w.peer()); !s.Used0RTT {
			t.Error("0-RTT was lost")
		}
	})
}

// Whoever removes a pairing at the source has no ticket and no link left of it.
func TestForgetDropsTheTicket(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		echo(w.target(src))
		cfg := w.sourceConfig(src, 1)
		cfg.TicketDir = t.TempDir()
		e := w.endpoint(cfg)
		attachOnce(t, e, w.peer())
		link, err := e.Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		if err := link.Confirmed(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := e.Forget(w.peer()); err != nil {
			t.Fatal(err)
		}
		if files, err := os.ReadDir(cfg.TicketDir); len(files) != 0 {
			t.Errorf("%d tickets are left, %v", len(files), err)
		}
		if classOf(link.Err()) != Local {
			t.Errorf("the link: %v", link.Err())
		}
	})
}

// A ticket whose use is answered by a TLS alert is not used again.
func TestAlertDropsTheTicket(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		l := w.target(src)
		echo(l)
		cfg := w.sourceConfig(src, 1)
		cfg.TicketDir = t.TempDir()
		e := w.endpoint(cfg)
		attachOnce(t, e, w.peer())
		l.mu.Lock()
		delete(l.peers, src.pin) // without new ticket keys: the session could be resumed
		l.mu.Unlock()
		link, err := e.Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		if err := link.Confirmed(t.Context()); classOf(err) != Auth {
			t.Errorf("got %v, want class auth", err)
		}
		if e.tickets.has(w.identity.pin) {
			t.Error("the ticket was kept")
		}
	})
}

// A restarted target has new ticket keys: the session is not resumed, and the link
// that sent early is given up for a new one.
func TestTargetRestartCostsOneRoundTrip(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		l := w.target(src)
		echo(l)
		cfg := w.sourceConfig(src, 1)
		cfg.TicketDir = t.TempDir()
		e := w.endpoint(cfg)
		attachOnce(t, e, w.peer())
		l.Close()
		echo(w.target(src))
		link, err := e.Dial(t.Context(), w.peer())
		if err == nil {
			_, err = say(t.Context(), link, "where were we?")
		}
		if classOf(err) != Dropped {
			t.Errorf("0-RTT with a lost key: %v, want class dropped", err)
		}
		if s := attachOnce(t, e, w.peer()); s.Resumed {
			t.Errorf("resumed with a lost key: %+v", s)
		}
		if s := attachOnce(t, e, w.peer()); !s.Used0RTT {
			t.Errorf("no 0-RTT with the new ticket: %+v", s)
		}
	})
}

// What a replay of a first flight brings to a target is a link that is never
// confirmed, with nothing but what was sent early; it is gone within ten seconds,
// and the live link does not notice (TM-05).
func TestReplayedFlightIsNeverConfirmed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		l := w.target(src)
		var mu sync.Mutex
		heard := make(map[*Link]string)
		go func() {
			for {
				link, err := l.Accept(context.Background())
				if err != nil {
					return
				}
				go func() {
					s, err := link.AcceptStream(context.Background())
					if err != nil {
						return
					}
					b := make([]byte, 64)
					n, _ := s.Read(b)
					mu.Lock()
					heard[link] = string(b[:n])
					mu.Unlock()
					io.Copy(s, s)
				}()
			}
		}()
		cfg := w.sourceConfig(src, 1)
		cfg.TicketDir = t.TempDir()
		e := w.endpoint(cfg)
		first, err := e.Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Confirmed(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		first.Close(CodeDone, "")

		// Record the flight of the next link.
		var flight [][]byte
		w.wan.mu.Lock()
		w.wan.tap = func(p simnet.Packet) {
			w.wan.mu.Lock()
			defer w.wan.mu.Unlock()
			if p.To.String() == w.targetAddr.String() {
				flight = append(flight, append([]byte(nil), p.Data...))
			}
		}
		w.wan.mu.Unlock()
		live, err := e.Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		s, err := live.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write([]byte("where were we?")); err != nil {
			t.Fatal(err)
		}
		if err := live.Confirmed(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !live.Stats().Used0RTT {
			t.Fatal("the test needs 0-RTT")
		}
		w.wan.mu.Lock()
		w.wan.tap = nil
		w.wan.mu.Unlock()
		time.Sleep(time.Second)
		attached := len(w.texts(EventAttached))

		// The attacker sends it again, later and from elsewhere, once the target
		// has forgotten the live link's first connection ID, and many times.
		time.Sleep(time.Minute)
		attacker := w.node(udpAddr("198.51.100.66", 6666))
		defer attacker.Close()
		for range 100 {
			for _, d := range flight[:min(4, len(flight))] {
				attacker.WriteTo(d, w.targetAddr)
			}
		}
		time.Sleep(time.Second)
		mu.Lock()
		replays := 0
		for link, text := range heard {
			if link.isConfirmed() {
				continue
			}
			replays++
			if text != "where were we?" {
				t.Errorf("a replay delivered %q", text)
			}
		}
		mu.Unlock()
		if replays == 0 {
			t.Error("no replay came through: the test tests nothing")
		}
		if got := l.unproven.Load(); got == 0 || got > maxUnproven {
			t.Errorf("%d unproven connections, at most %d are allowed", got, maxUnproven)
		}
		time.Sleep(10 * time.Second)
		if got := l.unproven.Load(); got != 0 {
			t.Errorf("%d unproven connections after ten seconds", got)
		}
		for link := range heard {
			if !link.isConfirmed() && link.Err() == nil {
				t.Error("a replayed link lives on")
			}
		}
		if got := len(w.texts(EventAttached)); got != attached {
			t.Errorf("%d more links were attached", got-attached)
		}
		if live.Err() != nil {
			t.Errorf("the live link: %v", live.Err())
		}
	})
}

func TestDamagedTicketMeansFullHandshake(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src, dir := testIdentity(t, "branch-lyon"), t.TempDir()
		echo(w.target(src))
		cfg := w.sourceConfig(src, 1)
		cfg.TicketDir = dir
		e := w.endpoint(cfg)
		attachOnce(t, e, w.peer())
		path := e.tickets.path(w.identity.pin)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, damaged := range [][]byte{{}, data[:3], data[:len(data)/2], append([]byte{0xff, 0xff, 0xff, 0xff}, data...), make([]byte, maxTicketBytes+1)} {
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if s := attachOnce(t, e, w.peer()); s.Resumed {
				t.Errorf("resumed from %d damaged bytes", len(damaged))
			}
		}
	})
}

func FuzzParseTicket(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 'x', 'y'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) { parseTicket(data) })
}
