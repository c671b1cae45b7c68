// Package retain decides which restore points of a VM stay. It is pure: it is given
// the points, the rules and the time, and says of each point whether it stays and
// why. It removes nothing, and knows neither the store nor a clock.
//
// The decision is the target's alone, and made so that neither a source nor a clock
// can turn it against the points: points count in the order in which they were
// committed, whatever their times say; nothing younger than the minimum age goes; a
// point that is damaged counts for none that is kept; and a plan is held where the clock
// can't be believed or most points, or most of the good ones, would go at once.
// Start with [Rules.Plan].
package retain

import (
	"fmt"
	"time"
)

// Rules say which points stay. A point stays if any rule keeps it. Where Last,
// Daily, Weekly and Monthly are all 0, every point stays.
type Rules struct {
	// Last is how many of the newest points stay.
	Last int
	// Daily, Weekly and Monthly are of how many days, ISO weeks and months that have
	// points the newest one stays. The calendar is that of the time zone of "now".
	Daily, Weekly, Monthly int
	// MinAge is the age below which no point goes.
	MinAge time.Duration
}

// KeepAll reports whether the rules keep every point.
func (r Rules) KeepAll() bool { return r.Last <= 0 && r.Daily <= 0 && r.Weekly <= 0 && r.Monthly <= 0 }

// A Point is a committed point of one VM.
type Point struct {
	Name string
	Time time.Time // of its commit, by the target's clock; zero if that is not known
	// Damaged says what is known to be damaged of the point; empty if nothing is. It
	// takes no place of a rule, so that it pushes no good point out, and stays until as
	// many good ones are newer as the rules ask for: it may be healed before.
	Damaged string
	// Lost tells that it can't be read at all. It stays: what becomes of it is for a
	// person to say.
	Lost bool
	// Pinned is why the point can't go now, as the store knows it. Empty if it can.
	Pinned string
}

func (p Point) good() bool { return p.Damaged == "" && !p.Lost }

// damage is why a point that is not good stays.
func (p Point) damage() string {
	if p.Damaged == "" {
		return "damaged"
	}
	return "damaged: " + p.Damaged
}

// A Decision is what becomes of one point.
type Decision struct {
	Point
	Age  time.Duration
	Keep bool
	// Reasons are why it stays, one for each rule that keeps it, or the one why it
	// goes.
	Reasons []string
}

// A Plan is what becomes of the points of a VM.
type Plan struct {
	Decisions []Decision // in the order of the points
	// Held is why the plan must not be carried out without a person who has seen it.
	// Empty if it may, and if there is nothing to carry out.
	Held string
}

// Remove returns the names of the points that go, the oldest first.
func (p Plan) Remove() (names []string) {
	for _, d := range p.Decisions {
		if !d.Keep {
			names = append(names, d.Name)
		}
	}
	return names
}

// Plan decides about all points of one VM, given in the order of their commits.
func (r Rules) Plan(points []Point, now time.Time) Plan {
	p := Plan{Decisions: make([]Decision, len(points))}
	for i, point := range points {
		p.Decisions[i] = Decision{Point: point, Age: now.Sub(point.Time)}
	}
	r.count(p.Decisions, now.Location())
	for i := range p.Decisions {
		r.decide(&p.Decisions[i])
	}
	p.Held = r.hold(p.Decisions, now)
	return p
}

// count lets the rules that count choose their points, from the newest down.
func (r Rules) count(ds []Decision, zone *time.Location) {
	calendars := []calendar{
		{name: "daily", left: r.Daily, of: func(t time.Time) string { return t.Format(time.DateOnly) }},
		{name: "weekly", left: r.Weekly, of: isoWeek},
		{name: "monthly", left: r.Monthly, of: func(t time.Time) string { return t.Format("2006-01") }},
	}
	nth := 0
	for i := len(ds) - 1; i >= 0; i-- {
		d := &ds[i]
		if !d.good() {
			wanted := nth < r.Last
			for c := range calendars {
				wanted = wanted || calendars[c].wants(d.Time.In(zone))
			}
			if wanted || d.Lost {
				d.Reasons = append(d.Reasons, d.damage())
			}
			continue
		}
		if nth++; nth <= r.Last {
			d.Reasons = append(d.Reasons, fmt.Sprintf("last %d of %d", nth, r.Last))
		}
		for c := range calendars {
			if reason := calendars[c].take(d.Time.In(zone)); reason != "" {
				d.Reasons = append(d.Reasons, reason)
			}
		}
		if nth == 1 && len(d.Reasons) == 0 {
			d.Reasons = append(d.Reasons, "newest")
		}
	}
}

// A calendar keeps one point in each of its last periods.
type calendar struct {
	name string
	left int // periods that still get a point
	of   func(time.Time) string
	seen map[string]bool
}

// wants reports whether a point of that time would stay.
func (c *calendar) wants(t time.Time) bool { return c.left > 0 && !c.seen[c.of(t)] }

// take returns why a point stays, or "": the first one that is seen of a period is
// its newest.
func (c *calendar) take(t time.Time) string {
	if !c.wants(t) {
		return ""
	}
	if c.seen == nil {
		c.seen = map[string]bool{}
	}
	period := c.of(t)
	c.seen[period] = true
	c.left--
	return c.name + " " + period
}

func isoWeek(t time.Time) string {
	year, week := t.ISOWeek()
	return fmt.Sprintf("%d-W%02d", year, week)
}

// decide says what becomes of a point, once the rules that count have chosen.
func (r Rules) decide(d *Decision) {
	if d.Age < r.MinAge {
		d.Reasons = append(d.Reasons, "younger than "+Words(r.MinAge))
	}
	if len(d.Reasons) == 0 && r.KeepAll() {
		d.Reasons = append(d.Reasons, "every point is kept")
	}
	if len(d.Reasons) == 0 && d.Pinned != "" {
		d.Reasons = append(d.Reasons, d.Pinned)
	}
	if d.Keep = len(d.Reasons) > 0; d.Keep {
		return
	}
	d.Reasons = []string{"beyond " + r.String()}
	if !d.good() {
		d.Reasons = append(d.Reasons, d.damage())
	}
}

// String returns the rules that count, as in "last 7, daily 30".
func (r Rules) String() string {
	s := ""
	for _, rule := range []struct {
		name string
		n    int
	}{{"last", r.Last}, {"daily", r.Daily}, {"weekly", r.Weekly}, {"monthly", r.Monthly}} {
		if rule.n <= 0 {
			continue
		}
		if s != "" {
			s += ", "
		}
		s += fmt.Sprintf("%s %d", rule.name, rule.n)
	}
	return s
}

// Words returns a duration in words of the largest units, as in "7 days" or "36h0m0s".
func Words(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == day:
		return "1 day"
	case d > 0 && d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	}
	return d.String()
}
