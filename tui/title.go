package tui

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"wanrep/replicate/progress"
)

// roomyTitle is from which width on the title says what program this is.
const roomyTitle = 70

// drawTitle writes who this is and how the link is, or that the appliance is gone.
func (m model) drawTitle(c *canvas, r rect) {
	left := r.w
	if m.known() {
		left -= len("15:04:05 UTC") + 2
		c.put(r.x+left+2, r.y, r.w, m.now().UTC().Format("15:04:05 UTC"), of(plain))
	}
	if m.frozen {
		frozen := c.glyphs.parked + " frozen at"
		left -= width(frozen) + 1
		c.put(r.x+left+2, r.y, r.w, frozen, of(warn, bold))
	}
	if m.gone != nil {
		m.drawGone(c, rect{r.x, r.y, left, 1})
		return
	}
	c.line(r.x, r.y, left, m.titleSpans(c, r.w)...)
}

// titleSpans tell in w columns which appliance this is, how its links are, and
// whether its jobs are held.
func (m model) titleSpans(c *canvas, w int) []span {
	st := m.status
	var out []span
	if w >= roomyTitle {
		out = []span{{"wanrep ", of(plain, bold)}, {st.Role + " ", of(faint)}}
	}
	out = append(out, span{st.Name, of(plain, bold)})
	switch links := worstLinks(st.Links); len(links) {
	case 0:
	case 1:
		out = append(out, m.oneLinkSpans(c, links[0])...)
	default:
		out = append(out, span{fmt.Sprintf("  %d links:", len(links)), of(faint)})
		for _, n := range countLinks(links) {
			sign, t := c.link(n.state)
			out = append(out, span{fmt.Sprintf("  %s %d %s", sign, n.count, n.state), of(t)})
		}
	}
	if st.Paused {
		text := "  " + c.glyphs.parked + " paused"
		if !st.PausedSince.IsZero() {
			text += " for " + Duration(m.now().Sub(st.PausedSince))
		}
		return append(out, span{text, of(warn, bold)})
	}
	held := 0
	for _, j := range st.Jobs {
		if j.Paused {
			held++
		}
	}
	if held > 0 {
		out = append(out, span{"  " + c.glyphs.parked + " " + plural(held, "job") + " paused", of(warn, bold)})
	}
	return out
}

// oneLinkSpans tell where an appliance's only link leads and how it is.
func (m model) oneLinkSpans(c *canvas, l progress.Link) []span {
	sign, t := c.link(l.State)
	way := c.glyphs.arrow
	if m.status.Role == "target" {
		way = c.glyphs.back
	}
	out := []span{{" " + way + " ", of(faint)}, {l.Peer, of(plain, bold)}, {"  " + sign + " " + linkWord(l), of(t)}}
	if l.State != progress.LinkUp || m.width < wideWidth {
		return out
	}
	if l.Path != "" {
		out = append(out, span{"  " + l.Path, of(faint)})
	}
	return append(out, span{fmt.Sprintf("  rtt %s  loss %s", roundTrip(l.RTT), Percent(l.Loss)), of(faint)})
}

// linkWord is a link's state in one or two words.
func linkWord(l progress.Link) string {
	if l.State == progress.LinkRedial && l.Attempts > 0 {
		return fmt.Sprintf("redial %d of %d", l.Attempt, l.Attempts)
	}
	return "link " + l.State
}

// A count is how many things are in a state.
type count struct {
	state string
	count int
}

func countLinks(links []progress.Link) []count {
	var out []count
	for _, l := range links {
		out = add(out, l.State)
	}
	return out
}

// add counts one more in state; a state seen for the first time goes last.
func add(counts []count, state string) []count {
	for i := range counts {
		if counts[i].state == state {
			counts[i].count++
			return counts
		}
	}
	return append(counts, count{state, 1})
}

// drawGone says that the appliance does not answer, and why.
func (m model) drawGone(c *canvas, r rect) {
	what := c.glyphs.failed + " no answer from the appliance"
	if m.known() {
		what = c.glyphs.failed + " appliance gone " + Duration(m.clock.Sub(m.goneSince)) + ", old data"
	}
	c.line(r.x, r.y, r.w, span{what, of(bad, bold)}, span{": " + goneReason(m.gone), of(bad)})
}

// goneReason says in a few words why an appliance does not answer: what is left
// of the error without the places it went through.
func goneReason(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// goneHint says what to do about it, if the error knows.
func goneHint(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}

// drawUnknown fills the screen before the first answer.
func (m model) drawUnknown(c *canvas, r rect) {
	y := r.y + r.h/3
	if m.gone == nil {
		c.put(r.x+3, y, r.w-6, "asking the appliance "+c.glyphs.cut, of(faint))
		return
	}
	for _, text := range []string{m.gone.Error(), goneHint(m.gone), "This screen fills by itself as soon as the appliance answers."} {
		for _, line := range wrap(text, r.w-6) {
			c.put(r.x+3, y, r.w-6, line, of(plain))
			y++
		}
		y++
	}
}

// drawSummary writes the second line: the worst lag, how many VMs are in which
// state, and how long all of it takes.
func (m model) drawSummary(c *canvas, r rect) {
	st := m.status
	if len(st.VMs) == 0 {
		return
	}
	now := m.now()
	var counts []count
	eta, unknown, held := -1.0, false, 0
	for _, vm := range sorted(st.VMs, byWorst, false, now) {
		state := unlessHeld(st, vm, vm.State)
		counts = add(counts, state)
		if vm.Held != "" {
			held++
		}
		if t := total(vm); moves(state) {
			unknown = unknown || t.eta < 0
			eta = max(eta, t.eta)
		}
	}
	tail := ""
	if eta >= 0 && !unknown {
		tail = "ETA " + ETA(eta)
	}
	c.right(r.x, r.y, r.w, tail, of(plain))
	left := r.w - width(tail) - 1
	worst := worstOff(st.VMs, now)
	first := []span{{lagOfRPO(worst, now), lagInk(worst, now)}, {" " + vmName(st, worst), of(faint)}}
	if !worst.Newest.IsZero() && r.w >= roomyTitle {
		first = slices.Concat([]span{{"worst lag ", of(faint)}}, first)
	}
	if all := m.theme.protection(st.VMs, now); len(all) > 0 {
		first = slices.Concat(first, []span{{"   ", of(plain)}}, all)
	}
	at := c.line(r.x, r.y, left, first...)
	if text := "   " + c.glyphs.alarm + " " + strconv.Itoa(held) + " held"; held > 0 && width(text) <= left-at {
		at += c.put(r.x+at, r.y, left-at, text, of(warn))
	}
	for _, n := range counts {
		sign, t := c.state(n.state)
		text := fmt.Sprintf("   %s %d %s", sign, n.count, n.state)
		if width(text) > left-at {
			break
		}
		at += c.put(r.x+at, r.y, left-at, text, of(t))
	}
}
