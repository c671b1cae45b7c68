package quicx

import "time"

const (
	// MaxLanes is the most lanes that a link may have. With 96 a line of
	// 100 Mbit/s, 80 ms and 5 % loss is full.
	MaxLanes = 96
	// calmLanes is the most without random loss. Several help there too: quic-go
	// leaves slow start at the first sign of a queue, and a connection that did so
	// early needs a minute for 100 Mbit/s at 80 ms. More would take more from others;
	// what is fair beside TCP depends on the queue and is not settled by a number.
	calmLanes = 10
	// calmWindow is how much each of them has to have under way at least, in bytes:
	// less, and the sawtooth of one is a large part of what a thin line carries.
	calmWindow = 16 * 1400
	// randomLoss is the share of packets lost for no reason from which on a line is
	// one that loses packets.
	randomLoss = 0.0005
	// busyShare is the part of the time in which streams wait for the link from
	// which on it is what limits.
	busyShare = 0.5
	// restAfter is how long a link may have little to do before its lanes end.
	restAfter = 10 * time.Second
	// lossWeight is over how many sights loss is smoothed, and ownFades what is left
	// after each of the most loss that was seen with few lanes.
	lossWeight = 4
	ownFades   = 0.98
	// lossSlack is how much loss may vary by itself: it comes in bursts.
	lossSlack = 0.01
	// fullSights is how many sights in a row must say that the line is full.
	fullSights = 3
)

// A laneCount decides how many lanes a link should have.
//
// A connection that runs NewReno carries, over a line with random loss, what the
// loss lets it, and no more: with n connections n times that. So while streams wait
// and packets do not queue, lanes are added. When packets queue the line is full,
// and more lanes would only take from others; then they are taken away again, down
// to what is fair without random loss. Loss while packets queue says nothing, since
// that is what a full line does; but a line whose queue is too short to be seen is
// full when loss grows with the lanes.
type laneCount struct {
	idle time.Time // since when the link has had little to do; zero: it has
	// loss and calm are those of the sights, smoothed: one packet in a thousand is
	// not lost in each. own is what of the loss is the line's and not due to the
	// lanes: what it was with few of them.
	loss, calm, own float64
	// suspects is how many lanes there were when loss began to be blamed on them, 0 if
	// it is not, and suspected the most that was lost since.
	suspects  int
	suspected float64
	// jitter is by how much round trips differ on this line by themselves.
	jitter time.Duration
	full   int  // sights in a row with a line that is full
	filled bool // it was full before
	// line is what it carried when it was full, in bytes a second; 0 if not known.
	line float64
}

// want returns how many lanes the link should have.
func (c *laneCount) want(now time.Time, s laneSight) int {
	if s.busy < busyShare {
		c.full = 0
		if c.idle.IsZero() {
			c.idle = now
		}
		if now.Sub(c.idle) >= restAfter {
			return 1
		}
		return s.lanes
	}
	c.idle = time.Time{}
	c.learn(s)
	queue := s.excess
	if c.random() {
		queue -= c.jitter
	}
	switch {
	case queue > max(s.base/4, 10*time.Millisecond) || c.tooMany(s):
		return c.fewer(s)
	case queue > max(s.base/8, 5*time.Millisecond):
		c.full = 0
		return s.lanes
	}
	c.full = 0
	return c.more(s)
}

// random reports whether the line loses packets although it is not full: then
// about as many are lost while round trips are short as while they are long.
func (c *laneCount) random() bool { return c.calm >= randomLoss && c.calm >= c.loss/2 }

// few is how many lanes do no harm on any line that carries as much.
func (s laneSight) few() int {
	return min(max(1, int(s.rate*s.base.Seconds()/calmWindow)), calmLanes)
}

func (c *laneCount) learn(s laneSight) {
	c.loss += (s.loss - c.loss) / lossWeight
	calm := s.calm
	if s.lanes == 1 && s.excess < s.base/8 {
		calm = max(calm, s.loss) // nothing queues, so that all of it is random
	}
	c.calm += (calm - c.calm) / lossWeight
	if s.lanes <= s.few() {
		c.own = max(c.own*ownFades, c.loss)
		c.jitter += (min(s.excess, s.base/2) - c.jitter) / lossWeight
	}
}

// tooMany reports whether more is lost than the line loses, which is blamed on the
// lanes unless half of them lose as much: then it was the line, of which the
// first lanes had not seen enough.
func (c *laneCount) tooMany(s laneSight) bool {
	if c.loss <= 2*c.own+lossSlack {
		c.suspects = 0
		return false
	}
	if c.suspects == 0 {
		c.suspects, c.suspected = s.lanes, 0
	}
	c.suspected = max(c.suspected, c.loss)
	if s.lanes > c.suspects/2 || c.loss < c.suspected*2/3 {
		return true
	}
	c.own, c.filled, c.suspects = c.loss, false, 0
	return false
}

// more adds lanes: as many as there are until the line was full once, twice that
// while they are few on a line with random loss, which nearly always needs many, and
// then a few at a time.
func (c *laneCount) more(s laneSight) int {
	limit, step := s.few(), s.lanes
	if c.random() {
		limit = MaxLanes
		if s.lanes < calmLanes {
			step = 2 * s.lanes
		}
	}
	if c.filled {
		step = max(1, s.lanes/8)
	}
	return max(s.lanes, min(limit, s.lanes+step))
}

// fewer takes lanes away once the line has been full for a while.
func (c *laneCount) fewer(s laneSight) int {
	if c.full++; c.full < fullSights {
		return s.lanes
	}
	c.full, c.filled, c.line = 0, true, s.rate
	return max(min(s.few(), s.lanes), s.lanes-max(1, s.lanes/8))
}
