package wan

import (
	"math/rand/v2"
	"sync"
	"time"
)

// A Shape is what one direction of a path does to packets. The zero value is a
// perfect line.
type Shape struct {
	// Rate in bits a second, counted over whole IP packets. 0: no limit.
	Rate int64
	// Delay of a packet on its way, once it has left the queue.
	Delay time.Duration
	// Loss is the share of packets that vanish at random after the queue, 0 to 1.
	Loss float64
	// Queue is how many bytes may wait for the Rate before further packets are
	// dropped. Default: what the Rate carries in 50 ms, at least 64 KiB.
	Queue int
}

const (
	// headerBytes are the IPv4 and UDP headers around a payload.
	headerBytes = 28
	// maxHeld is how many bytes of packets a lane holds at most, queue and delay
	// together: 1 Gbit/s for 250 ms. It only bounds memory.
	maxHeld = 32 << 20
	// defaultQueueTime and minQueue make the default of Shape.Queue.
	defaultQueueTime = 50 * time.Millisecond
	minQueue         = 64 << 10
)

// Counters count the packets and bytes of UDP payload in one direction of a path.
type Counters struct {
	Packets, Bytes uint64 // delivered
	// What was dropped, and why: by Shape.Loss, by a full queue, by a cut.
	LostPackets, FullPackets, CutPackets uint64
}

// A packet is on its way: the payload of a datagram, or a whole packet of a Pipe.
// The last byte of buf is only written by a packet that is too large.
type packet struct {
	buf  [headerBytes + maxPacket + 1]byte
	n    int
	flow *flow
	due  time.Time
}

var packets = sync.Pool{New: func() any { return new(packet) }}

func newPacket() *packet { return packets.Get().(*packet) }

func (p *packet) free() {
	p.flow = nil
	packets.Put(p)
}

// A lane is one direction of one path: a queue that drains at the rate, then a
// delay. Packets keep their order.
type lane struct {
	shape    Shape
	overhead int           // bytes that each packet takes on the line beside its own
	wake     chan struct{} // has an element after the first packet came into an empty lane
	done     chan struct{}

	mu    sync.Mutex
	rng   *rand.Rand
	cut   bool
	idle  time.Time // when the last admitted packet has left the queue
	held  int       // bytes in way
	way   []*packet // by due, which is also the order of arrival
	count Counters
}

func newLane(s Shape, seed, number uint64) *lane {
	if s.Queue == 0 {
		s.Queue = max(minQueue, int(s.Rate/8*int64(defaultQueueTime)/int64(time.Second)))
	}
	return &lane{
		shape: s, overhead: headerBytes, rng: rand.New(rand.NewPCG(seed, number)),
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// admit takes a packet in, or drops it.
func (l *lane) admit(p *packet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.schedule(p, time.Now()) {
		p.free()
		return
	}
	if l.way = append(l.way, p); len(l.way) == 1 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// schedule decides what happens to a packet that arrives now: it sets when the
// packet is due at the other end, or reports that it is dropped.
func (l *lane) schedule(p *packet, now time.Time) bool {
	if l.cut {
		l.count.CutPackets++
		return false
	}
	if l.idle.Before(now) {
		l.idle = now
	}
	size := p.n + l.overhead
	if l.shape.Rate > 0 {
		bytesPerSecond := float64(l.shape.Rate) / 8
		waiting := l.idle.Sub(now).Seconds() * bytesPerSecond
		if waiting+float64(size) > float64(l.shape.Queue) {
			l.count.FullPackets++
			return false
		}
		l.idle = l.idle.Add(time.Duration(float64(size) / bytesPerSecond * float64(time.Second)))
	}
	if l.shape.Loss > 0 && l.rng.Float64() < l.shape.Loss {
		l.count.LostPackets++
		return false
	}
	if l.held+size > maxHeld {
		l.count.FullPackets++
		return false
	}
	l.held += size
	p.due = l.idle.Add(l.shape.Delay)
	return true
}

// run hands over packets when they are due, until close.
func (l *lane) run(deliver func(*packet)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var ready []*packet
	for {
		var wait time.Duration
		ready, wait = l.takeDue(ready[:0], time.Now())
		for _, p := range ready {
			deliver(p)
			p.free()
		}
		if len(ready) > 0 {
			continue // time has passed, so more may be due
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-l.wake:
		case <-l.done:
			return
		}
	}
}

// takeDue moves what is due at now from the lane to ready, and returns how long
// to wait for the next packet.
func (l *lane) takeDue(ready []*packet, now time.Time) ([]*packet, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.way) && !l.way[n].due.After(now) {
		p := l.way[n]
		l.held -= p.n + l.overhead
		l.count.Packets++
		l.count.Bytes += uint64(p.n)
		n++
	}
	ready = append(ready, l.way[:n]...)
	l.way = append(l.way[:0], l.way[n:]...)
	if len(l.way) == 0 {
		return ready, time.Hour // the wake channel ends it
	}
	return ready, l.way[0].due.Sub(now)
}

func (l *lane) isCut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.cut
}

// setCut starts or ends a cut. A cut loses what is on its way.
func (l *lane) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if !cut {
		return
	}
	for _, p := range l.way {
		l.count.CutPackets++
		p.free()
	}
	l.way, l.held, l.idle = l.way[:0], 0, time.Time{}
}

func (l *lane) counters() Counters {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}

func (l *lane) close() { close(l.done) }
