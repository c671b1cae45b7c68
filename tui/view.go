package tui

import (
	"fmt"
	"slices"
	"strings"
)

// The smallest terminal that shows more than a sentence.
const (
	minWidth  = 60
	minHeight = 16
)

// From this size on the panes stand beside each other.
const (
	wideWidth  = 100
	wideHeight = 30
)

// graphWidth is from which width on the graph stands beside the link.
const graphWidth = 70

// leastEvents is the height that is kept for the events beside other panes.
const leastEvents = 5

// detailHeight is what the detail of a disk needs beside other panes.
const detailHeight = 16

// View draws the screen.
func (m model) View() string { return render(m) }

// render is pure: the same model always gives the same screen.
func render(m model) string {
	if m.width <= 0 || m.height <= 0 || m.quitting {
		return ""
	}
	c := newCanvas(m.theme, m.width, m.height)
	if m.width < minWidth || m.height < minHeight {
		c.put(0, 0, m.width, fmt.Sprintf("terminal is %dx%d; needs %dx%d", m.width, m.height, minWidth, minHeight), of(plain))
		return c.String()
	}
	body := rect{0, 2, m.width, m.height - 3}
	if m.known() {
		m.drawSummary(c, rect{1, 1, m.width - 2, 1})
		m.drawBody(c, body)
	}
	if m.gone != nil {
		c.dim(0)
	}
	m.drawTitle(c, rect{1, 0, m.width - 2, 1})
	if !m.known() {
		m.drawUnknown(c, body)
	}
	if m.helping {
		m.drawHelp(c)
	}
	m.drawKeys(c, rect{1, m.height - 1, m.width - 2, 1})
	return c.String()
}

// drawBody draws the panes as the size allows, or one of them alone.
func (m model) drawBody(c *canvas, r rect) {
	switch {
	case m.points.open:
		m.drawPoints(c, r)
	case m.zoomed && m.focus == paneVMs:
		m.drawDetail(c, r)
	case m.zoomed:
		m.drawPane(c, m.focus, r)
	case m.width >= wideWidth && m.height >= wideHeight:
		m.drawWide(c, r)
	default:
		m.drawNarrow(c, r)
	}
}

// drawPane draws any pane but that of the VMs.
func (m model) drawPane(c *canvas, p pane, r rect) {
	switch p {
	case paneLink:
		m.drawLinks(c, r)
	case paneGraph:
		m.drawGraph(c, r)
	case paneEvents:
		m.drawEvents(c, r)
	case panePipeline:
		m.drawPipeline(c, r)
	case paneScript:
		m.drawScript(c, r)
	}
}

// drawNarrow stacks the panes: VMs, then link and graph, then events or script.
func (m model) drawNarrow(c *canvas, r rect) {
	need := len(m.rows()) + 3
	leastVMs := max(6, min(need, 8))
	last, lastHeight := paneEvents, 4
	if m.script != nil {
		last, lastHeight = paneScript, max(4, min(len(m.lines)+2, 9))
	}
	// The pane that keys go to is always in sight.
	if m.focus == paneEvents || m.focus == panePipeline {
		last = m.focus
	}
	middle := 6
	for r.h-middle-lastHeight < leastVMs && lastHeight > 0 {
		lastHeight--
	}
	if lastHeight < 3 {
		lastHeight = 0
	}
	// What the VMs do not need goes to the graph first, then to the last pane.
	spare := max(0, r.h-middle-lastHeight-max(need, leastVMs))
	grow := min(spare, 3)
	middle += grow
	if lastHeight > 0 {
		lastHeight += spare - grow
	}
	vms := r.h - middle - lastHeight
	m.drawVMs(c, rect{r.x, r.y, r.w, vms})
	switch {
	case r.w < graphWidth && m.focus == paneGraph:
		m.drawGraph(c, rect{r.x, r.y + vms, r.w, middle})
	case r.w < graphWidth:
		m.drawLinks(c, rect{r.x, r.y + vms, r.w, middle})
	default:
		link := r.w * 45 / 100
		m.drawLinks(c, rect{r.x, r.y + vms, link, middle})
		m.drawGraph(c, rect{r.x + link, r.y + vms, r.w - link, middle})
	}
	if lastHeight > 0 {
		m.drawPane(c, last, rect{r.x, r.y + vms + middle, r.w, lastHeight})
	}
}

// drawWide puts the VMs above; below them on the left the graph and, where it
// would be needlessly high, the detail of the selected line; and on the right
// link, script, pipeline and events.
func (m model) drawWide(c *canvas, r rect) {
	vms := max(7, min(len(m.rows())+3, r.h*55/100))
	m.drawVMs(c, rect{r.x, r.y, r.w, vms})
	y, h := r.y+vms, r.h-vms
	left := r.w * 58 / 100
	graph := h
	if graph > 2*detailHeight {
		graph = h - detailHeight
		m.drawDetail(c, rect{r.x, y + graph, left, detailHeight})
	}
	m.drawGraph(c, rect{r.x, y, left, graph})
	right := rect{r.x + left, y, r.w - left, 0}
	right.h = min(h/2, m.linkLines(right.w-2)+2)
	m.drawLinks(c, right)
	right.y, h = right.y+right.h, h-right.h
	if m.script != nil {
		right.h = min(max(3, h-leastEvents), len(m.lines)+2)
		m.drawScript(c, right)
		right.y, h = right.y+right.h, h-right.h
	}
	if pipeline := min(m.pipelineLines()+2, h-leastEvents); pipeline >= 4 {
		right.h = pipeline
		m.drawPipeline(c, right)
		right.y, h = right.y+right.h, h-right.h
	}
	right.h = h
	m.drawEvents(c, right)
}

// drawKeys writes the last line: what was just done, or the keys.
func (m model) drawKeys(c *canvas, r rect) {
	if m.typing {
		c.line(r.x, r.y, r.w, span{"filter: ", of(moving, bold)}, span{m.filter + "_", of(plain)}, span{"   enter keeps it, esc clears it", of(faint)})
		return
	}
	if m.question != nil {
		c.line(r.x, r.y, r.w, span{m.question.Ask, of(warn, bold)}, span{"   " + yes, of(plain, bold)}, span{" yes", of(plain)}, span{"   any other key: no", of(faint)})
		return
	}
	at := 0
	if m.toast.text != "" {
		t := of(moving, bold)
		if m.toast.isErr {
			t = of(bad, bold)
		}
		at += c.put(r.x, r.y, r.w, m.toast.text, t)
		at += c.put(r.x+at, r.y, r.w-at, "   ", of(plain))
		if m.toast.isErr {
			at += c.put(r.x+at, r.y, r.w-at, "esc  ", of(faint))
		}
	}
	for _, k := range m.keyLine(r.w - at) {
		at += c.line(r.x+at, r.y, r.w-at, k[0], k[1])
		at += keySpace
	}
}

// keySpace is the space between two keys of the key line.
const keySpace = 3

// keyLine returns the keys that fit into w columns: a program's own first, help
// and quit always, and of the others as many as there is room for.
func (m model) keyLine(w int) [][2]span {
	need := func(k [2]span) int { return width(k[0].text) + width(k[1].text) + keySpace }
	var own, others, always [][2]span
	used := -keySpace
	for _, a := range m.applicable() {
		if a.Rare {
			continue
		}
		own = append(own, [2]span{{a.Key, of(warn, bold)}, {" " + a.Label, of(plain)}})
		used += need(own[len(own)-1])
	}
	for _, k := range m.commands {
		name, _, _ := strings.Cut(k.binding.Help().Key, ",")
		line := [2]span{{name, of(plain, bold)}, {" " + k.short, of(faint)}}
		switch k.short {
		case "":
		case "help", "quit":
			always = append(always, line)
			used += need(line)
		default:
			others = append(others, line)
		}
	}
	fit := 0
	for fit < len(others) && used+need(others[fit]) <= w {
		used += need(others[fit])
		fit++
	}
	return slices.Concat(own, others[:fit], always)
}
