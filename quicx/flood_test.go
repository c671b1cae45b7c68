package quicx

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// However many handshakes are begun and never ended, a few are kept, and a paired
// source still gets in (TM-16).
func TestHandshakeFlood(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		l := w.target(src)
		echo(l)
		stranger := testIdentity(t, "nobody")
		tr := &quic.Transport{Conn: w.node(udpAddr("198.51.100.66", 6666))}
		defer tr.Conn.Close()
		defer tr.Close()
		// Nothing comes back to the attacker, so no handshake of his ends.
		w.wan.mu.Lock()
		w.wan.deaf = map[string]bool{"198.51.100.66": true}
		w.wan.mu.Unlock()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() {
				tr.Dial(ctx, w.targetAddr, clientTLS(stranger, protocolLink, only(w.identity.pin), nil), quicConfig(time.Minute, time.Second, 1))
			})
		}
		time.Sleep(time.Second)
		if n := l.unproven.Load(); n == 0 || n > retryAbove+1 {
			t.Errorf("%d unproven connections from addresses that do not answer, at most %d are allowed", n, retryAbove+1)
		}
		e := w.endpoint(w.sourceConfig(src, 1))
		link, err := e.Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatalf("the paired source: %v", err)
		}
		if got, err := say(t.Context(), link, "hello"); got != "hello" {
			t.Errorf("the paired source: %v", err)
		}
		cancel()
		wg.Wait()
		time.Sleep(11 * time.Second)
		if n := l.unproven.Load(); n != 0 {
			t.Errorf("%d unproven connections are left", n)
		}
	})
}

// A source that opens streams and resets them at once gets no more of them than it
// may, so that the target's engine is not drowned in goroutines (TM-15).
func TestStreamFlood(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const allowed = 8
		src := testIdentity(t, "branch-lyon")
		l := w.targetWith(ListenConfig{MaxStreams: allowed}, src)
		held := make(chan struct{})
		var mu sync.Mutex
		now, most := 0, 0
		serve(l, func(s *Stream) {
			io.Copy(io.Discard, s) // until the peer resets it
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-held
			mu.Lock()
			now--
			mu.Unlock()
		})
		e := w.endpoint(w.sourceConfig(src, 1))
		link, err := e.Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		before := runtime.NumGoroutine()
		opened := 0
		for range 10_000 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			s, err := link.OpenStream(ctx)
			cancel()
			if errors.Is(err, context.DeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			opened++
			s.Write([]byte("x"))
			time.Sleep(time.Millisecond)
			s.Abort(1)
		}
		time.Sleep(time.Second)
		mu.Lock()
		if most > allowed || opened > allowed {
			t.Errorf("%d streams opened, %d served at once, %d are allowed", opened, most, allowed)
		}
		mu.Unlock()
		if more := runtime.NumGoroutine() - before; more > 4*allowed {
			t.Errorf("%d more goroutines", more)
		}
		close(held)
		if _, err := link.OpenStream(t.Context()); err != nil {
			t.Errorf("once they are served: %v", err)
		}
	})
}
