package quicx

import "time"

const (
	// MaxLanes is the most lanes that a link may have. With 96 a line of
	// 100 Mbit/s, 80 ms and 5 % loss is full.
	MaxLanes = 96
	// calmLanes is the most without random loss until the line is full. Several help
	// there too: quic-go leaves slow start at the first sign of a queue, and a
	// connection that did so early needs a minute for 100 Mbit/s at 80 ms.
	calmLanes = 10
	// fairLanes is the most once it was full: then they have little to gain but from
	// others. What is fair beside TCP depends on the queue and is not settled by a
	// number.
	fairLanes = 4
	// calmWindow is how much each of them has to have under way at least, in bytes:
	// less, and the sawtooth of one is a large part of what a thin line carries.
	calmWindow = 16 * 1400
	// randomLoss is the share of packets lost for no reason from which on a line is
	// one that loses packets.
	randomLoss = 0.0005
	// busyShare is the part of the time in which streams wait for the link from
	// which on it is what limits.
	busyShare = 0.5
	// firstWindow is what a new lane has under way at first: 32 packets with quic-go.
	firstWindow = 32 * 1400
	// restAfter is how long a link may have little to do before its lanes end.
	restAfter = 10 * time.Second
	// lossKept is what is left at each sight of the packets counted before: one packet
	// in a thousand is not lost in each. ownFades is what is left of the most loss that
	// was seen with few lanes, bestFades of the best rate.
	lossKept  = 0.75
	ownFades  = 0.98
	bestFades = 0.995
	// jitterWeight is over how many sights jitter is smoothed.
	jitterWeight = 4
	// lossSlack is how much loss may vary by itself: it comes in bursts.
	lossSlack = 0.01
	// fullSights is how many sights in a row must say that the line is full.
	fullSights = 3
	// fullLosses is how many packets that are lost without a reason of its own say so.
	// fullLosses is how many lost packets say that a line is full which loses none by
	// itself.
	fullLosses = 3
	// queuedSights is how many must say that packets queue: one may be chance.
	queuedSights = 2
	// fewerAt and slowerAt say when a suspicion is looked into: with this share of the
	// lanes the line would still carry more than this share of what it did, if it had
	// been full.
	fewerAt, slowerAt = 0.75, 0.875
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
	// Packets, of which the older count less: sent, lost, and lost for no reason.
	sent, lost, calm float64
	// own is what of the loss is the line's and not due to the lanes: what it was with
	// few of them.
	own float64
	// suspects is how many lanes there were when loss began to be blamed on them, 0 if
	// it is not, suspected the most that was lost since, and before the rate then.
	suspects  int
	suspected float64
	before    float64
	// jitter is by how much round trips differ on this line by themselves.
	jitter time.Duration
	// In a row there were so many sights with a line that is full, with packets that
	// queue, and with room for more.
	full, queued, room int
	filled             bool    // packets have queued, so that best is what the line carries
	best               float64 // the highest rate for two sights, in bytes a second
	last               laneSight
	// known is how many lanes the last link over this line had in the end. They get
	// there in some steps: the windows they begin with are larger than those they keep.
	known int
}

// count is what a link begins to count with that knows its line.
func (k line) count() laneCount {
	return laneCount{
		sent: k.Sent, lost: k.Lost, calm: k.Calm, own: k.Own, jitter: k.Jitter,
		filled: k.Rate > 0, best: k.Rate, known: k.Lanes,
	}
}

// line is what was learned.
func (c *laneCount) line() line {
	return line{
		Lanes: c.last.lanes, Sent: c.sent, Lost: c.lost, Calm: c.calm, Own: c.own, Jitter: c.jitter,
		Rate: c.carries(), Base: c.last.base, Seen: time.Now(),
	}
}

// first is with how many lanes a link begins that knows its line: what they have under
// way at first fills it, and no queue.
func (k line) first() int {
	if k.Rate == 0 {
		return min(k.Lanes, calmLanes)
	}
	return min(k.Lanes, max(1, int(k.Rate*k.Base.Seconds()/firstWindow)))
}

// carries is what the line carries, in bytes a second; 0 if not known.
func (c *laneCount) carries() float64 {
	if !c.filled {
		return 0
	}
	return c.best
}

func (c *laneCount) loss() float64 { return c.lost / max(1, c.sent) }

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
	defer func() { c.last = s }()
	queue := s.excess
	if c.random() {
		queue -= c.jitter
	}
	c.queued++
	switch {
	case queue > max(s.base/4, 10*time.Millisecond) || c.tooMany(s) || c.unfair(s):
		return c.fewer(s)
	case queue > max(s.base/8, 5*time.Millisecond):
		c.full, c.room = 0, 0
		c.filled = c.filled || c.queued >= queuedSights
		return s.lanes + c.still(s)
	}
	c.full, c.queued = 0, 0
	c.room++
	return c.more(s)
}

// random reports whether the line loses packets although it is not full: then
// about as many are lost while round trips are short as while they are long.
func (c *laneCount) random() bool {
	return c.calm >= randomLoss*c.sent && c.calm >= c.lost/2 && c.calm > 0
}

// few is how many lanes do no harm on any line that carries as much.
func (s laneSight) few() int {
	return min(max(1, int(s.rate*s.base.Seconds()/calmWindow)), calmLanes)
}

// steady reports whether the line loses little, and nothing by itself.
func (c *laneCount) steady() bool { return !c.random() && c.loss() <= lossSlack }

// unfair reports whether there are more lanes than such a line needs.
func (c *laneCount) unfair(s laneSight) bool { return c.steady() && s.lanes > c.calmMost(s) }

// calmMost is the most lanes without random loss.
func (c *laneCount) calmMost(s laneSight) int {
	if c.filled {
		return min(s.few(), fairLanes)
	}
	return s.few()
}

func (c *laneCount) learn(s laneSight) {
	calm := s.calm
	if s.lanes == 1 && s.excess < s.base/8 {
		calm = max(calm, s.loss) // nothing queues, so that all of it is random
	}
	sent := float64(s.sent)
	c.sent = lossKept*c.sent + sent
	c.lost = lossKept*c.lost + s.loss*sent
	c.calm = lossKept*c.calm + calm*sent
	c.best = max(c.best*bestFades, min(s.rate, c.last.rate))
	// What such a line loses says that it was full, where its queue is too short to be
	// seen.
	c.filled = c.filled || c.steady() && c.lost > fullLosses
	if s.lanes <= s.few() {
		c.own = max(c.own*ownFades, c.loss())
		c.jitter += (min(s.excess, s.base/2) - c.jitter) / jitterWeight
	}
}

// tooMany reports whether more is lost than the line loses, which is blamed on the
// lanes unless fewer of them carry less, or half of them lose as much: then it was
// the line, of which the first lanes had not seen enough.
func (c *laneCount) tooMany(s laneSight) bool {
	loss := c.loss()
	if loss <= 2*c.own+lossSlack {
		c.suspects = 0
		return false
	}
	if c.suspects == 0 {
		c.suspects, c.suspected, c.before = s.lanes, 0, max(s.rate, c.last.rate)
	}
	c.suspected = max(c.suspected, loss)
	slower := float64(s.lanes) <= fewerAt*float64(c.suspects) && max(s.rate, c.last.rate) < slowerAt*c.before
	if !slower && (s.lanes > c.suspects/2 || loss < c.suspected*2/3) {
		return true
	}
	c.own, c.suspects = loss, 0
	return false
}

// more adds lanes. Until the line was full once, as many as there are, and twice that
// while they are few on a line with random loss, which nearly always needs many. Then
// those whose first windows make up for what is missing, or more each time that there
// is still room: what the line carries may have grown.
func (c *laneCount) more(s laneSight) int {
	limit, step := c.calmMost(s), s.lanes
	if c.random() {
		limit = MaxLanes
		if s.lanes < calmLanes {
			step = 2 * s.lanes
		}
	}
	if c.filled {
		missing := (c.best - max(s.rate, c.last.rate)) * s.base.Seconds() / firstWindow
		step = max(1, int(missing)-max(0, s.lanes-c.last.lanes), min(1<<min(c.room, 6), s.lanes)/4, c.still(s))
	}
	return max(s.lanes, min(limit, s.lanes+step))
}

// still is how many lanes are added of those that the line is known to need.
func (c *laneCount) still(s laneSight) int {
	return max(0, c.known-s.lanes+3) / 4
}

// fewer takes lanes away once the line has been full for a while.
func (c *laneCount) fewer(s laneSight) int {
	if c.full++; c.full < fullSights {
		return s.lanes
	}
	c.full, c.room, c.known, c.filled = 0, 0, 0, true
	part := 16
	if c.suspects > 0 || s.excess > s.base/2 {
		part = 8
	}
	return max(min(c.calmMost(s), s.lanes), s.lanes-max(1, s.lanes/part))
}
