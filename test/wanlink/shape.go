package wanlink

import "time"

// A Line is what both directions between a source and a target do to packets. The
// zero value is a perfect line.
type Line struct {
	Forth, Back Shape // from the source to the target, and from the target
}

// A Shape is what one direction does to packets.
type Shape struct {
	// Rate is in bits a second, of whole IP packets. 0 is no limit.
	Rate int64
	// Delay is how long a packet takes besides its place in the queue. Jitter is by
	// how much that wanders, up and down, without a packet passing another.
	Delay, Jitter time.Duration
	// Loss is the share of packets lost at random, after they went through the queue.
	Loss float64
	// Burst adds losses that come together.
	Burst Burst
	// Held is the share of packets that are held back by HeldFor, so that others
	// pass them.
	Held    float64
	HeldFor time.Duration
	// Queue is how much waits before more is dropped, as a part of what the rate
	// carries in a round trip. Default: 1, and at least 50 ms.
	Queue float64
}

// A Burst is the Gilbert-Elliott model of losses: a bad state is entered and left
// with a probability at each packet, and in it packets are lost with another.
type Burst struct{ Enter, Leave, Loss float64 }

// queueBytes is where the queue of a direction is full; 0 if it never is.
func (s Shape) queueBytes(roundTrip time.Duration) int {
	bytes := func(d time.Duration) float64 { return float64(s.Rate) / 8 * d.Seconds() }
	if s.Queue > 0 {
		return max(int(s.Queue*bytes(roundTrip)), 2*1500)
	}
	return int(bytes(max(roundTrip, 50*time.Millisecond)))
}

// Counters count what one direction did, in packets and in bytes of whole IP packets.
type Counters struct {
	TakenPackets, TakenBytes uint64
	// TCPBytes and UDPBytes are what was handed over.
	TCPBytes, UDPBytes uint64
	// Full, Lost and Cut are packets that were dropped: by the queue, at random or in
	// bursts, and while the line was cut.
	Full, Lost, Cut uint64
	// LateMean and LateMost are by how much packets were handed over too late.
	LateMean, LateMost time.Duration
}
