package tui

import (
	"fmt"
	"slices"
	"strings"

	"wanrep/replicate/progress"
)

// newestFirst returns the events, the newest first.
func newestFirst(events []progress.Event) []progress.Event {
	out := slices.Clone(events)
	slices.Reverse(out)
	slices.SortStableFunc(out, func(a, b progress.Event) int { return b.Time.Compare(a.Time) })
	return out
}

// roomy is from how many lines on the pane shows events in full.
const roomy = 6

// drawEvents draws the events, in one line each where there is little room.
func (m model) drawEvents(c *canvas, r rect) {
	events := newestFirst(m.status.Events)
	skip := max(0, min(m.scroll, len(events)-1))
	title := "events, newest first"
	if skip > 0 {
		title += fmt.Sprintf(", from %d of %d", skip+1, len(events))
	}
	in := c.box(r, title, nil, m.focus == paneEvents)
	if len(events) == 0 {
		c.put(in.x+1, in.y, in.w-2, "none yet", of(faint))
		return
	}
	y := in.y
	for _, e := range events[skip:] {
		if y >= in.y+in.h {
			break
		}
		sign, t := c.level(e.Level)
		text := []string{eventText(e, len(m.status.Links) > 1)}
		at := c.line(in.x+1, y, in.w-2, span{e.Time.UTC().Format("15:04:05"), of(faint)}, span{" " + sign + " ", of(t)})
		if in.h >= roomy {
			text = wrap(text[0], in.w-2-at)
		}
		for _, line := range text {
			if y < in.y+in.h {
				c.put(in.x+1+at, y, in.w-2-at, line, of(t))
				y++
			}
		}
	}
}

// eventText is an event with what it is about in front, where the text does not
// say so itself; of which peer, only where there are several.
func eventText(e progress.Event, peers bool) string {
	names := []string{e.VM, e.Disk}
	if peers {
		names = []string{e.Peer, e.VM, e.Disk}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" || strings.Contains(e.Text, n) })
	text := e.Text
	if len(names) > 0 {
		text = strings.Join(names, "/") + ": " + text
	}
	if e.Level == progress.Error {
		text = "error: " + text
	}
	return text
}

// drawScript draws the steps of a program that shows something.
func (m model) drawScript(c *canvas, r rect) {
	in := c.box(r, "script", nil, m.focus == paneScript)
	first := 0
	for i, l := range m.lines {
		// The step under way stays in sight.
		if l.State != Pending {
			first = max(0, min(i-in.h+2, len(m.lines)-in.h))
		}
	}
	for i := range min(in.h, len(m.lines)-first) {
		l := m.lines[first+i]
		sign, t := c.glyphs.idle, faint
		switch l.State {
		case Running:
			sign, t = c.glyphs.out, moving
		case Done:
			sign, t = c.glyphs.ok, good
		case Failed:
			sign, t = c.glyphs.failed, bad
		}
		text := of(plain)
		if l.State == Pending {
			text = of(faint)
		}
		c.line(in.x+1, in.y+i, in.w-2, span{sign + " ", of(t, bold)}, span{fit(l.State, 8, ""), of(t)}, span{l.Text, text})
	}
}
