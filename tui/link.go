package tui

import (
	"fmt"
	"strings"

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
	in := c.box(r, title, nil, m.focus == paneLink)
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
		return append(out, span{l.State, of(t)}, span{fmt.Sprintf("  %s  rtt %s  loss %s", l.Path, roundTrip(l.RTT), Percent(l.Loss)), of(plain)})
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
	if l.Because != "" {
		why := l.Because
		if l.State == progress.LinkRedial && !l.Since.IsZero() {
			why = "for " + since(l.Since, now) + ": " + why
		}
		for _, line := range wrap(why, w) {
			out = append(out, []span{{line, of(plain)}})
		}
		out = out[:min(len(out), 3)]
	}
	if l.Path != "" || l.Remote != "" {
		out = append(out, []span{{"path ", of(faint)}, {l.Path, of(plain)}, {" " + c.glyphs.arrow + " ", of(faint)}, {l.Remote, of(plain)}})
	}
	if l.State == progress.LinkUp {
		out = append(out, flow(w, pair{"rtt", roundTrip(l.RTT)}, pair{"loss", Percent(l.Loss)})...)
	}
	return append(out, flow(w,
		pair{"migrated", fmt.Sprint(l.Migrations)}, pair{"reattached", fmt.Sprint(l.Reattaches)},
		pair{"redials", fmt.Sprint(l.Redials)}, pair{"longest stall", Seconds(l.LongestStall)},
		pair{"TLS resumed", fmt.Sprint(l.ResumedTLS)}, pair{"0-RTT", fmt.Sprint(l.Used0RTT)},
		pair{"repair", Percent(l.RepairOverhead)})...)
}

// A pair is a number with its name.
type pair struct{ label, value string }

// flow puts pairs beside each other in lines of at most w columns.
func flow(w int, pairs ...pair) [][]span {
	const space = 3
	var out [][]span
	at := 0
	for _, p := range pairs {
		need := width(p.label) + 1 + width(p.value)
		if at == 0 || at+space+need > w {
			out, at = append(out, nil), 0
		}
		line := &out[len(out)-1]
		if at > 0 {
			*line = append(*line, span{strings.Repeat(" ", space), of(plain)})
			at += space
		}
		*line = append(*line, span{p.label + " ", of(faint)}, span{p.value, of(plain)})
		at += need
	}
	return out
}
