package quicx

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// A load is a stream that carries a pattern to the target all the time.
type load struct {
	t    *testing.T
	stop chan struct{}
	done chan error

	mu      sync.Mutex
	arrived int
	last    time.Time
	over    time.Time
	gaps    []gap
}

// A gap is a time without new data at the target.
type gap struct {
	began time.Time
	took  time.Duration
}

const loadChunk = 16 << 10

// startLoad writes 16 KiB every pause over link to l's side, where each byte is
// checked.
func startLoad(t *testing.T, l *Listener, link *Link, pause time.Duration) *load {
	t.Helper()
	d := &load{t: t, stop: make(chan struct{}), done: make(chan error, 1), last: time.Now()}
	serve(l, func(s *Stream) {
		buf := make([]byte, patternBytes)
		for {
			n, err := s.Read(buf)
			d.receive(buf[:n])
			if err != nil {
				return
			}
		}
	})
	s, err := link.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for sent := 0; ; sent += loadChunk {
			if _, err := s.Write(patternAt(sent, loadChunk)); err != nil {
				d.done <- err
				return
			}
			select {
			case <-d.stop:
				d.done <- s.CloseWrite()
				return
			case <-time.After(pause):
			}
		}
	}()
	return d
}

const patternBytes = 64 << 10

// pattern holds twice what repeats.
var pattern = func() []byte {
	b := make([]byte, 2*patternBytes)
	for i := range b {
		b[i] = byte(i>>8) ^ byte(i)
	}
	return b
}()

// patternAt returns n bytes of the pattern, at most 64 KiB.
func patternAt(off, n int) []byte {
	off %= patternBytes
	return pattern[off : off+n]
}

func (d *load) receive(b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(b) == 0 {
		return
	}
	if !bytes.Equal(b, patternAt(d.arrived, len(b))) {
		d.t.Errorf("bytes %d to %d are wrong", d.arrived, d.arrived+len(b))
	}
	now := time.Now()
	d.gaps = append(d.gaps, gap{d.last, now.Sub(d.last)})
	d.arrived, d.last = d.arrived+len(b), now
}

// longest returns the longest gap that ended after since, a running one included.
func (d *load) longest(since time.Time) gap {
	d.mu.Lock()
	defer d.mu.Unlock()
	var longest gap
	end := time.Now()
	if !d.over.IsZero() {
		end = d.over
	}
	for _, g := range append(slices.Clone(d.gaps), gap{d.last, end.Sub(d.last)}) {
		if g.began.Add(g.took).After(since) && g.took > longest.took {
			longest = g
		}
	}
	return longest
}

// resumedAt returns when data arrived first after since.
func (d *load) resumedAt(since time.Time) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.gaps {
		if end := g.began.Add(g.took); end.After(since) {
			return end
		}
	}
	return time.Time{}
}

// end stops the load and checks that it got through whole.
func (d *load) end() {
	d.mu.Lock()
	d.over = time.Now()
	d.mu.Unlock()
	close(d.stop)
	if err := <-d.done; err != nil {
		d.t.Errorf("the stream ended: %v", err)
	}
	time.Sleep(time.Second)
}

// attachedWorld starts a target and a source with n uplinks and waits for the
// standby path.
func attachedWorld(t *testing.T, w *world, n int, edit func(*Config)) (*Listener, *Endpoint, *Link) {
	t.Helper()
	src := testIdentity(t, "branch-lyon")
	l := w.target(src)
	cfg := w.sourceConfig(src, n)
	if edit != nil {
		edit(&cfg)
	}
	e := w.endpoint(cfg)
	link, err := e.Dial(t.Context(), w.peer())
	if err != nil {
		t.Fatal(err)
	}
	if err := link.Confirmed(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Second)
	if link.Stats().Standby == "" {
		t.Fatal("no standby path")
	}
	return l, e, link
}

// A path that dies without a word is left within a second, and an announced death
// at once. The streams do not notice.
func TestCutUnderLoad(t *testing.T) {
	tests := []struct {
		name string
		cut  func(w *world, e *Endpoint)
		want time.Duration
	}{
		{"without a word", func(w *world, _ *Endpoint) { w.wan.set(true, uplinkIP(0)) }, time.Second},
		{"link down", func(w *world, e *Endpoint) {
			w.wan.set(true, uplinkIP(0))
			e.NetworkChanged("fibre", false)
		}, 300 * time.Millisecond},
		{"sending fails", func(w *world, e *Endpoint) {
			w.wan.mu.Lock()
			w.wan.fail = map[string]bool{uplinkIP(0): true}
			w.wan.mu.Unlock()
			w.wan.set(true, uplinkIP(0))
		}, 400 * time.Millisecond},
	}
	for _, test := range tests {
		for _, pause := range []time.Duration{4 * time.Millisecond, 20 * time.Millisecond} {
			t.Run(fmt.Sprintf("%s, pause %v", test.name, pause), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					l, e, link := attachedWorld(t, w, 2, nil)
					d := startLoad(t, l, link, pause)
					time.Sleep(2 * time.Second)
					cut := time.Now()
					test.cut(w, e)
					time.Sleep(5 * time.Second)
					d.end()
					g := d.longest(cut)
					s := link.Stats()
					t.Logf("gap %v, stats %+v", g.took, s)
					if g.took > test.want {
						t.Errorf("a gap of %v, want at most %v", g.took, test.want)
					}
					if s.Path != "lte" || s.Migrations != 1 {
						t.Errorf("stats: %+v", s)
					}
					if s.LongestStall > test.want {
						t.Errorf("LongestStall %v", s.LongestStall)
					}
					if got := strings.Join(w.texts(EventMigrated), "\n"); strings.Count(got, "migrated fibre → lte in ") != 1 || strings.Count(got, "migrated from") != 1 {
						t.Errorf("events: %s", got)
					}
				})
			})
		}
	}
}

// A blackout shorter than the idle timeout is over within a second of the line's
// return, whether there is one uplink or two.
func TestBlackout(t *testing.T) {
	for _, uplinks := range []int{1, 2} {
		for _, dark := range []time.Duration{10 * time.Second, 40 * time.Second, 55 * time.Second} {
			t.Run(fmt.Sprintf("%d uplinks, %v", uplinks, dark), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					l, _, link := attachedWorld(t, w, uplinks, nil)
					d := startLoad(t, l, link, 10*time.Millisecond)
					time.Sleep(2 * time.Second)
					w.wan.set(true, uplinkIP(0), uplinkIP(1))
					time.Sleep(dark)
					w.wan.set(false, uplinkIP(0), uplinkIP(1))
					back := time.Now()
					time.Sleep(5 * time.Second)
					d.end()
					took := d.resumedAt(back).Sub(back)
					t.Logf("resumed %v after the line was back; %+v", took, link.Stats())
					if took <= 0 || took > time.Second {
						t.Errorf("resumed %v after the line was back", took)
					}
					if s := link.Stats(); s.LongestStall < dark-time.Second || s.LongestStall > dark+2*time.Second {
						t.Errorf("LongestStall %v of a blackout of %v", s.LongestStall, dark)
					}
				})
			})
		}
	}
}

// Only one of two dark uplinks comes back: not the one in use.
func TestOtherUplinkComesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l, _, link := attachedWorld(t, w, 2, nil)
		d := startLoad(t, l, link, 10*time.Millisecond)
		time.Sleep(2 * time.Second)
		for round := range 4 {
			w.wan.set(true, uplinkIP(0), uplinkIP(1))
			time.Sleep(10 * time.Second)
			w.wan.set(false, uplinkIP(round%2))
			back := time.Now()
			time.Sleep(3 * time.Second)
			if took := d.resumedAt(back).Sub(back); took <= 0 || took > 2*time.Second {
				t.Errorf("round %d: resumed %v after an uplink was back", round, took)
			}
			w.wan.set(false, uplinkIP(0), uplinkIP(1))
			time.Sleep(5 * time.Second)
		}
		d.end()
	})
}

// Twelve planned migrations in twelve seconds, under load.
func TestMigrateAgainAndAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l, _, link := attachedWorld(t, w, 2, nil)
		d := startLoad(t, l, link, 10*time.Millisecond)
		time.Sleep(time.Second)
		began := time.Now()
		for i := range 12 {
			at := time.Now()
			if err := link.Migrate(t.Context(), uplinkNames[(i+1)%2]); err != nil {
				t.Fatalf("migration %d: %v", i+1, err)
			}
			if took := time.Since(at); took > 300*time.Millisecond {
				t.Errorf("migration %d took %v", i+1, took)
			}
			if got := link.Stats().Path; got != uplinkNames[(i+1)%2] {
				t.Errorf("migration %d: the path is %s", i+1, got)
			}
			time.Sleep(time.Second - time.Since(at))
		}
		d.end()
		if g := d.longest(began); g.took > 300*time.Millisecond {
			t.Errorf("a gap of %v", g.took)
		}
		if s := link.Stats(); s.Migrations != 12 {
			t.Errorf("%d migrations", s.Migrations)
		}
	})
}

// The uplink in use goes down each second, as the other one comes up: too soon after
// the move before for a standby to be there.
func TestUplinksTakeTurns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l, e, link := attachedWorld(t, w, 2, nil)
		d := startLoad(t, l, link, 10*time.Millisecond)
		time.Sleep(time.Second)
		began := time.Now()
		for i := range 12 {
			down, up := i%2, (i+1)%2
			w.wan.set(false, uplinkIP(up))
			e.NetworkChanged(uplinkNames[up], true)
			w.wan.set(true, uplinkIP(down))
			e.NetworkChanged(uplinkNames[down], false)
			time.Sleep(time.Second)
			if got := link.Stats().Path; got != uplinkNames[up] {
				t.Errorf("move %d: the path is %s", i+1, got)
			}
		}
		d.end()
		if g := d.longest(began); g.took > 400*time.Millisecond {
			t.Errorf("a gap of %v", g.took)
		}
		if s := link.Stats(); s.Migrations != 12 {
			t.Errorf("%d migrations", s.Migrations)
		}
		if got := w.texts(EventRevived); len(got) > 0 {
			t.Errorf("an uplink that was down is said to answer: %q", got)
		}
	})
}

func TestMigrateToNowhere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l, _, link := attachedWorld(t, w, 3, nil)
		echo(l)
		w.wan.set(true, uplinkIP(2))
		if err := link.Migrate(t.Context(), "dsl"); err == nil {
			t.Error("moved to a dead uplink")
		}
		if err := link.Migrate(t.Context(), "carrier pigeon"); classOf(err) != Local {
			t.Errorf("an unknown uplink: %v", err)
		}
		if err := link.Migrate(t.Context(), "fibre"); err != nil {
			t.Errorf("to where it is: %v", err)
		}
		if err := link.Migrate(t.Context(), "lte"); err != nil {
			t.Errorf("to the standby: %v", err)
		}
		if got, err := say(t.Context(), link, "hello"); got != "hello" || link.Stats().Path != "lte" {
			t.Errorf("afterwards: %q, %v, %+v", got, err, link.Stats())
		}
	})
}

// The link goes back to the preferred uplink when that was good for 30 s.
func TestReturnToPreferredUplink(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l, _, link := attachedWorld(t, w, 2, nil)
		echo(l)
		w.wan.set(true, uplinkIP(0))
		time.Sleep(time.Minute)
		if got := link.Stats().Path; got != "lte" {
			t.Fatalf("the path is %s", got)
		}
		w.wan.set(false, uplinkIP(0))
		time.Sleep(25 * time.Second)
		if got := link.Stats().Path; got != "lte" {
			t.Errorf("back after 25 s already")
		}
		time.Sleep(35 * time.Second)
		if got := link.Stats(); got.Path != "fibre" || got.Migrations != 2 {
			t.Errorf("after a minute: %+v", got)
		}
	})
}

// A link at rest, and one whose target does not read, stay where they are.
func TestNoFalseAlarm(t *testing.T) {
	for _, uplinks := range []int{1, 2} {
		inWorld(t, func(t *testing.T, w *world) {
			l, _, link := attachedWorld(t, w, uplinks, nil)
			held := make(chan struct{})
			serve(l, func(s *Stream) { <-held })
			time.Sleep(10 * time.Minute)
			s, err := link.OpenStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			blocked := make(chan error, 1)
			go func() {
				_, err := s.Write(make([]byte, 2*streamWindow))
				blocked <- err
			}()
			time.Sleep(5 * time.Minute)
			select {
			case err := <-blocked:
				t.Fatalf("the write was not held back: %v", err)
			default:
			}
			if got := w.texts(EventSilent, EventMigrated, EventRevived); len(got) != 0 {
				t.Errorf("events: %q", got)
			}
			if got := link.Stats(); got.LongestStall != 0 {
				t.Errorf("stats: %+v", got)
			}
			close(held)
			<-blocked
		})
	}
}

// A NAT gives the source another address from one moment to the next.
func TestNATRebinding(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l, _, link := attachedWorld(t, w, 2, nil)
		var mu sync.Mutex
		shift := 0
		w.wan.mu.Lock()
		w.wan.alter = func(p simnet.Packet) (simnet.Packet, bool) {
			mu.Lock()
			defer mu.Unlock()
			from, to := *p.From.(*net.UDPAddr), *p.To.(*net.UDPAddr)
			switch {
			case from.IP.String() == uplinkIP(0):
				from.Port += shift
			case to.IP.String() == uplinkIP(0) && to.Port-shift < 6000 && to.Port-shift > 5000:
				to.Port -= shift
			}
			p.From, p.To = &from, &to
			return p, true
		}
		w.wan.mu.Unlock()
		d := startLoad(t, l, link, 40*time.Millisecond)
		for i := range 10 {
			time.Sleep(8 * time.Second)
			mu.Lock()
			shift = (i + 1) * 1000 // what goes to the old address is lost
			mu.Unlock()
			changed := time.Now()
			time.Sleep(4 * time.Second)
			if g := d.longest(changed); g.took > time.Second {
				t.Errorf("rebinding %d: a gap of %v", i+1, g.took)
			}
		}
		d.end()
		t.Logf("%+v %q", link.Stats(), w.texts(EventSilent, EventMigrated, EventStandby))
	})
}

// A target that was restarted is noticed by its stateless reset, also after the
// link has migrated, when quic-go does not recognise it; reattaching takes about a
// second from when the target is back.
func TestTargetRestart(t *testing.T) {
	for _, migrated := range []bool{false, true} {
		for _, down := range []time.Duration{time.Second, 5 * time.Second} {
			t.Run(fmt.Sprintf("migrated %v, down %v", migrated, down), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					l, e, link := attachedWorld(t, w, 2, func(c *Config) { c.TicketDir = t.TempDir() })
					if migrated {
						if err := link.Migrate(t.Context(), "lte"); err != nil {
							t.Fatal(err)
						}
						time.Sleep(5 * time.Second)
					}
					d := startLoad(t, l, link, 10*time.Millisecond)
					time.Sleep(time.Second)
					w.kill(l)
					time.Sleep(down)
					fresh := w.target(testIdentityOf(e))
					echo(fresh)
					back := time.Now()
					<-link.Done()
					<-d.done
					if class := classOf(link.Err()); class != Dropped {
						t.Errorf("the link ended with %v", link.Err())
					}
					r := e.Redialer(w.peer(), Redial{}, nil)
					again, err := r.Attach(t.Context(), false)
					if err != nil {
						t.Fatal(err)
					}
					if got, err := say(t.Context(), again, "where were we?"); got != "where were we?" {
						t.Fatal(err)
					}
					took := time.Since(back)
					t.Logf("reattached %v after the target was back: %v", took, link.Err())
					if took > 1500*time.Millisecond {
						t.Errorf("reattached %v after the target was back", took)
					}
				})
			})
		}
	}
}

func testIdentityOf(e *Endpoint) *Identity { return e.cfg.Identity }

// kill takes the target off the network without a goodbye.
func (w *world) kill(l *Listener) {
	w.wan.set(true, w.targetAddr.IP.String())
	l.Close()
	w.wan.set(false, w.targetAddr.IP.String())
}

// A forged reset does not end a link.
func TestForgedResetIsHarmless(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		l, _, link := attachedWorld(t, w, 2, nil)
		echo(l)
		w.wan.set(true, w.targetAddr.IP.String())
		attacker := w.node(udpAddr("198.51.100.66", 6666))
		defer attacker.Close()
		for range 30 {
			time.Sleep(500 * time.Millisecond)
			for port := 5001; port < 5005; port++ {
				for i := range 2 {
					attacker.WriteTo(append([]byte{0x40}, make([]byte, 60)...), udpAddr(uplinkIP(i), port))
				}
			}
		}
		w.wan.set(false, w.targetAddr.IP.String())
		if got, err := say(t.Context(), link, "still there?"); got != "still there?" {
			t.Errorf("got %q, %v", got, err)
		}
		if link.Err() != nil {
			t.Error(link.Err())
		}
	})
}
