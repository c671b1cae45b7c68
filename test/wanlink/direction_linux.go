package wanlink

import (
	"math/rand/v2"
	"sync"
	"time"
)

// wander is how long the jitter takes from one random value to the next.
const wander = 50 * time.Millisecond

// A packet is on its way: a part of a buffer.
type packet struct {
	due    time.Duration // since the line was laid
	number uint64        // of two that are due together the lower one goes first
	buf    *buffer
	part   int
}

// A direction decides what happens to packets, and carries them: see run.
type direction struct {
	in, out  int // descriptors
	shape    Shape
	limit    int // of the queue, in bytes
	random   *rand.Rand
	clock    func() time.Duration
	write    func(head, body []byte) error
	segment  [headerRoom]byte
	scratch  []byte
	buffers  buffers
	underway heap

	mu    sync.Mutex // guards everything while run runs
	ended bool
	cut   bool
	count Counters
	late  time.Duration // sum
	given uint64

	free    time.Duration // when the last packet of the queue has left it
	lastDue time.Duration
	number  uint64
	bad     bool // the state of Burst
	// The jitter goes from one value to the next until a moment.
	jitter, nextJitter, jitterUntil time.Duration
}

// admit decides what happens to a packet of some bytes that arrives now.
func (d *direction) admit(b *buffer, part, bytes int, now time.Duration) {
	d.count.TakenPackets++
	d.count.TakenBytes += uint64(bytes)
	if d.cut {
		d.count.Cut++
		return
	}
	left := now
	if d.shape.Rate > 0 {
		d.free = max(d.free, now)
		waiting := (d.free - now).Seconds() * float64(d.shape.Rate) / 8
		if int(waiting)+bytes > d.limit {
			d.count.Full++
			return
		}
		d.free += time.Duration(float64(bytes) * 8e9 / float64(d.shape.Rate))
		left = d.free
	}
	if d.loses() {
		d.count.Lost++
		return
	}
	due := left + d.shape.Delay + d.wanders(left)
	if d.chance(d.shape.Held) {
		due += d.shape.HeldFor
	} else {
		due = max(due, d.lastDue)
		d.lastDue = due
	}
	d.number++
	b.users++
	d.underway.push(packet{due: due, number: d.number, buf: b, part: part})
}

func (d *direction) chance(p float64) bool { return p > 0 && d.random.Float64() < p }

// loses decides whether a packet is lost that got through the queue.
func (d *direction) loses() bool {
	if d.bad {
		d.bad = !d.chance(d.shape.Burst.Leave)
	} else {
		d.bad = d.chance(d.shape.Burst.Enter)
	}
	return d.chance(d.shape.Loss) || d.bad && d.chance(d.shape.Burst.Loss)
}

// wanders returns how much longer than Delay a packet takes that leaves now.
func (d *direction) wanders(now time.Duration) time.Duration {
	if d.shape.Jitter == 0 {
		return 0
	}
	for now >= d.jitterUntil {
		d.jitter = d.nextJitter
		d.nextJitter = time.Duration((2*d.random.Float64() - 1) * float64(d.shape.Jitter))
		d.jitterUntil = max(d.jitterUntil, now-wander) + wander
	}
	rest := float64(d.jitterUntil-now) / float64(wander)
	return d.nextJitter + time.Duration(rest*float64(d.jitter-d.nextJitter))
}

// setCut cuts the line, which loses what is on its way, or mends it.
func (d *direction) setCut(cut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = cut
	for cut && len(d.underway) > 0 {
		d.count.Cut++
		d.buffers.release(d.underway.pop().buf)
	}
	d.free = 0
}

func (d *direction) counters() Counters {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.count
	c.LateMean = d.late / time.Duration(max(1, d.given))
	return c
}

// A heap has the packet first that is due first. The standard library's would
// allocate for each packet.
type heap []packet

func (h heap) before(i, j int) bool {
	return h[i].due < h[j].due || h[i].due == h[j].due && h[i].number < h[j].number
}

func (h *heap) push(p packet) {
	*h = append(*h, p)
	q := *h
	for i := len(q) - 1; i > 0 && q.before(i, (i-1)/2); i = (i - 1) / 2 {
		q[i], q[(i-1)/2] = q[(i-1)/2], q[i]
	}
}

func (h *heap) pop() packet {
	q := *h
	first, last := q[0], len(q)-1
	q[0] = q[last]
	q[last] = packet{}
	q = q[:last]
	*h = q
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if q.before(child, least) {
				least = child
			}
		}
		if least == i {
			return first
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
}
