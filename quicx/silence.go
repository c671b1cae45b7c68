package quicx

import (
	"time"

	"github.com/quic-go/quic-go"
)

const (
	// watchEvery is how often a link looks whether it heard anything.
	watchEvery = 50 * time.Millisecond
	// A heartbeat is sent after this long without a packet: soon while streams
	// are written to, later on a link at rest.
	busyBeat = 100 * time.Millisecond
	idleBeat = time.Second
	// Silence is suspicious after three round trips, but within these bounds. A
	// machine that is short of CPU is silent for up to 0.3 s by itself.
	minSilence = 500 * time.Millisecond
	maxSilence = 2 * time.Second
	// stallFloor is the shortest wait, beyond two round trips, that counts as a
	// stall: shorter ones are how a heartbeat is sent and its answer noticed.
	stallFloor = 200 * time.Millisecond
)

// A silence tells how long the peer has owed an answer. Only what must be answered
// counts: that packets were sent says nothing, since acknowledgements are never
// answered, and a link at rest would look dead.
type silence struct {
	packets uint64    // received so far
	heard   time.Time // when that number last grew
	// asked is when a heartbeat was sent that nothing followed yet, busy since
	// when, within this silence, streams have been written to; zero: not.
	asked, busy time.Time
}

// observe notes the number of packets received by now, and whether streams are
// being written to. It reports whether something was heard, and how long it had
// been owed.
func (s *silence) observe(now time.Time, packets uint64, writing bool) (owed time.Duration, heard bool) {
	if packets != s.packets {
		owed = s.owed(now)
		s.packets, s.heard, s.asked, s.busy = packets, now, time.Time{}, time.Time{}
		heard = true
	}
	if writing && s.busy.IsZero() {
		s.busy = now
	}
	return owed, heard
}

// owed returns for how long an answer has been due.
func (s *silence) owed(now time.Time) time.Duration {
	switch {
	case s.asked.IsZero():
		return 0
	case !s.busy.IsZero() && s.busy.Before(s.asked):
		return now.Sub(s.busy)
	}
	return now.Sub(s.asked)
}

// wantsBeat reports whether it is time to ask.
func (s *silence) wantsBeat(now time.Time) bool {
	if !s.asked.IsZero() {
		return false
	}
	quiet := now.Sub(s.heard)
	return quiet >= idleBeat || !s.busy.IsZero() && quiet >= busyBeat
}

// suspicious returns how long an answer may be due on a path like this.
func suspicious(c quic.ConnectionStats) time.Duration {
	const ackDelay = 25 * time.Millisecond // RFC 9000, section 18.2, max_ack_delay
	return min(max(3*(c.SmoothedRTT+4*c.MeanDeviation+ackDelay), minSilence), maxSilence)
}
