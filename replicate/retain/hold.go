package retain

import (
	"fmt"
	"time"
)

const (
	// clockSlack is how much a clock may be set back in its regular care.
	clockSlack = 5 * time.Minute
	// pauseSlack is how much longer than twice the longest pause before it a pause
	// between points may be: a weekend without a day of two.
	pauseSlack = 24 * time.Hour
)

// hold says why a plan has to wait for a person.
//
// The age of a point is what the clock says, so it protects a point only if the
// clock can be believed. It can't be if a point is from the future, or if within the
// minimum age a point is older than the one before it or came after a pause that is
// longer than twice the longest before, and a day: then the clock was set, or the
// appliance was off, which looks the same. Once the clock has run evenly for the
// minimum age, what it calls older than that is. So the hold ends by itself.
func (r Rules) hold(ds []Decision, now time.Time) string {
	removed, good, goodRemoved := 0, 0, 0
	for _, d := range ds {
		if d.good() {
			good++
		}
		if !d.Keep {
			removed++
		}
		if d.good() && !d.Keep {
			goodRemoved++
		}
	}
	if removed == 0 {
		return ""
	}
	if reason := clock(ds, now, r.MinAge); reason != "" {
		return reason
	}
	switch {
	case 2*removed > len(ds):
		return fmt.Sprintf("%d of %d points would go at once, more than half", removed, len(ds))
	case 2*goodRemoved > good:
		return fmt.Sprintf("%d of %d points that are not damaged would go at once, more than half", goodRemoved, good)
	}
	return ""
}

// clock says why the clock can't be believed.
func clock(points []Decision, now time.Time, window time.Duration) string {
	var before Decision
	var longest time.Duration
	for _, p := range points {
		if p.Time.IsZero() {
			continue
		}
		if p.Time.Sub(now) > clockSlack {
			return fmt.Sprintf("point %s is from the future, %s: the clock went back", p.Name, stamp(p.Time, now))
		}
		if !before.Time.IsZero() {
			recent := now.Sub(p.Time) < window
			pause := p.Time.Sub(before.Time)
			if recent && pause < -clockSlack {
				return fmt.Sprintf("point %s is older than point %s, which was committed before it: the clock went back", p.Name, before.Name)
			}
			if recent && pause > 2*longest+pauseSlack {
				return fmt.Sprintf("%s passed between points %s and %s, and never more than %s before: the clock may have gone ahead",
					rounded(pause), before.Name, p.Name, rounded(longest))
			}
			longest = max(longest, pause)
		}
		before = p
	}
	if pause := now.Sub(before.Time); window > 0 && !before.Time.IsZero() && pause > 2*longest+pauseSlack {
		return fmt.Sprintf("%s passed since point %s, the newest, and never more than %s before: the clock may have gone ahead",
			rounded(pause), before.Name, rounded(longest))
	}
	return ""
}

func stamp(t, now time.Time) string { return t.In(now.Location()).Format("2006-01-02 15:04 MST") }

// rounded returns how long that is, to the day or the minute.
func rounded(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return Words(d.Round(day))
	}
	return d.Round(time.Minute).String()
}
