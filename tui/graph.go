package tui

import (
	"math"
	"strings"

	"wanrep/replicate/progress"
)

// graphSeconds is how far back the graph reaches; the status carries as much.
const graphSeconds = 300

// drawGraph draws the rates of the last five minutes: what is on the wire as a
// solid area, what it carries of the disks shaded above.
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
	in := c.box(r, title, nil, m.focus == paneGraph)
	if in.h < 2 || in.w < 24 {
		return
	}
	const axis = 8
	area := rect{in.x + axis + 1, in.y, in.w - axis - 2, in.h - 1}
	columns := buckets(samples, m.status.Time.Unix(), area.w)
	top := 0.0
	for _, s := range columns {
		top = max(top, positive(s.Wire), positive(s.Data))
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
	c.put(area.x, area.y+area.h, area.w, "5 min ago", of(faint))
	shade := c.glyphs.shade
	if c.colored() {
		shade = c.glyphs.levels[len(c.glyphs.levels)-1]
	}
	legend := []span{{c.glyphs.levels[len(c.glyphs.levels)-1], of(moving)}, {" wire  ", of(faint)}, {shade, of(over)}, {" disk", of(faint)}}
	if area.w >= 44 {
		c.line(area.x+area.w/2-9, area.y+area.h, 20, legend...)
	}
	c.right(area.x, area.y+area.h, area.w, "now", of(faint))
}

// buckets averages samples, one a second and the newest at the second now, to at
// most w columns. A sample stays in its bucket as time goes on, so that the
// graph moves and does not flicker.
func buckets(samples []progress.Sample, now int64, w int) []progress.Sample {
	samples = samples[max(0, len(samples)-graphSeconds):]
	w = min(w, graphSeconds)
	var out []progress.Sample
	var n float64
	open := int64(math.MinInt64)
	for i, s := range samples {
		second := now - int64(len(samples)-1-i)
		if b := second * int64(w) / graphSeconds; b != open {
			out, open, n = append(out, progress.Sample{}), b, 0
		}
		n++
		o := &out[len(out)-1]
		o.Wire += (positive(s.Wire) - o.Wire) / n
		o.Data += (positive(s.Data) - o.Data) / n
	}
	return out[max(0, len(out)-w):]
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
