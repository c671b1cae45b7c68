package quicx

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"
)

// A meter counts what goes over each uplink, headers and all.
type meter struct {
	mu   sync.Mutex
	sent map[string]int // by the source's address, from it
	all  map[string]int // in both directions
}

func (w *world) meter() *meter {
	m := &meter{sent: make(map[string]int), all: make(map[string]int)}
	w.wan.mu.Lock()
	defer w.wan.mu.Unlock()
	w.wan.tap = func(p simnet.Packet) {
		m.mu.Lock()
		defer m.mu.Unlock()
		n := len(p.Data) + headerBytes
		m.sent[hostOf(p.From)] += n
		m.all[hostOf(p.From)] += n
		m.all[hostOf(p.To)] += n
	}
	return m
}

func hostOf(a interface{ String() string }) string {
	host, _, _ := strings.Cut(a.String(), ":")
	return host
}

// take returns what the source sent over uplink i since the last call, in bytes, and
// what went over it in both directions.
func (m *meter) take(i int) (sent, all int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ip := uplinkIP(i)
	sent, all = m.sent[ip], m.all[ip]
	m.sent[ip], m.all[ip] = 0, 0
	return sent, all
}

// checkRate compares bytes with a rate held for some time.
func checkRate(t *testing.T, what string, got int, rate int64, held time.Duration) {
	t.Helper()
	want := float64(rate) * held.Seconds()
	t.Logf("%s: %d bytes in %v, %.4f of the limit", what, got, held, float64(got)/want)
	if share := float64(got) / want; share < 0.95 || share > 1.05 {
		t.Errorf("%s: %d bytes in %v, %.3f of the limit", what, got, held, share)
	}
}

// busyWorld has three streams that send all they may, beside one that steers.
func busyWorld(t *testing.T, w *world, n int, edit func(*Config)) (e *Endpoint, link *Link, control *Stream) {
	t.Helper()
	l, e, link := attachedWorld(t, w, n, edit)
	var streams atomic.Int64
	serve(l, func(s *Stream) {
		if streams.Add(1) == 1 {
			io.Copy(s, s)
		} else {
			io.Copy(io.Discard, s)
		}
	})
	control, err := link.OpenStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(control, "x")
	if _, err := control.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s, err := link.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				if _, err := s.Write(patternAt(0, loadChunk)); err != nil {
					return
				}
			}
		}()
	}
	return e, link, control
}

// What the appliance sends over all uplinks stays within its limit, whichever is in
// use, and also when the limit changes.
func TestMaxRate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const first, then = 400_000, 100_000
		e, link, control := busyWorld(t, w, 2, func(c *Config) { c.MaxRate = first })
		m := w.meter()
		time.Sleep(time.Minute)
		sent, _ := m.take(0)
		checkRate(t, "first", sent, first, time.Minute)

		asked := time.Now()
		io.WriteString(control, "x")
		if _, err := control.Read(make([]byte, 8)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(asked); took > 4*oneWay {
			t.Errorf("the urgent stream waited %v behind the others", took)
		}

		e.SetMaxRate(then)
		m.take(0)
		time.Sleep(30 * time.Second)
		if err := link.Migrate(t.Context(), "lte"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		fibre, _ := m.take(0)
		lte, _ := m.take(1)
		checkRate(t, "then, over two uplinks", fibre+lte, then, time.Minute)
		if got := w.texts(EventRate); len(got) != 2 || got[0] != "sending is limited to 3.2 Mbit/s" || got[1] != "sending is limited to 800 kbit/s" {
			t.Errorf("events: %q", got)
		}
		if s := link.Stats(); s.Loss > 0 || s.LongestStall > 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// The limit of an uplink is that of the path over it, beside the limit of the whole.
func TestMaxRateOfUplinks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const whole, lte = 300_000, 60_000
		_, link, _ := busyWorld(t, w, 2, func(c *Config) {
			c.MaxRate, c.Uplinks[1].MaxRate, c.ReturnAfter = whole, lte, time.Hour
		})
		m := w.meter()
		time.Sleep(time.Minute)
		sent, _ := m.take(0)
		checkRate(t, "fibre", sent, whole, time.Minute)
		if err := link.Migrate(t.Context(), "lte"); err != nil {
			t.Fatal(err)
		}
		m.take(1)
		time.Sleep(time.Minute)
		sent, _ = m.take(1)
		checkRate(t, "lte", sent, lte, time.Minute)
		if err := link.Migrate(t.Context(), "fibre"); err != nil {
			t.Fatal(err)
		}
		m.take(0)
		time.Sleep(time.Minute)
		sent, _ = m.take(0)
		checkRate(t, "fibre again", sent, whole, time.Minute)
	})
}

// What is sent again counts, and what QUIC adds to the data.
func TestMaxRateOnABadLine(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const limit = 50_000
		_, link, _ := busyWorld(t, w, 1, func(c *Config) { c.MaxRate = limit })
		var sent atomic.Int64
		w.wan.mu.Lock()
		w.wan.alter = func(p simnet.Packet) (simnet.Packet, bool) {
			return p, hostOf(p.From) != uplinkIP(0) || sent.Add(1)%10 != 0
		}
		w.wan.mu.Unlock()
		m := w.meter()
		time.Sleep(time.Minute)
		got, _ := m.take(0)
		checkRate(t, "with a tenth lost", got, limit, time.Minute)
		if s := link.Stats(); s.Loss < 0.05 {
			t.Errorf("the test needs loss: %+v", s)
		}
	})
}

// Who waits for a low limit goes on as soon as it is lifted, or the stream ends.
func TestWaitingForALimitEnds(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		e, link, _ := busyWorld(t, w, 1, func(c *Config) { c.MaxRate = 1000 })
		s, err := link.OpenStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		over := make(chan error)
		go func() {
			_, err := s.Write(make([]byte, 1<<20))
			over <- err
		}()
		time.Sleep(10 * time.Second)
		s.Abort(1)
		if err := <-over; classOf(err) != Local {
			t.Errorf("an aborted stream: %v", err)
		}
		if s, err = link.OpenStream(t.Context()); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := s.Write(make([]byte, 1<<20))
			over <- err
		}()
		time.Sleep(10 * time.Second)
		lifted := time.Now()
		e.SetMaxRate(400_000)
		if err := <-over; err != nil {
			t.Error(err)
		}
		// Four streams share the limit.
		if took := time.Since(lifted); took > 12*time.Second {
			t.Errorf("1 MiB took %v once the limit was lifted", took)
		}
	})
}
