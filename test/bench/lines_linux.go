package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wanrep/test/wanlink"
)

// A route is a line of the table, with the share of BBR's goodput that wanrep has to
// reach on it, 0 if none is set.
type route struct {
	name, title string
	line        wanlink.Line
	goal        float64
}

const (
	ms   = time.Millisecond
	mbit = 1_000_000
)

// both makes a line that is the same in both directions.
func both(s wanlink.Shape) wanlink.Line { return wanlink.Line{Forth: s, Back: s} }

var routes = slices.Concat(
	[]route{
		{"lan", "1 Gbit/s, 1 ms", both(wanlink.Shape{Rate: 1000 * mbit, Delay: ms / 2}), 0.9},
		{"metro", "500 Mbit/s, 10 ms", both(wanlink.Shape{Rate: 500 * mbit, Delay: 5 * ms}), 0},
		{"wan-fast", "500 Mbit/s, 40 ms", both(wanlink.Shape{Rate: 500 * mbit, Delay: 20 * ms}), 0.95},
		{"wan-clean", "200 Mbit/s, 80 ms", both(wanlink.Shape{Rate: 200 * mbit, Delay: 40 * ms}), 1},
	},
	lossy(0, 0.95, 0.1, 1, 0.5, 1.05, 1, 1.1, 2, 1.1, 5, 1.1),
	[]route{
		{"wan-bad", "50 Mbit/s, 150 ms, 2 % lost and bursts", both(wanlink.Shape{
			Rate: 50 * mbit, Delay: 75 * ms, Loss: 0.02, Burst: wanlink.Burst{Enter: 0.0002, Leave: 0.1, Loss: 0.8}}), 1.1},
		{"lte", "30 Mbit/s, 10 back, 60 ± 20 ms, 0.5 % lost, 1 % overtaken", wanlink.Line{Forth: radio(30), Back: radio(10)}, 0.95},
		{"satellite", "20 Mbit/s, 600 ms, 0.1 % lost", both(wanlink.Shape{Rate: 20 * mbit, Delay: 300 * ms, Loss: 0.001}), 0},
	})

// lossy makes the lines that differ only in what they lose, of percentages and goals.
func lossy(pairs ...float64) (all []route) {
	for pair := range slices.Chunk(pairs, 2) {
		all = append(all, route{
			name: fmt.Sprintf("wan-lossy-%g", pair[0]), title: fmt.Sprintf("100 Mbit/s, 80 ms, %g %% lost", pair[0]),
			line: both(wanlink.Shape{Rate: 100 * mbit, Delay: 40 * ms, Loss: pair[0] / 100}), goal: pair[1],
		})
	}
	return all
}

// radio is one direction of a mobile network.
func radio(rate int64) wanlink.Shape {
	return wanlink.Shape{Rate: rate * mbit, Delay: 30 * ms, Jitter: 10 * ms, Loss: 0.005, Held: 0.01, HeldFor: 5 * ms}
}

// chooseRoutes returns the lines of a list: names, or what several names begin with
// before a dash.
func chooseRoutes(list string) (chosen []route, err error) {
	for name := range strings.SplitSeq(list, ",") {
		before := len(chosen)
		for _, r := range routes {
			if name == "all" || r.name == name || strings.HasPrefix(r.name, name+"-") {
				chosen = append(chosen, r)
			}
		}
		if len(chosen) == before {
			var all []string
			for _, r := range routes {
				all = append(all, r.name)
			}
			return nil, fmt.Errorf("there is no line %q; the lines are %s", name, strings.Join(all, ", "))
		}
	}
	return chosen, nil
}

// roundTrip is the time to the other end and back.
func (r route) roundTrip() time.Duration { return r.line.Forth.Delay + r.line.Back.Delay }

// busy is for how long a transfer should use the line, so that its start is not all
// that is measured.
func (r route) busy() time.Duration { return max(5*time.Second, 25*r.roundTrip()) }

// mostContent bounds what a transfer carries, in bytes: it is kept in memory, more
// than once.
const mostContent = 400 << 20

// content is how many bytes a transfer carries by default.
func (r route) content() int64 {
	return min(mostContent, int64(r.busy().Seconds()*float64(r.line.Forth.Rate)/8)) >> 20 << 20
}
