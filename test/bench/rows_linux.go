package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"wanrep/replicate/progress"
)

// A scenario is a row of the table: something that happens to a transfer.
type scenario struct {
	name, title string
	uplinks     []string
	// traffic is how long the disks take on a line that is never away.
	traffic time.Duration
	// happen lets it happen, and sets the trial's event and back.
	happen func(context.Context, *trial) error
	goals  []goal
}

// A goal is what the median of a measure must not exceed.
type goal struct {
	text  string
	limit float64
	of    func(measure) float64
}

var (
	one = []string{"fibre"}
	two = []string{"fibre", "lte"}
)

func stall(m measure) float64   { return m.stall }
func revival(m measure) float64 { return m.revival }
func resent(m measure) float64  { return float64(m.resent) }

func stallWithin(s float64) goal {
	return goal{fmt.Sprintf("stall ≤ %g s", s), s, stall}
}

func backWithin(s float64) goal {
	return goal{fmt.Sprintf("goes on ≤ %g s after the return", s), s, revival}
}

var nothingTwice = goal{"nothing sent twice", 0, resent}

// windowTwice is what a reattach may send twice: what was not acknowledged, which the
// target does each second.
var windowTwice = goal{"≤ 1 s of traffic sent twice", lineRate / 8, resent}

var scenarios = []scenario{
	{"planned", "planned migration: back to the preferred uplink", two, 20 * time.Second, returnToPreferred,
		[]goal{stallWithin(0.3), nothingTwice}},
	{"blackhole", "uplink swallows everything, the other is on standby", two, 7 * time.Second, blackhole,
		[]goal{stallWithin(1), nothingTwice}},
	{"linkdown", "uplink down (`ip link set down`)", two, 7 * time.Second, linkDown,
		[]goal{stallWithin(0.3), nothingTwice}},
	{"both10", "both uplinks away for 10 s", two, 7 * time.Second, away(10 * time.Second),
		[]goal{backWithin(1), nothingTwice}},
	{"both40", "both uplinks away for 40 s", two, 7 * time.Second, away(40 * time.Second),
		[]goal{backWithin(1), nothingTwice}},
	{"single10", "the only uplink away for 10 s", one, 7 * time.Second, away(10 * time.Second),
		[]goal{backWithin(1), nothingTwice}},
	{"target", "target killed (`kill -9`), back after 1 s", two, 7 * time.Second, killTarget,
		[]goal{backWithin(1.5), windowTwice}},
	{"source", "source killed (`kill -9`), run again at once", two, 7 * time.Second, killSource,
		[]goal{windowTwice}},
	{"address", "the only uplink gets another address", one, 7 * time.Second, renumber,
		[]goal{stallWithin(1), nothingTwice}},
	{"nat", "a NAT forgets the link: another port", two, 7 * time.Second, rebind,
		[]goal{stallWithin(1), nothingTwice}},
	{"flap", "12 migrations in 12 s: each second the uplink in use goes down", two, 18 * time.Second, flap,
		[]goal{stallWithin(1), nothingTwice}},
}

// active returns the uplink that the link is on.
func (t *trial) active() (*uplink, error) {
	name := path(t.atSource.status())
	for _, u := range t.uplinks {
		if u.name == name {
			return u, nil
		}
	}
	return nil, fmt.Errorf("the link is on no uplink, but on %q", name)
}

// onActive does something to the uplink in use.
func onActive(do func(*uplink) error) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		u, err := t.active()
		if err != nil {
			return err
		}
		t.event = time.Now()
		return do(u)
	}
}

var (
	linkDown = onActive((*uplink).unplug)
	renumber = onActive((*uplink).renumber)

	blackhole = onActive(func(u *uplink) error {
		u.Cut()
		return nil
	})
	rebind = onActive(func(u *uplink) error {
		u.Rebind()
		return nil
	})
)

// away lets all uplinks swallow everything for a time.
func away(d time.Duration) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		t.event = time.Now()
		for _, u := range t.uplinks {
			u.Cut()
		}
		if err := pause(ctx, d); err != nil {
			return err
		}
		t.back = time.Now()
		for _, u := range t.uplinks {
			u.Restore()
		}
		return nil
	}
}

// returnToPreferred makes the link leave the preferred uplink, and waits until it
// goes back by itself. The event is a moment before that.
func returnToPreferred(ctx context.Context, t *trial) error {
	preferred := t.uplinks[0]
	preferred.Cut()
	if err := t.until(ctx, "the link left the uplink", func() bool { return path(t.atSource.status()) == t.uplinks[1].name }); err != nil {
		return err
	}
	preferred.Restore()
	if err := pause(ctx, settled); err != nil {
		return err
	}
	since := time.Now()
	return t.until(ctx, "the link went back", func() bool {
		for _, e := range t.atSource.happened(since) {
			if strings.HasPrefix(e.Text, "migrated") {
				t.event = e.Time.Add(-settled / 4)
			}
		}
		return !t.event.IsZero()
	})
}

func killTarget(ctx context.Context, t *trial) error {
	t.event = time.Now()
	t.serving.kill()
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	err := t.serve(ctx)
	t.back = time.Now()
	return err
}

func killSource(ctx context.Context, t *trial) error {
	// Its numbers are as of the last second, and right only when they are new.
	told := t.atSource.status().Time
	if err := t.until(ctx, "the source told how far it is", func() bool { return t.atSource.status().Time.After(told) }); err != nil {
		return err
	}
	t.event = time.Now()
	t.run.kill()
	var sent int64
	for _, d := range disksOf(t.atSource.status()) {
		sent += d.Offset
	}
	if err := t.startRun(ctx); err != nil {
		return err
	}
	// Where the new run goes on is what its board says first.
	return t.until(ctx, "the new run sends", func() bool {
		s := t.atSource.status()
		if !s.Started.After(t.event) || !allSending(s) {
			return false
		}
		t.lost = max(0, sent-durable(s))
		return true
	})
}

func allSending(s progress.Status) bool {
	disks := disksOf(s)
	waits := func(d progress.Disk) bool { return d.State != progress.Sending }
	return len(disks) > 0 && !slices.ContainsFunc(disks, waits)
}

// flap takes the uplink in use down each second, and brings the other one up.
func flap(ctx context.Context, t *trial) error {
	t.event = time.Now()
	for i := range 12 {
		down, up := t.uplinks[i%2], t.uplinks[1-i%2]
		if err := up.plug(); err != nil {
			return err
		}
		if err := down.unplug(); err != nil {
			return err
		}
		if err := pause(ctx, time.Until(t.event.Add(time.Duration(i+1)*time.Second))); err != nil {
			return err
		}
	}
	t.back = time.Now()
	return nil
}
