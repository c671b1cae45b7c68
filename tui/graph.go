package tui

import (
	"math"
	"strings"
	"time"

	"wanrep/replicate/progress"
)

// spans are the times that the graph may reach back; the longest is what a
// status carries. A run that has just begun gets a short one.
var spans = []struct {
	seconds int64
	label   string
}{{60, "1 min ago"}, {120, "2 min ago"}, {300, "5 min ago"}}

// drawGraph draws the rates of the last minutes, or of the whole run: what is on
// the wire as a solid area, what it carries of the disks shaded above. Its lower
// edge tells what keeps them from being higher.
func (m model) drawGraph(c *canvas, r rect) {
	samples := m.status.Samples
	title := "throughput"
	if n := len(samples); n > 0 {
		last := samples[n-1]
		title = "wire " + Rate(last.Wire)
		if long := title + ", disk " + RateBytes(last.Data); width(long) < r.w-8 {
			title = long
		}
	}
	in := c.box(r, title, limitedBy(m.status), m.focus == paneGraph)
	if in.h < 2 || in.w < 24 {
		return
	}
	const axis = 8
	area := rect{in.x + axis + 1, in.y, in.w - axis - 2, in.h - 1}
	columns, reach := m.reach(area.w)
	top := 0.0
	for _, s := range columns {
		top = max(top, positive(s.Wire), positive(s.Data))
	}
	if top == 0 {
		why := "nothing was sent"
		if up := m.status.Time.Sub(m.status.Started); len(samples) == 0 && !m.status.Started.IsZero() && up > time.Minute {
			why = "a peer does not tell its rates"
		}
		c.put(area.x, area.y+area.h/2, area.w, why, of(faint))
		c.put(area.x, area.y+area.h, area.w, reach, of(faint))
		c.right(area.x, area.y+area.h, area.w, "now", of(faint))
		return
	}
	top = roundUp(top)
	c.right(in.x, area.y, axis, axisLabel(top), of(faint))
	if area.h >= 5 {
		c.right(in.x, area.y+area.h/2, axis, axisLabel(top/2), of(faint))
	}
	c.right(in.x, area.y+area.h-1, axis, "0", of(faint))
	for i, s := range columns {
		drawColumn(c, area.x+area.w-len(columns)+i, area.y, area.h, positive(s.Wire)/top, positive(s.Data)/top)
	}
	c.put(area.x, area.y+area.h, area.w, reach, of(faint))
	shade := c.glyphs.shade
	if c.colored() {
		shade = c.glyphs.levels[len(c.glyphs.levels)-1]
	}
	legend := []span{{c.glyphs.levels[len(c.glyphs.levels)-1], of(moving)}, {" wire  ", of(faint)}, {shade, of(over)}, {" disk", of(faint)}}
	if area.w >= 44 && width(reach)+2 < area.w/2-9 {
		c.line(area.x+area.w/2-9, area.y+area.h, 20, legend...)
	}
	c.right(area.x, area.y+area.h, area.w, "now", of(faint))
}

// reach returns the rates to draw in at most w columns, and how far back they go.
func (m model) reach(w int) (columns []progress.Sample, label string) {
	if m.wholeRun {
		h := m.status.History
		if h.Begun.IsZero() {
			return nil, "no run yet"
		}
		return stretch(h.Samples, w), "whole run, began " + Ago(h.Begun, m.status.Time)
	}
	samples, span := m.status.Samples, spans[0]
	for _, longer := range spans[1:] {
		if int64(len(samples)) > span.seconds {
			span = longer
		}
	}
	return buckets(samples, m.status.Time.Unix(), span.seconds, w), span.label
}

// stretch fits samples into w columns: means where there are more, and each over
// several columns where there are fewer.
func stretch(samples []progress.Sample, w int) []progress.Sample {
	if w <= 0 || len(samples) == 0 {
		return nil
	}
	out := make([]progress.Sample, w)
	for i := range out {
		from := i * len(samples) / w
		out[i] = mean(samples[from:max((i+1)*len(samples)/w, from+1)])
	}
	return out
}

// mean averages samples; what is no number in them is 0.
func mean(samples []progress.Sample) (m progress.Sample) {
	for i, s := range samples {
		n := float64(i + 1)
		m.Wire += (positive(s.Wire) - m.Wire) / n
		m.Data += (positive(s.Data) - m.Data) / n
	}
	return m
}

// buckets averages samples, one a second and the newest at the second now, to at
// most w columns for so many seconds. A column always covers the same seconds as
// time goes on, so that the graph moves and does not flicker.
func buckets(samples []progress.Sample, now, seconds int64, w int) []progress.Sample {
	if w <= 0 || len(samples) == 0 {
		return nil
	}
	width, oldest := int64(w), now-int64(len(samples))+1
	newest := ((now+1)*width - 1) / seconds
	var out []progress.Sample
	for column := newest - width + 1; column <= newest; column++ {
		from := max(column*seconds/width, oldest)
		to := min(max((column+1)*seconds/width, column*seconds/width+1), now+1)
		if to <= oldest {
			continue
		}
		out = append(out, mean(samples[from-oldest:to-oldest]))
	}
	return out
}

// axisLabel prints a rate without a needless ".0".
func axisLabel(v float64) string { return strings.Replace(RateBytes(v), ".0 ", " ", 1) }

// roundUp returns the next round number at or above v; at least 1000, so that
// an idle line does not look busy.
func roundUp(v float64) float64 {
	if !(v > 1000) || math.IsInf(v, 0) {
		return 1000
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 1.5, 2, 3, 4, 5, 6, 8} {
		if v <= step*unit {
			return step * unit
		}
	}
	return 10 * unit
}

// drawColumn draws one moment, h cells high; wire and data are shares of it.
func drawColumn(c *canvas, x, y, h int, wire, data float64) {
	steps := len(c.glyphs.levels)
	wireAt := int(math.Round(clampShare(wire) * float64(h*steps)))
	dataAt := int(math.Round(clampShare(data) * float64(h*steps)))
	if wire > 0 && wireAt == 0 {
		wireAt = 1 // a trickle is not nothing
	}
	for i := range h {
		level := min(steps, wireAt-i*steps)
		more := dataAt - i*steps
		switch cellY := y + h - 1 - i; {
		case level > 0 && level < steps && more >= steps && c.colored():
			c.put(x, cellY, 1, c.glyphs.levels[level-1], of(wireOnData))
		case level > 0:
			c.put(x, cellY, 1, c.glyphs.levels[level-1], of(moving))
		case more > 0 && c.colored():
			c.put(x, cellY, 1, c.glyphs.levels[min(more, steps)-1], of(over))
		case more > steps/2:
			c.put(x, cellY, 1, c.glyphs.shade, of(over))
		}
	}
}
