package tui

import (
	"fmt"

	"wanrep/replicate/progress"
)

// linkLines is how many lines of w columns the link pane wants.
func (m model) linkLines(w int) int {
	if len(m.status.Links) == 1 {
		return len(m.oneLink(newCanvas(m.theme, 1, 1), m.status.Links[0], w))
	}
	return max(1, len(m.status.Links))
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
	y := in.y
	put := func(l []span) {
		if y < in.y+in.h {
			c.line(in.x+1, y, in.w-2, l...)
			y++
		}
	}
	for _, l := range links {
		if len(links) > 1 && !m.zoomed {
			put(m.linkLine(c, l))
			continue
		}
		if len(links) > 1 {
			put([]span{{l.Peer, of(plain, bold)}})
		}
		for _, line := range m.oneLink(c, l, in.w-2) {
			put(line)
		}
		y++
	}
}

// linkLine is a link in one line.
func (m model) linkLine(c *canvas, l progress.Link) []span {
	sign, t := c.link(l.State)
	out := []span{{sign + " ", of(t)}, {l.Peer + "  ", of(plain, bold)}}
	switch l.State {
	case progress.LinkUp:
		return append(out, span{l.State, of(t)}, span{fmt.Sprintf("  %s  rtt %s  loss %s", l.Path, Seconds(l.RTT), Percent(l.Loss)), of(plain)})
	case progress.LinkRedial:
		return append(out, span{linkWord(l), of(t)}, span{m.nextDial(l), of(plain)})
	}
	return append(out, span{l.State, of(t)}, span{"  " + l.Because, of(plain)})
}

// nextDial says when the next attempt is made.
func (m model) nextDial(l progress.Link) string {
	if l.NextDial.IsZero() {
		return ""
	}
	if wait := l.NextDial.Sub(m.now()); wait > 0 {
		return ", next in " + Duration(wait)
	}
	return ", dialing now"
}

// oneLink is a link in full, the most important line first.
func (m model) oneLink(c *canvas, l progress.Link, w int) [][]span {
	now := m.now()
	sign, t := c.link(l.State)
	label := func(s string) span { return span{s + " ", of(faint)} }
	value := func(s string) span { return span{s, of(plain)} }
	space := span{"   ", of(plain)}

	state := []span{{sign + " " + l.State, of(t, bold)}}
	if l.State == progress.LinkRedial {
		state = []span{{sign + " " + linkWord(l), of(t, bold)}, value(m.nextDial(l))}
	} else if !l.Since.IsZero() {
		state = append(state, value(" for "+since(l.Since, now)))
	}
	out := [][]span{state}
	if l.Because != "" {
		why := l.Because
		if l.State == progress.LinkRedial && !l.Since.IsZero() {
			why = "lost " + Ago(l.Since, now) + ": " + why
		}
		for i, line := range wrap(why, w) {
			if i == 2 {
				break
			}
			out = append(out, []span{value(line)})
		}
	}
	if l.Path != "" || l.Remote != "" {
		path := []span{label("path"), value(l.Path)}
		if l.Remote != "" {
			path = append(path, span{" " + c.glyphs.arrow + " ", of(faint)}, value(l.Remote))
		}
		out = append(out, path)
	}
	if l.State == progress.LinkUp {
		line := []span{label("rtt"), value(Seconds(l.RTT)), space, label("loss"), value(Percent(l.Loss))}
		if l.RepairOverhead > 0 {
			line = append(line, space, label("repair"), value(Percent(l.RepairOverhead)))
		}
		out = append(out, line)
	}
	counts := []span{label("migrated"), value(fmt.Sprint(l.Migrations)), space, label("reattached"), value(fmt.Sprint(l.Reattaches)), space, label("redials"), value(fmt.Sprint(l.Redials))}
	out = append(out, counts)
	return append(out, []span{
		label("TLS resumed"), value(fmt.Sprint(l.ResumedTLS)), space, label("0-RTT"), value(fmt.Sprint(l.Used0RTT)),
		space, label("longest stall"), value(Seconds(l.LongestStall)),
	})
}
