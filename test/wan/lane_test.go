package wan

import (
	"testing"
	"testing/synctest"
	"time"
)

// sent is what a lane delivered, and when.
type sent struct {
	n  int
	at time.Duration
}

// drive runs a lane in fake time: it offers a packet of size bytes every gap,
// count times, and returns what comes out.
func drive(t *testing.T, s Shape, size int, gap time.Duration, count int) (out []sent, c Counters) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLane(s, 7, 1)
		start := time.Now()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			l.run(func(p *packet) { out = append(out, sent{p.n, time.Since(start)}) })
		}()
		for range count {
			p := newPacket()
			p.n = size
			l.admit(p)
			time.Sleep(gap)
		}
		time.Sleep(time.Minute)
		c = l.counters()
		l.close()
		<-ended
	})
	return out, c
}

func TestDelay(t *testing.T) {
	out, _ := drive(t, Shape{Delay: 20 * time.Millisecond}, 1000, time.Millisecond, 5)
	if len(out) != 5 {
		t.Fatalf("%d packets came out, want 5", len(out))
	}
	for i, p := range out {
		if want := time.Duration(20+i) * time.Millisecond; p.at != want || p.n != 1000 {
			t.Errorf("packet %d: %d bytes after %v, want 1000 after %v", i, p.n, p.at, want)
		}
	}
}

func TestRate(t *testing.T) {
	// 1000 bytes with headers at 8 Mbit/s take a millisecond each.
	const payload = 1000 - headerBytes
	out, c := drive(t, Shape{Rate: 8e6, Delay: 10 * time.Millisecond, Queue: 50_000}, payload, 0, 40)
	if len(out) != 40 || c.FullPackets != 0 {
		t.Fatalf("%d packets came out and %d did not fit, want 40 and 0", len(out), c.FullPackets)
	}
	for i, p := range out {
		if want := time.Duration(11+i) * time.Millisecond; p.at != want {
			t.Errorf("packet %d after %v, want %v", i, p.at, want)
		}
	}
	if want := uint64(40 * payload); c.Packets != 40 || c.Bytes != want {
		t.Errorf("counted %d packets, %d bytes, want 40, %d", c.Packets, c.Bytes, want)
	}
}

func TestQueueIsLimited(t *testing.T) {
	out, c := drive(t, Shape{Rate: 8e6, Queue: 10_000}, 1000-headerBytes, 0, 40)
	if len(out) != 10 || c.FullPackets != 30 {
		t.Errorf("%d packets came out and %d did not fit, want 10 and 30", len(out), c.FullPackets)
	}
}

func TestMemoryIsLimited(t *testing.T) {
	const size = maxPacket
	offered := maxHeld/size + 1000
	out, c := drive(t, Shape{Delay: time.Second}, size, 0, offered)
	if most := maxHeld / (size + headerBytes); len(out) != most || int(c.FullPackets) != offered-most {
		t.Errorf("%d of %d packets came out, want %d", len(out), offered, most)
	}
}

func TestLoss(t *testing.T) {
	s := Shape{Loss: 0.02}
	out, c := drive(t, s, 100, 0, 20_000)
	if c.LostPackets < 300 || c.LostPackets > 500 {
		t.Errorf("%d of 20000 packets lost, want about 400", c.LostPackets)
	}
	if len(out)+int(c.LostPackets) != 20_000 {
		t.Errorf("%d came out and %d were lost, want 20000 together", len(out), c.LostPackets)
	}
	if _, again := drive(t, s, 100, 0, 20_000); again != c {
		t.Errorf("the same seed gave %+v, then %+v", c, again)
	}
}

func TestCutLosesWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLane(Shape{Rate: 8e6, Delay: 10 * time.Millisecond}, 1, 1)
		out := make(chan int, 10)
		go l.run(func(p *packet) { out <- p.n })
		offer := func(n int) {
			p := newPacket()
			p.n = n
			l.admit(p)
		}
		offer(1)
		time.Sleep(5 * time.Millisecond)
		l.setCut(true)
		offer(2)
		time.Sleep(time.Second)
		l.setCut(false)
		offer(3)
		time.Sleep(time.Second)
		if got := len(out); got != 1 || <-out != 3 {
			t.Errorf("%d packets came out, want only the third", got)
		}
		if c := l.counters(); c.CutPackets != 2 || c.Packets != 1 {
			t.Errorf("counters %+v, want 2 cut and 1 delivered", c)
		}
		l.close()
	})
}
