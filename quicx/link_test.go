package quicx

import (
	"context"
	"testing"
	"time"
)

func TestLinkCarriesStreams(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		l := w.target(src)
		echo(l)
		e := w.endpoint(w.sourceConfig(src, 1))
		link, err := e.Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		if err := link.Confirmed(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := say(t.Context(), link, "where were we?"); got != "where were we?" || err != nil {
			t.Errorf("echo: got %q, %v", got, err)
		}
		s := link.Stats()
		if s.Path != "fibre" || s.Remote != w.targetAddr.String() || s.BytesSent == 0 || s.Resumed {
			t.Errorf("stats: %+v", s)
		}
		if link.Peer() != "dr-paris" {
			t.Errorf("peer: %q", link.Peer())
		}
		e.Close()
		if got := classOf(link.Err()); got != Local {
			t.Errorf("after close: %v", link.Err())
		}
		l.Close()
	})
}

// A listener's Close ends the links it accepted; quic-go would leave them running.
func TestListenerCloseEndsLinks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		l := w.target(src)
		echo(l)
		e := w.endpoint(w.sourceConfig(src, 1))
		link, err := e.Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		if err := link.Confirmed(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.Close()
		select {
		case <-link.Done():
		case <-time.After(time.Second):
			t.Fatal("the link lives on")
		}
		if got := classOf(link.Err()); got != Dropped {
			t.Errorf("got %v (%v), want dropped", got, link.Err())
		}
	})
}

// A target that cannot send for a while, because its own uplink is down, keeps its
// links.
func TestTargetThatCannotSend(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l, _, link := attachedWorld(t, w, 2, nil)
		d := startLoad(t, l, link, 20*time.Millisecond)
		time.Sleep(time.Second)
		failing := func(yes bool) {
			w.wan.mu.Lock()
			defer w.wan.mu.Unlock()
			w.wan.fail = map[string]bool{w.targetAddr.IP.String(): yes}
		}
		failing(true)
		time.Sleep(10 * time.Second)
		failing(false)
		back := time.Now()
		time.Sleep(3 * time.Second)
		if err := link.Err(); err != nil {
			t.Fatal(err)
		}
		if took := d.resumedAt(back).Sub(back); took <= 0 || took > time.Second {
			t.Errorf("resumed %v after the target could send again", took)
		}
		d.end()
	})
}

// QUIC does not send datagrams again, and what the target answered first is lost.
func TestSourceAsksAgainWhetherItIsAccepted(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		echo(w.target(src))
		link, err := w.endpoint(w.sourceConfig(src, 1)).Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		w.setDeaf(uplinkIP(0), true)
		time.Sleep(5 * oneWay)
		if link.isConfirmed() {
			t.Fatal("the source heard the target's answers, which were to be lost")
		}
		w.setDeaf(uplinkIP(0), false)
		time.Sleep(2 * askAgain)
		if !link.isConfirmed() {
			t.Error("the source has not asked again")
		}
	})
}

// setDeaf lets all that is sent to an address be lost.
func (w *world) setDeaf(ip string, deaf bool) {
	w.wan.mu.Lock()
	defer w.wan.mu.Unlock()
	w.wan.deaf = map[string]bool{ip: deaf}
}

func TestDialIntoSilence(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e := w.endpoint(w.sourceConfig(testIdentity(t, "branch-lyon"), 2))
		began := time.Now()
		_, err := e.Dial(context.Background(), w.peer())
		if classOf(err) != Dropped {
			t.Errorf("got %v, want dropped", err)
		}
		if took := time.Since(began); took > dialTimeout {
			t.Errorf("took %v", took)
		}
	})
}
