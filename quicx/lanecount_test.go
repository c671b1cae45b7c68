package quicx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A renoLine is a line with a queue, under connections that run NewReno: a model in
// steps of one round trip, thousands of times faster than the real thing.
type renoLine struct {
	random   *rand.Rand
	rtt      time.Duration
	capacity float64 // packets a round trip
	queue    float64 // packets that fit into the queue
	loss     float64
	jitter   float64 // of the round trip
	other    float64 // window of another sender that fills the queue; 0: none

	windows []float64
	slow    []bool // in slow start
}

// A renoStep is what happened in one round trip.
type renoStep struct {
	sent, lost, calm  float64 // packets
	delivered, others float64 // of them, and of the other sender's
	excess            time.Duration
}

const (
	initialWindow = 32
	leastWindow   = 2
	renoBeta      = 0.7
)

func (l *renoLine) resize(n int) {
	for len(l.windows) < n {
		l.windows, l.slow = append(l.windows, initialWindow), append(l.slow, true)
	}
	l.windows, l.slow = l.windows[:n], l.slow[:n]
}

func (l *renoLine) step() renoStep {
	var s renoStep
	for _, w := range l.windows {
		s.sent += w
	}
	total := s.sent + l.other
	queued := max(0, total-l.capacity)
	dropped := max(0, queued-l.queue) / max(1, total)
	wait := min(queued, l.queue)/l.capacity + l.jitter*l.random.Float64()
	s.excess = time.Duration(wait * float64(l.rtt))
	usual := min(queued, l.queue)/l.capacity < 0.5*l.queue/l.capacity
	for i, w := range l.windows {
		lost := l.draw(w, l.loss)
		full := l.draw(w, dropped)
		s.lost += lost + full
		if usual {
			s.calm += lost
		}
		switch {
		case lost+full > 0:
			l.windows[i], l.slow[i] = max(leastWindow, w*renoBeta), false
		case l.slow[i] && wait < 0.125:
			l.windows[i] *= 2
		default:
			l.windows[i], l.slow[i] = w+1, false
		}
	}
	fits := min(1, l.capacity/max(1, total))
	s.delivered = max(0, s.sent-s.lost) * fits
	if l.other > 0 {
		// Cubic: back to where it was within some seconds.
		s.others = l.other * fits
		if l.draw(l.other, dropped+l.loss) > 0 {
			l.other = max(leastWindow, l.other*renoBeta)
		} else {
			l.other += max(1, 0.01*l.capacity)
		}
	}
	return s
}

// draw returns how many of n packets are lost.
func (l *renoLine) draw(n, share float64) float64 {
	mean := n * share
	lost := math.Floor(mean)
	if l.random.Float64() < mean-lost {
		lost++
	}
	if mean < 1 && l.random.Float64() < 1-math.Exp(-mean) {
		return max(1, lost)
	} else if mean < 1 {
		return 0
	}
	return min(n, lost)
}

// A renoResult is what came of a run, over its second half.
type renoResult struct {
	share, others float64 // of the line
	loss          float64
	lanes         int
}

// run lets a laneCount steer the line for as many round trips.
func (l *renoLine) run(steps int) renoResult {
	count := &laneCount{}
	lanes, now := 1, time.Unix(0, 0)
	var r renoResult
	var sent, lost float64
	for i := range steps {
		l.resize(lanes)
		s := l.step()
		now = now.Add(l.rtt + s.excess)
		if i >= steps/2 {
			sent, lost = sent+s.sent, lost+s.lost
			r.share += s.delivered / l.capacity / float64(steps-steps/2)
			r.others += s.others / l.capacity / float64(steps-steps/2)
		}
		lanes = count.want(now, laneSight{
			lanes: lanes, busy: 1, rate: 1400 * s.delivered / l.rtt.Seconds(),
			sent: int(s.sent), loss: s.lost / s.sent, calm: 2 * s.calm / s.sent, base: l.rtt, excess: s.excess,
		})
	}
	r.loss, r.lanes = lost/sent, lanes
	return r
}

// Over thousands of lines of all kinds the link comes close to what the line
// carries, or to what its lanes can, and loses little more than the line does.
func TestLaneCountOnManyLines(t *testing.T) {
	runs := 0
	for _, loss := range []float64{0, 0.001, 0.005, 0.01, 0.02, 0.05} {
		for _, rtt := range []time.Duration{10, 40, 80, 150, 300, 600} {
			for _, mbit := range []float64{5, 30, 100, 300} {
				for _, queue := range []float64{0.25, 1, 2} {
					for _, jitter := range []float64{0, 0.2} {
						for seed := range uint64(3) {
							l := &renoLine{random: rand.New(rand.NewPCG(seed, 1)), rtt: rtt * time.Millisecond, loss: loss, jitter: jitter}
							l.capacity = mbit * 1e6 / 8 / 1400 * l.rtt.Seconds()
							l.queue = queue * l.capacity
							if l.capacity < 20 || jitter > 0 && l.capacity > 2500 {
								continue // too thin to be a line; jitter ends slow start, and Reno needs minutes
							}
							runs++
							checkLine(t, l, fmt.Sprintf("%.1f %%, %v, %.0f Mbit/s, queue %.2f, jitter %.1f, seed %d", 100*loss, l.rtt, mbit, queue, jitter, seed))
						}
					}
				}
			}
		}
	}
	if runs < 1500 {
		t.Errorf("%d runs", runs)
	}
}

func checkLine(t *testing.T, l *renoLine, name string) {
	r := l.run(600)
	reach := 1.0
	if l.loss > 0 {
		// What Reno's window is on average with this loss, for all lanes.
		reach = min(1, MaxLanes*1.2/math.Sqrt(l.loss)/l.capacity)
	}
	if want := 0.75 * reach * (1 - l.loss); r.share < want {
		t.Errorf("%s: %.2f of the line, want %.2f; %d lanes", name, r.share, want, r.lanes)
	}
	// Reno itself loses that much where so few packets fill the line and its queue.
	thin := l.capacity+l.queue < 300
	if r.loss > 3*l.loss+0.025 && !thin {
		t.Errorf("%s: %.3f lost", name, r.loss)
	}
	if l.loss == 0 && r.lanes > calmLanes {
		t.Errorf("%s: %d lanes", name, r.lanes)
	}
}

// Beside another sender on a line without random loss neither starves.
func TestLaneCountIsFair(t *testing.T) {
	for _, rtt := range []time.Duration{20, 80, 200} {
		for _, queue := range []float64{0.25, 1, 2} {
			for seed := range uint64(5) {
				l := &renoLine{random: rand.New(rand.NewPCG(seed, 2)), rtt: rtt * time.Millisecond, other: 100}
				l.capacity = 100e6 / 8 / 1400 * l.rtt.Seconds()
				l.queue = queue * l.capacity
				r := l.run(2000)
				if r.share < 0.15 || r.others < 0.2 || r.lanes > fairLanes {
					t.Errorf("%v, queue %.2f, seed %d: %.2f and %.2f for the other, %d lanes", l.rtt, queue, seed, r.share, r.others, r.lanes)
				}
			}
		}
	}
}

// What one lane loses while nothing queues is random, though round trips were not
// short when it was lost; and what it loses while packets queue is not.
func TestLaneCountStartsAtFirstLoss(t *testing.T) {
	base := 80 * time.Millisecond
	tests := []struct {
		name   string
		excess time.Duration
		want   int
	}{
		{"no queue", 0, 3},
		{"a queue", base / 4, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			count := &laneCount{}
			sight := laneSight{lanes: 1, busy: 1, rate: 100_000, sent: 100, loss: 0.05, base: base, excess: tt.excess}
			count.want(time.Unix(0, 0), sight)
			sight.loss, sight.excess = 0, 0
			if got := count.want(time.Unix(1, 0), sight); got != tt.want {
				t.Errorf("%d lanes, want %d", got, tt.want)
			}
		})
	}
}

// Lanes stay although the first one lost less than the line does by chance, and go
// where the line loses less with fewer.
func TestLaneCountFindsWhatLoses(t *testing.T) {
	tests := []struct {
		name        string
		loss        func(lanes int) float64
		fill        int // lanes that fill the line
		least, most int // lanes in the end
	}{
		{"the line", func(int) float64 { return 0.05 }, 1000, 90, MaxLanes},
		{"the lanes", func(lanes int) float64 { return 0.01 + 0.05*float64(lanes*lanes)/64/64 }, 20, 20, 60},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			count := &laneCount{}
			lanes, now := 1, time.Unix(0, 0)
			for i := range 200 {
				loss := tt.loss(lanes)
				if i < 10 {
					lanes, loss = 1, 0.01
				}
				now = now.Add(150 * time.Millisecond)
				rate := 100_000 * float64(min(lanes, tt.fill))
				lanes = count.want(now, laneSight{lanes: lanes, busy: 1, rate: rate, sent: 100 * lanes, loss: loss, calm: loss, base: 80 * time.Millisecond})
			}
			if lanes < tt.least || lanes > tt.most {
				t.Errorf("%d lanes in the end, want %d to %d", lanes, tt.least, tt.most)
			}
		})
	}
}

// A link that has nothing to do gives its lanes back.
func TestLaneCountRests(t *testing.T) {
	count := &laneCount{}
	now := time.Unix(0, 0)
	sight := laneSight{lanes: 40, base: 80 * time.Millisecond}
	if got := count.want(now, sight); got != 40 {
		t.Errorf("%d lanes at once", got)
	}
	if got := count.want(now.Add(restAfter), sight); got != 1 {
		t.Errorf("%d lanes after %v", got, restAfter)
	}
}

// Lanes that were blamed for a loss come back as soon as fewer of them carry less.
func TestLaneCountAcquits(t *testing.T) {
	const loss = 0.05
	count := &laneCount{own: 0.01}
	lanes, now, least := 60, time.Unix(0, 0), 60
	for range 60 {
		now = now.Add(150 * time.Millisecond)
		lanes = count.want(now, laneSight{
			lanes: lanes, busy: 1, rate: 100_000 * float64(lanes), sent: 10 * lanes, loss: loss, calm: loss, base: 80 * time.Millisecond,
		})
		least = min(least, lanes)
	}
	if least >= 60 || least < 60/2+5 || lanes < 80 {
		t.Errorf("%d lanes at least, and %d in the end", least, lanes)
	}
}
