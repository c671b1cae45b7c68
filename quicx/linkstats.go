package quicx

import "time"

// Stats tell how a link fares.
type Stats struct {
	// Path is the uplink in use, Remote the peer's address.
	Path, Remote string
	// Standby is the uplink of the standby path; empty while there is none.
	Standby string
	RTT     time.Duration
	// Queue is how much longer than the shortest round trip of this path they take
	// now: about what waits on the way.
	Queue time.Duration
	// Window is how much may be under way without an answer, in bytes, over all
	// connections of a source's link; 0 at a target.
	Window uint64
	// Loss is the share of packets lost so far, 0 to 1.
	Loss                     float64
	PacketsSent, PacketsLost uint64
	BytesSent, BytesReceived uint64
	// Migrations counts moves to another uplink, Revivals silences that ended on
	// the same one.
	Migrations, Revivals int
	// LongestStall is the longest time nothing was heard while the peer owed an
	// answer.
	LongestStall time.Duration
	// Heard is when the peer was last heard; zero at a target.
	Heard time.Time
	// Handshake is how long it took from dialing to being accepted.
	Handshake time.Duration
	// Lanes is how many connections the link has; 1 unless the line loses packets
	// at random, or QUIC has not found out yet what it can carry.
	Lanes int
	// LineRate is what the line was seen to carry when it was full, in bytes a
	// second; 0 if that is not known.
	LineRate float64
	// Resumed: the TLS session was resumed. Used0RTT: data was sent with the
	// first datagrams, and taken.
	Resumed, Used0RTT bool
}

// Stats returns a copy of what is known now.
func (l *Link) Stats() Stats {
	l.mu.Lock()
	s := l.stats
	l.mu.Unlock()
	c := l.conn.ConnectionStats()
	s.RTT, s.Queue = c.SmoothedRTT, max(0, c.SmoothedRTT-c.MinRTT)
	s.count(c)
	if l.endpoint == nil {
		s.Lanes = 1 + l.inbound.laneCount()
	} else {
		s.Lanes, s.Window = 1, c.CongestionWindow
	}
	if l.lanes != nil {
		l.lanes.addTo(&s)
	}
	if s.PacketsSent > 0 {
		s.Loss = min(1, float64(s.PacketsLost)/float64(s.PacketsSent))
	}
	if l.endpoint == nil {
		s.Remote = l.conn.RemoteAddr().String()
	} else if heard := l.path.heardAt.Load(); heard > 0 {
		s.Heard = time.Unix(0, heard)
	}
	return s
}
