package quicx

import (
	"sync"
	"testing"
	"time"
)

// Streams may be opened at any moment of an early link's handshake. With -race this
// finds one that is opened while quic-go takes the target's transport parameters,
// which is when the first answer comes in.
func TestEarlyStreamAtAnyMoment(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		echo(w.target(src))
		cfg := w.sourceConfig(src, 1)
		cfg.TicketDir = t.TempDir()
		e := w.endpoint(cfg)
		attachOnce(t, e, w.peer())
		for _, later := range []time.Duration{0, oneWay, 2 * oneWay, 2 * oneWay, 2 * oneWay, 2*oneWay + time.Microsecond} {
			link, err := e.Dial(t.Context(), w.peer())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(later)
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					if got, err := say(t.Context(), link, "where were we?"); got != "where were we?" {
						t.Errorf("a stream opened %v after the dial: %q, %v", later, got, err)
					}
				})
			}
			wg.Wait()
			if err := link.Confirmed(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // the new ticket arrives
			if s := link.Stats(); !s.Used0RTT || s.Handshake > 2*oneWay {
				t.Errorf("stats: %+v", s)
			}
			link.Close(CodeDone, "")
		}
	})
}

// Before the handshake is complete an early link has one stream, and no more.
func TestSecondEarlyStreamWaits(t *testing.T) {
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
		began := time.Now()
		for i, want := range []time.Duration{0, 2 * oneWay, 2 * oneWay} {
			if _, err := link.OpenStream(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("stream %d after %v, want %v", i, took, want)
			}
		}
	})
}

// A ticket that looks good and is not used by TLS costs a moment, and no more.
func TestDialWithExpiredTicket(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		echo(w.target(src))
		cfg := w.sourceConfig(src, 1)
		cfg.TicketDir = t.TempDir()
		e := w.endpoint(cfg)
		attachOnce(t, e, w.peer())
		time.Sleep(8 * 24 * time.Hour)
		if !e.tickets.allowsEarly(w.identity.pin) {
			t.Fatal("the test needs a ticket")
		}
		if s := attachOnce(t, e, w.peer()); s.Resumed || s.Handshake > time.Second {
			t.Errorf("with an expired ticket: %+v", s)
		}
		if s := attachOnce(t, e, w.peer()); !s.Used0RTT {
			t.Errorf("with the new ticket: %+v", s)
		}
	})
}
