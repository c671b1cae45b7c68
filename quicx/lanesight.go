package quicx

import (
	"time"

	"github.com/quic-go/quic-go"
)

const (
	// glanceEvery is how often the lanes are looked at.
	glanceEvery = 50 * time.Millisecond
	// A sight is over one round trip, but within these bounds.
	minSight, maxSight = 150 * time.Millisecond, time.Second
	// usualStep is the part of a round trip by which the usual one follows what is
	// seen, at each glance.
	usualStep = 64
)

// A laneSight is what was seen of a link over a short time.
type laneSight struct {
	lanes int
	busy  float64 // share of the time in which streams waited for the link
	rate  float64 // sent, in bytes a second
	sent  int     // packets
	// loss is the share of the packets that were lost, and calm what it would be if
	// there were only losses that have nothing to do with a queue: twice those seen
	// while round trips took less than usual.
	loss, calm float64
	// base is the shortest round trip, excess what they took on top on average.
	base, excess time.Duration
}

// A laneWatch puts glances at a link's connections together to sights.
type laneWatch struct {
	began  time.Time
	counts map[*quic.Conn]quic.ConnectionStats // at the last glance
	base   time.Duration                       // shortest of all connections
	usual  time.Duration                       // about the median round trip

	glances, waiting, measured int
	bytes, sent, lost, calm    uint64        // the last three are packets
	excess                     time.Duration // sum over all measured
}

// glance notes how the connections are now, and whether streams wait for them.
func (w *laneWatch) glance(conns []*quic.Conn, waiting bool) {
	counts := make(map[*quic.Conn]quic.ConnectionStats, len(conns))
	w.base = 0
	for _, c := range conns {
		counts[c] = c.ConnectionStats()
		if m := counts[c].MinRTT; m > 0 && (w.base == 0 || m < w.base) {
			w.base = m
		}
	}
	step := w.base / usualStep / time.Duration(len(conns))
	for c, now := range counts {
		was := w.counts[c]
		sent, lost := now.PacketsSent-was.PacketsSent, now.PacketsLost-was.PacketsLost
		w.bytes += now.BytesSent - was.BytesSent
		w.sent += sent
		w.lost += lost
		if sent == 0 || now.LatestRTT == 0 {
			continue
		}
		w.measured++
		w.excess += max(0, now.LatestRTT-w.base)
		switch {
		case w.usual == 0:
			w.usual = now.LatestRTT
		case now.LatestRTT > w.usual:
			w.usual += step
		default:
			w.usual -= step
			w.calm += lost
		}
	}
	w.counts = counts
	w.glances++
	if waiting {
		w.waiting++
	}
}

// sight returns what was seen since the last one, once that is enough.
func (w *laneWatch) sight(now time.Time) (laneSight, bool) {
	took := now.Sub(w.began)
	if took < min(max(w.base, minSight), maxSight) {
		return laneSight{}, false
	}
	sent := float64(max(1, w.sent))
	s := laneSight{
		lanes: len(w.counts), base: w.base,
		busy: float64(w.waiting) / float64(max(1, w.glances)),
		rate: float64(w.bytes) / took.Seconds(),
		sent: int(w.sent),
		loss: float64(w.lost) / sent,
		calm: 2 * float64(w.calm) / sent,
	}
	if w.measured > 0 {
		s.excess = w.excess / time.Duration(w.measured)
	}
	*w = laneWatch{began: now, counts: w.counts, base: w.base, usual: w.usual}
	return s, true
}
