package tui

import (
	"fmt"
	"math"
	"strings"

	"wanrep/replicate/progress"
)

// A stage is a step on the way of a block.
type stage struct {
	name string
	busy float64 // share of the last seconds
}

// stages returns the steps that an appliance knows of: a target only writes.
func stages(st progress.Status) []stage {
	p := st.Pipeline
	if st.Role == "target" {
		return []stage{{"write", p.Write}}
	}
	return []stage{{"read", p.Read}, {"digest", p.Digest}, {"compress", p.Compress}, {"network", p.Network}}
}

// limits says in words what a transfer waits for, and which stage that is.
func limits(st progress.Status) (text, stage string) {
	switch limit := st.Pipeline.Limit; limit {
	case progress.LimitNone:
		return "", ""
	case progress.LimitRead:
		return "the source's disk (read)", "read"
	case progress.LimitDigest, progress.LimitCompress:
		return "the source's processor (" + limit + ")", limit
	case progress.LimitNetwork:
		if rate := lineRate(st); rate > 0 {
			return "the line (" + aboutBits(rate) + ")", "network"
		}
		return "the network", "network"
	case progress.LimitLoss:
		return "the line (loss " + Percent(worstLoss(st)) + ")", "network"
	case progress.LimitReceiver:
		return "the target (takes no more)", "network"
	case progress.LimitThrottle:
		if st.MaxRate > 0 {
			return "the rate limit, " + strings.Replace(rateBits(float64(st.MaxRate)), ".0 ", " ", 1), "network"
		}
		return "the rate limit", "network"
	case progress.LimitWrite:
		return "the target's disk (write)", "write"
	default:
		return limit, limit
	}
}

// lineRate is what the only line there is was seen to carry, in bytes a second, if
// about as much goes over it now; else 0. What it was seen to carry while something
// held it up, and it carries more now, says nothing of the line.
func lineRate(st progress.Status) float64 {
	if len(st.Links) != 1 || st.Links[0].State != progress.LinkUp {
		return 0
	}
	const seconds, near, beyond = 5, 0.8, 1.25
	rate := st.Links[0].LineRate
	if now := mean(st.Samples[max(0, len(st.Samples)-seconds):]).Wire; now < near*rate || now > beyond*rate {
		return 0
	}
	return rate
}

// worstLoss is the share of packets that the worst line loses.
func worstLoss(st progress.Status) float64 {
	worst := 0.0
	for _, l := range st.Links {
		if l.State == progress.LinkUp {
			worst = max(worst, l.Loss)
		}
	}
	return worst
}

// limitedBy is what a transfer waits for as spans; empty while nothing is sent.
func limitedBy(st progress.Status) []span {
	text, _ := limits(st)
	if text == "" {
		return nil
	}
	return []span{{"limited by: ", of(faint)}, {text, of(plain, bold)}}
}

// pipelineLines is how many lines the pane wants.
func (m model) pipelineLines() int {
	n := len(stages(m.status))
	if tellsRate(m.status) {
		n++
	}
	if m.status.Role == "target" {
		n += len(storeFacts(m.status))
	}
	if limitedBy(m.status) != nil || m.status.Role != "target" {
		n++
	}
	return n
}

// tellsRate reports whether the rate limit is worth a line: it is there, and what a
// transfer waits for does not name it already.
func tellsRate(st progress.Status) bool {
	return st.MaxRate > 0 && st.Pipeline.Limit != progress.LimitThrottle
}

// drawPipeline draws how busy each stage was, and what the others wait for.
func (m model) drawPipeline(c *canvas, r rect) {
	title := "pipeline"
	if m.status.Role == "target" {
		title = "store"
	}
	in := c.box(r, title, nil, m.focus == panePipeline)
	in = rect{in.x + 1, in.y, in.w - 2, in.h}
	limited := limitedBy(m.status)
	if limited == nil && m.status.Role != "target" {
		limited = []span{{"nothing is on its way", of(faint)}}
	}
	if in.h < m.pipelineLines() && !m.zoomed {
		m.drawShortPipeline(c, in, limited)
		return
	}
	y := in.y
	if m.status.Role == "target" {
		for _, f := range storeFacts(m.status) {
			c.line(in.x, y, in.w, span{fit(f.label, 10, ""), of(faint)}, span{f.value, f.ink})
			y++
		}
	}
	_, slow := limits(m.status)
	for _, s := range stages(m.status) {
		drawStage(c, rect{in.x, y, in.w, 1}, s, s.name == slow)
		y++
	}
	if limited != nil {
		c.line(in.x, y, in.w, limited...)
		y++
	}
	if tellsRate(m.status) {
		c.line(in.x, y, in.w, span{"rate limit ", of(faint)}, span{Rate(float64(m.status.MaxRate)), of(plain)})
	}
}

// drawStage draws one stage's name, bar and share.
func drawStage(c *canvas, r rect, s stage, slow bool) {
	const name, percent, mark = 10, 5, 2
	tone, weight := moving, ink(0)
	if slow {
		tone, weight = warn, bold
	}
	c.put(r.x, r.y, name, s.name, of(plain, weight))
	bar := max(0, min(r.w-name-percent-mark-1, 40))
	if slow {
		c.put(r.x+name+bar+1+percent+1, r.y, 1, c.glyphs.alarm, of(warn, bold))
	}
	drawBar(c, r.x+name, r.y, bar, s.busy, s.busy, tone)
	c.right(r.x+name+bar+1, r.y, percent, busyText(s.busy), of(plain, weight))
}

// busyText prints a share in whole percents.
func busyText(share float64) string { return fmt.Sprintf("%.0f %%", math.Round(clampShare(share)*100)) }

// drawShortPipeline is for little room: what the others wait for, then the shares
// in a row.
func (m model) drawShortPipeline(c *canvas, r rect, limited []span) {
	at := r.y
	if limited != nil {
		c.line(r.x, at, r.w, limited...)
		at++
	}
	var all []pair
	for _, s := range stages(m.status) {
		all = append(all, pair{s.name, busyText(s.busy)})
	}
	if m.status.Role == "target" {
		for _, f := range storeFacts(m.status) {
			all = append(all, pair{f.label, f.value})
		}
	}
	for _, line := range flow(r.w, all...) {
		if at < r.y+r.h {
			c.line(r.x, at, r.w, line...)
			at++
		}
	}
}

// storeFacts are what is known of a target's store.
func storeFacts(st progress.Status) []fact {
	s := st.Store
	if s.Path == "" {
		return nil
	}
	facts := []fact{{"store", s.Path, of(plain)}}
	if s.Total > 0 {
		used := share(s.Total-s.Free, s.Total)
		room := fact{"free", fmt.Sprintf("%s of %s, %s used", Bytes(s.Free), Bytes(s.Total), busyText(used)), of(plain)}
		if used > fullStore {
			room.ink = of(warn, bold)
		}
		facts = append(facts, room)
	}
	points := fact{"points", fmt.Sprint(s.Points), of(plain)}
	if !s.Oldest.IsZero() {
		points.value += ", the oldest " + age(s.Oldest, st.Time) + " old"
	}
	return append(facts, points)
}

// fullStore is from which share of a store in use on its room is a warning.
const fullStore = 0.9
