package quicx

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// thin makes the line to the target one of so many Mbit/s and such a loss, with a
// queue of one round trip.
func (w *world) thin(mbit, loss float64) {
	w.wan.mu.Lock()
	defer w.wan.mu.Unlock()
	w.wan.shape = &shape{target: w.targetAddr, rate: mbit * 1e6 / 8, queue: 2 * oneWay, loss: loss, random: rand.New(rand.NewPCG(1, 2))}
}

// digests accepts links and streams, reads each stream to its end, and answers with
// the digest of what came.
func digests(l *Listener) {
	serve(l, func(s *Stream) {
		h := sha256.New()
		if _, err := io.Copy(h, s); err == nil {
			s.Write(h.Sum(nil))
		}
	})
}

// firstWords opens the stream that every link begins with.
func firstWords(t *testing.T, l *Link) {
	t.Helper()
	if _, err := say(t.Context(), l, "hello"); err != nil {
		t.Fatal(err)
	}
}

// deliver sends n bytes over a new stream, and fails the test unless the target has
// got just those. It returns how long that took.
func deliver(t *testing.T, l *Link, n int) time.Duration {
	t.Helper()
	began := time.Now()
	s, err := l.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{9}).Read(data)
	for left := data; len(left) > 0; {
		k := min(16<<10, len(left))
		if _, err := s.Write(left[:k]); err != nil {
			t.Fatal(err)
		}
		left = left[k:]
	}
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(s)
	if want := sha256.Sum256(data); err != nil || !bytes.Equal(got, want[:]) {
		t.Fatalf("the target read something else: %x, %v", got, err)
	}
	return time.Since(began)
}

// linked returns a link of a source with n uplinks.
func (w *world) linked(t *testing.T, lanes, uplinks int) (*Link, *Endpoint) {
	t.Helper()
	id := testIdentity(t, "branch-lyon")
	digests(w.target(id))
	cfg := w.sourceConfig(id, uplinks)
	cfg.MaxLanes = lanes
	e := w.endpoint(cfg)
	l, err := e.Dial(t.Context(), w.peer())
	if err != nil {
		t.Fatal(err)
	}
	firstWords(t, l)
	return l, e
}

// A line that loses 2 % holds one connection at a fraction of it, whatever it could
// carry. Lanes fill it.
func TestLanesFillALossyLine(t *testing.T) {
	const mbit, size = 40.0, 24 << 20
	took := make(map[int]time.Duration)
	for _, lanes := range []int{1, MaxLanes} {
		inWorld(t, func(t *testing.T, w *world) {
			w.thin(mbit, 0.02)
			l, _ := w.linked(t, lanes, 1)
			took[lanes] = deliver(t, l, size)
			if s := l.Stats(); lanes == 1 && s.Lanes != 1 || lanes > 1 && (s.Lanes <= calmLanes || s.LineRate == 0) {
				t.Errorf("%d lanes of at most %d, the line carries %.0f bytes a second", s.Lanes, lanes, s.LineRate)
			}
			if texts := w.texts(EventLanes); len(texts) > 1 || lanes > 1 && len(texts) == 0 {
				t.Errorf("events %q", texts)
			}
			l.Close(CodeDone, "")
		})
	}
	share := float64(size) * 8 / took[MaxLanes].Seconds() / (mbit * 1e6)
	if took[MaxLanes] > took[1]/3 || share < 0.75 {
		t.Errorf("%v with lanes, which is %.2f of the line, and %v without", took[MaxLanes], share, took[1])
	}
}

// Where nothing is lost but what a full queue drops, there are few lanes, and they
// go once there is nothing to do.
func TestLanesOnACleanLine(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.thin(20, 0)
		l, _ := w.linked(t, MaxLanes, 1)
		took := deliver(t, l, 8<<20)
		if s := l.Stats(); s.Lanes > calmLanes {
			t.Errorf("%d lanes", s.Lanes)
		}
		if share := float64(8<<20) * 8 / took.Seconds() / 20e6; share < 0.85 {
			t.Errorf("%.2f of the line", share)
		}
		time.Sleep(restAfter + 2*time.Second)
		if s := l.Stats(); s.Lanes != 1 {
			t.Errorf("%d lanes after a rest", s.Lanes)
		}
		deliver(t, l, 1<<20)
		l.Close(CodeDone, "")
	})
}

// A stream that is back at one connection goes on, also beyond what it had been
// granted when its last lane left.
func TestLanesThatAllLeave(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l, _ := w.linked(t, 1, 1) // the test adds a lane, and nothing else does
		synctest.Wait()
		got := l.lanes.dial()
		if got == nil {
			t.Fatal("no lane")
		}
		l.lanes.add(got)
		time.AfterFunc(200*time.Millisecond, func() {
			if n := l.Stats().Lanes; n != 2 {
				t.Errorf("%d lanes", n)
			}
			l.lanes.shed(1)
		})
		w.thin(20, 0)
		if took := deliver(t, l, 2*linkWindow); took > 20*time.Second || l.Stats().Lanes != 1 {
			t.Errorf("took %v, %d lanes", took, l.Stats().Lanes)
		}
		l.Close(CodeDone, "")
	})
}

// Every lane moves by itself when its uplink dies. Nothing is lost, and the link
// stays.
func TestLanesMigrate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.thin(20, 0.02)
		l, _ := w.linked(t, MaxLanes, 2)
		time.Sleep(3 * time.Second) // the standby is validated
		time.AfterFunc(4*time.Second, func() { w.wan.set(true, uplinkIP(0)) })
		deliver(t, l, 12<<20)
		if s := l.Stats(); s.Migrations != 1 || s.Path != uplinkNames[1] || l.Err() != nil {
			t.Errorf("%d migrations, on %s, %v", s.Migrations, s.Path, l.Err())
		}
		l.Close(CodeDone, "")
	})
}

// When the link is moved its lanes follow.
func TestLanesFollow(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.thin(20, 0.02)
		l, _ := w.linked(t, MaxLanes, 2)
		time.Sleep(3 * time.Second)
		time.AfterFunc(3*time.Second, func() {
			if err := l.Migrate(t.Context(), uplinkNames[1]); err != nil {
				t.Error(err)
			}
		})
		time.AfterFunc(5*time.Second, func() {
			l.lanes.mu.Lock()
			defer l.lanes.mu.Unlock()
			for _, lane := range l.lanes.lanes {
				if at := lane.path.carrier.Load().Name; at != uplinkNames[1] && !lane.moving.Load() {
					t.Errorf("a lane is on %s", at)
				}
			}
			if n := len(l.lanes.lanes); n < 3 {
				t.Errorf("%d lanes", n)
			}
		})
		deliver(t, l, 12<<20)
		l.Close(CodeDone, "")
	})
}

// A blackout is survived by all lanes alike.
func TestLanesInABlackout(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.thin(20, 0.02)
		l, _ := w.linked(t, MaxLanes, 1)
		time.Sleep(3 * time.Second)
		time.AfterFunc(4*time.Second, func() { w.wan.set(true, uplinkIP(0)) })
		time.AfterFunc(14*time.Second, func() { w.wan.set(false, uplinkIP(0)) })
		deliver(t, l, 12<<20)
		if err := l.Err(); err != nil {
			t.Error(err)
		}
		l.Close(CodeDone, "")
	})
}

// What was under way on a lane that died is lost, so the link is too, at both ends.
func TestLaneLost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.thin(20, 0.02)
		id := testIdentity(t, "branch-lyon")
		target := w.target(id)
		ended := make(chan error, 1)
		serve(target, func(s *Stream) {
			_, err := io.Copy(io.Discard, s)
			ended <- err
		})
		l, err := w.endpoint(w.sourceConfig(id, 1)).Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		if s, err := l.OpenStream(t.Context()); err != nil {
			t.Fatal(err)
		} else {
			s.Write([]byte("hello"))
			s.Close()
			<-ended
		}
		time.AfterFunc(4*time.Second, func() {
			target.mu.Lock()
			defer target.mu.Unlock()
			for k := range target.links {
				if k.inbound.lanes == 0 {
					go k.conn.CloseWithError(CodeDone, "")
					return
				}
			}
			t.Error("there is no lane")
		})
		s, err := l.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = s.Write(make([]byte, 16<<10))
		}
		if classOf(err) != Dropped {
			t.Errorf("write: %v", err)
		}
		s.Close()
		if err := <-ended; classOf(err) != Dropped {
			t.Errorf("the target's read: %v", err)
		}
	})
}

// A target that gives a stream up ends it at the source too, however many lanes
// carry it, and the link stays.
func TestLanesOfAnAbortedStream(t *testing.T) {
	const code = CodeEngine + 7
	inWorld(t, func(t *testing.T, w *world) {
		w.thin(20, 0.02)
		id := testIdentity(t, "branch-lyon")
		serve(w.target(id), func(s *Stream) {
			if n, _ := io.CopyN(io.Discard, s, 6<<20); n == 6<<20 {
				s.Abort(code)
			}
		})
		l, err := w.endpoint(w.sourceConfig(id, 1)).Dial(t.Context(), w.peer())
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			firstWords(t, l)
		}
		s, err := l.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, err = s.Write(make([]byte, 16<<10))
		}
		var known *Error
		if !errors.As(err, &known) || known.Class != Ended || known.Code != code {
			t.Errorf("write: %v", err)
		}
		s.Close()
		time.Sleep(time.Minute)
		if err := l.Err(); err != nil {
			t.Error(err)
		}
		l.Close(CodeDone, "")
	})
}

// A source that aborts while its lanes are full returns at once.
func TestAbortWithLanes(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.thin(20, 0.02)
		l, _ := w.linked(t, MaxLanes, 1)
		s, err := l.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		time.AfterFunc(3*time.Second, func() { s.Abort(CodeDone) })
		for err == nil {
			_, err = s.Write(make([]byte, 16<<10))
		}
		if took := time.Since(began); classOf(err) != Local || took > 3100*time.Millisecond {
			t.Errorf("write: %v after %v", err, took)
		}
		s.Close()
		l.Close(CodeDone, "")
	})
}

// A lane that names no link of its source is turned away, and so is a branch of a
// stream that is not there.
func TestLaneOfNoLink(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l, _ := w.linked(t, 1, 1)
		set := newLaneSet(l, MaxLanes)
		set.token = bytes.Repeat([]byte{7}, laneTokenBytes)
		if got := set.dial(); got != nil {
			t.Error("a lane with a wrong token was let in")
		}
		var err error
		if set.token, err = laneToken(l.conn.ConnectionState()); err != nil {
			t.Fatal(err)
		}
		got := set.dial()
		if got == nil {
			t.Fatal("a lane with the right token was not let in")
		}
		branch, err := got.conn.OpenStreamSync(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		branch.Write([]byte{0, 0, 0, 0, 0, 0, 0x10, 0})
		if _, err := branch.Read(make([]byte, 1)); err == nil || time.Since(began) > branchPatience+time.Second {
			t.Errorf("the branch of no stream ended with %v after %v", err, time.Since(began))
		}
		got.Close(CodeDone, "")
		firstWords(t, l)
		l.Close(CodeDone, "")
	})
}
