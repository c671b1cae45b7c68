package tui

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wanrep/replicate/progress"
)

// linkLines is how many lines of w columns the link pane wants.
func (m model) linkLines(w int) int {
	return max(2, len(m.linkScreen(newCanvas(m.theme, 1, 1), m.status.Links, w, 0)))
}

// drawLinks draws the one link there is in full, or a line for each of several.
func (m model) drawLinks(c *canvas, r rect) {
	links := worstLinks(m.status.Links)
	title := "link"
	switch {
	case len(links) == 1:
		title += " to " + links[0].Peer
	case len(links) > 1:
		title = fmt.Sprintf("links %d, worst first", len(links))
	}
	var note []span
	if m.width < graphWidth && !m.zoomed {
		note = limitedBy(m.status) // which stands below the graph where there is one
	}
	if len(links) > 0 && note == nil {
		note = helps(m.status, links[0])
	}
	in := c.box(r, title, note, m.focus == paneLink)
	if len(links) == 0 {
		for i, l := range wrap("No peer yet. Pair one: wanrep pair offer at the target, wanrep pair join at the source.", in.w-2) {
			if i < in.h {
				c.put(in.x+1, in.y+i, in.w-2, l, of(plain))
			}
		}
		return
	}
	for i, line := range m.linkScreen(c, links, in.w-2, in.h) {
		if i < in.h {
			c.line(in.x+1, in.y+i, in.w-2, line...)
		}
	}
}

// linkScreen is one link in full. Several are a line each, and in full where the
// pane has the screen and all of them fit.
func (m model) linkScreen(c *canvas, links []progress.Link, w, h int) [][]span {
	if len(links) == 1 {
		return m.oneLink(c, links[0], w)
	}
	var short, full [][]span
	for _, l := range links {
		short = append(short, m.linkLine(c, l))
		full = append(full, []span{{l.Peer, of(plain, bold)}})
		full = append(full, m.oneLink(c, l, w)...)
		full = append(full, nil)
	}
	if m.zoomed && len(full) <= h {
		return full
	}
	return short
}

// linkLine is a link in one line.
func (m model) linkLine(c *canvas, l progress.Link) []span {
	sign, t := c.link(l.State)
	out := []span{{sign + " ", of(t)}, {l.Peer + "  ", of(plain, bold)}}
	switch l.State {
	case progress.LinkUp:
		out = append(out, span{l.State, of(t)}, span{fmt.Sprintf("  %s  rtt %s  loss %s", l.Path, roundTrip(l.RTT), Percent(l.Loss)), of(plain)})
		for _, p := range capacity(l) {
			out = append(out, span{"  " + p.label + " " + p.value, of(plain)})
		}
		return out
	case progress.LinkRedial:
		return append(out, span{linkWord(l), of(t)}, span{m.nextDial(l), of(plain)})
	}
	return append(out, span{l.State, of(t)}, span{"  " + l.Because, of(plain)})
}

// nextDial says when the next attempt is made.
func (m model) nextDial(l progress.Link) string {
	if wait := l.NextDial.Sub(m.now()); wait > 0 {
		return ", next in " + Duration(wait)
	}
	return ", dialing now"
}

// oneLink is a link in full in lines of w columns, the most important first.
func (m model) oneLink(c *canvas, l progress.Link, w int) [][]span {
	now := m.now()
	sign, t := c.link(l.State)
	state := []span{{sign + " " + l.State, of(t, bold)}}
	if l.State == progress.LinkRedial {
		state = []span{{sign + " " + linkWord(l), of(t, bold)}, {m.nextDial(l), of(plain)}}
	} else if !l.Since.IsZero() {
		state = append(state, span{" for " + since(l.Since, now), of(plain)})
	}
	out := [][]span{state}
	if l.State == progress.LinkUp {
		out = append(out, flow(w, append([]pair{{"rtt", roundTrip(l.RTT)}, {"loss", Percent(l.Loss)}}, capacity(l)...)...)...)
	} else if step := ladder(c, l, w); step != nil {
		out = append(out, step)
	}
	if why := reasons(l, now); why != "" {
		lines := wrap(why, w)
		for _, line := range lines[:min(len(lines), 2)] {
			out = append(out, []span{{line, of(plain)}})
		}
	}
	out = append(out, uplinkLines(c, l.Uplinks, w)...)
	switch {
	case l.Path != "" && l.State == progress.LinkUp:
		out = append(out, []span{{"path ", of(faint)}, {l.Path, of(plain)}, {" " + c.glyphs.arrow + " ", of(faint)}, {l.Remote, of(plain)}})
	case l.Path == "" && l.Remote != "":
		out = append(out, []span{{"from ", of(faint)}, {l.Remote, of(plain)}})
	}
	return append(out, flow(w, append(congestion(l), history(l)...)...)...)
}

// capacity is over how many connections a link that is up sends, and what the line
// was seen to carry.
func capacity(l progress.Link) []pair {
	var out []pair
	if l.Lanes > 0 {
		out = append(out, pair{"connections", fmt.Sprint(l.Lanes)})
	}
	if l.LineRate > 0 {
		out = append(out, pair{"line", aboutBits(l.LineRate)})
	}
	return out
}

// congestion is what waits on the way of a link that is up, and how much may be
// under way; of one that is not, how much had to be sent again.
func congestion(l progress.Link) []pair {
	switch {
	case l.State != progress.LinkUp && l.RepairOverhead > 0:
		return []pair{{"sent again", Percent(l.RepairOverhead)}}
	case l.State != progress.LinkUp:
		return nil
	}
	out := []pair{{"queue", roundTrip(l.Queue)}}
	if l.Window > 0 {
		out = append(out, pair{"window", Bytes(l.Window)})
	}
	return out
}

// history counts what happened to a link over the run.
func history(l progress.Link) []pair {
	return []pair{
		{"migrated", fmt.Sprint(l.Migrations)}, {"reattached", fmt.Sprint(l.Reattaches)},
		{"redials", fmt.Sprint(l.Redials)}, {"longest stall", Seconds(l.LongestStall)},
		{"TLS resumed", fmt.Sprint(l.ResumedTLS)}, {"0-RTT", fmt.Sprint(l.Used0RTT)},
	}
}

// reasons says why a link is not up, for how long, and how the last attempt failed.
func reasons(l progress.Link, now time.Time) string {
	why := l.Because
	if l.State == progress.LinkRedial && !l.Since.IsZero() && why != "" {
		why = "for " + since(l.Since, now) + ": " + why
	}
	if l.DialError != "" && !strings.Contains(l.Because, l.DialError) && l.State != progress.LinkUp {
		if why != "" {
			why += "; "
		}
		why += "last attempt: " + l.DialError
	}
	return why
}

// helps is the command that looks for the reason why a source's line is away.
func helps(st progress.Status, l progress.Link) []span {
	if st.Role != "source" || l.State != progress.LinkRedial && l.State != progress.LinkDown {
		return nil
	}
	return []span{{"why: ", of(faint)}, {"wanrep doctor " + l.Peer, of(plain, bold)}}
}

// ladder shows the steps that follow on a lost link, with the one that is tried
// now in brackets, in w columns. It is nil for a link that nobody needs.
func ladder(c *canvas, l progress.Link, w int) []span {
	at := slices.Index([]string{"", progress.LinkDialing, progress.LinkRedial, progress.LinkDown}, l.State)
	if at < 1 {
		return nil
	}
	steps := []string{"migrate", "reattach", "redial", "park"}
	then := " " + c.glyphs.arrow + " "
	if width(strings.Join(steps, then))+len("[]") > w {
		then = c.glyphs.arrow
	}
	var out []span
	for i, step := range steps {
		if i > 0 {
			out = append(out, span{then, of(faint)})
		}
		if i == at {
			_, t := c.link(l.State)
			out = append(out, span{"[" + step + "]", of(t, bold)})
			continue
		}
		out = append(out, span{step, of(faint)})
	}
	return out
}

// uplinkLines are the ways out of the site in lines of at most w columns, each with
// its state in a sign and a word.
func uplinkLines(c *canvas, uplinks []progress.Uplink, w int) [][]span {
	var items [][]span
	for _, u := range uplinks {
		sign, t := c.uplink(u.State)
		item := []span{{sign + " ", of(t)}, {u.Name, of(plain, bold)}, {" " + u.State, of(t)}}
		if u.RTT > 0 && u.State != progress.UplinkDown && u.State != progress.UplinkActive { // the link's own
			item = append(item, span{" " + roundTrip(u.RTT), of(plain)})
		}
		items = append(items, item)
	}
	return flowSpans(w, items)
}

// A pair is a number with its name.
type pair struct{ label, value string }

// flow puts pairs beside each other in lines of at most w columns.
func flow(w int, pairs ...pair) [][]span {
	var items [][]span
	for _, p := range pairs {
		items = append(items, []span{{p.label + " ", of(faint)}, {p.value, of(plain)}})
	}
	return flowSpans(w, items)
}

// flowSpans puts items beside each other in lines of at most w columns.
func flowSpans(w int, items [][]span) [][]span {
	const space = 3
	var out [][]span
	at := 0
	for _, item := range items {
		need := 0
		for _, s := range item {
			need += width(s.text)
		}
		if at == 0 || at+space+need > w {
			out, at = append(out, nil), 0
		}
		line := &out[len(out)-1]
		if at > 0 {
			*line = append(*line, span{strings.Repeat(" ", space), of(plain)})
			at += space
		}
		*line = append(*line, item...)
		at += need
	}
	return out
}
