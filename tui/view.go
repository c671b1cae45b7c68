package tui

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"wanrep/replicate/progress"
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

// detailHeight is what the detail of a disk needs beside other panes.
const detailHeight = 16

// View draws the screen.
func (m model) View() string { return render(m) }

// render is pure: the same model always gives the same screen.
func render(m model) string {
	if m.width <= 0 || m.height <= 0 {
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

// drawTitle writes who this is and how the link is, or that the appliance is gone.
func (m model) drawTitle(c *canvas, r rect) {
	st := m.status
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
	at := c.line(r.x, r.y, left, span{"wanrep ", of(plain, bold)}, span{st.Role + " ", of(faint)}, span{st.Name, of(plain, bold)})
	links := worstLinks(st.Links)
	switch len(links) {
	case 0:
	case 1:
		l := links[0]
		sign, t := c.link(l.State)
		at += c.line(r.x+at, r.y, left-at, span{" " + c.glyphs.arrow + " ", of(faint)}, span{l.Peer, of(plain, bold)},
			span{"  " + sign + " " + linkWord(l), of(t)})
		if l.State == progress.LinkUp && m.width >= wideWidth {
			at += c.put(r.x+at, r.y, left-at, fmt.Sprintf("  %s  rtt %s  loss %s", l.Path, Seconds(l.RTT), Percent(l.Loss)), of(faint))
		}
	default:
		at += c.put(r.x+at, r.y, left-at, fmt.Sprintf("  %d links:", len(links)), of(faint))
		for _, n := range countLinks(links) {
			sign, t := c.link(n.state)
			at += c.put(r.x+at, r.y, left-at, fmt.Sprintf("  %s %d %s", sign, n.count, n.state), of(t))
		}
	}
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

// goneReason says in a few words why an appliance does not answer.
func goneReason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no socket"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	}
	return err.Error()
}

// goneHint says what to do about it; empty if that is not clear.
func goneHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return "Is it running? wanrep serve starts it. Is this its socket? wanrep config show prints the path."
	case errors.Is(err, fs.ErrPermission):
		return "Join the group that the socket belongs to, or ask as the user that the appliance runs as."
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

// drawSummary writes the second line: the worst lag, how many VMs are
// in which state, and how long all of it takes.
func (m model) drawSummary(c *canvas, r rect) {
	st := m.status
	if len(st.VMs) == 0 {
		return
	}
	oldest := st.VMs[0]
	var counts []count
	eta, unknown := -1.0, false
	vms := model{status: st, folded: map[rowKey]bool{}}.rows()
	for _, row := range vms {
		if row.disk != nil {
			continue
		}
		vm := row.vm
		if vm.Newest.Before(oldest.Newest) {
			oldest = vm
		}
		counts = add(counts, vm.State)
		if t := total(vm); moves(vm.State) {
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
	first := []span{{"worst lag ", of(faint)}, {age(oldest.Newest, m.now()), of(plain, bold)}, {" " + vmName(st, oldest), of(faint)}}
	if oldest.Newest.IsZero() {
		first = []span{{"no point yet", of(bad, bold)}, {" " + vmName(st, oldest), of(faint)}}
	}
	at := c.line(r.x, r.y, left, first...)
	for _, n := range counts {
		sign, t := c.state(n.state)
		text := fmt.Sprintf("   %s %d %s", sign, n.count, n.state)
		if width(text) > left-at {
			break
		}
		at += c.put(r.x+at, r.y, left-at, text, of(t))
	}
}

// vmName is how a VM is called: with its source at a target, which may keep VMs
// of several.
func vmName(st progress.Status, vm progress.VM) string {
	if st.Role == "target" && vm.Source != "" {
		return vm.Source + "/" + vm.VM
	}
	return vm.VM
}

// drawBody draws the panes as the size allows, or one of them alone.
func (m model) drawBody(c *canvas, r rect) {
	switch {
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

func (m model) drawPane(c *canvas, p pane, r rect) {
	switch p {
	case paneVMs:
		m.drawVMs(c, r)
	case paneLink:
		m.drawLinks(c, r)
	case paneGraph:
		m.drawGraph(c, r)
	case paneEvents:
		m.drawEvents(c, r)
	case paneScript:
		m.drawScript(c, r)
	}
}

// drawNarrow stacks the panes: VMs, then link and graph, then events or script.
func (m model) drawNarrow(c *canvas, r rect) {
	const leastVMs = 8
	need := len(m.rows()) + 3
	last, lastHeight := paneEvents, 4
	if m.script != nil {
		last, lastHeight = paneScript, max(4, min(len(m.lines)+2, 9))
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
	if r.w < 70 {
		m.drawLinks(c, rect{r.x, r.y + vms, r.w, middle})
	} else {
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
// link, script and events.
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
		right.h = min(max(3, h-5), len(m.lines)+2)
		m.drawScript(c, right)
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
	for _, a := range m.actions {
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

// wrap breaks a text into printable lines of at most w columns, at spaces where
// it can; w is taken to be at least 2, for the widest character.
func wrap(s string, w int) []string {
	w = max(w, 2)
	var out []string
	var line strings.Builder
	used := 0
	end := func() {
		if used > 0 {
			out = append(out, line.String())
			line.Reset()
			used = 0
		}
	}
	for word := range strings.FieldsSeq(s) {
		n := width(word)
		switch {
		case used > 0 && used+1+n <= w:
			line.WriteByte(' ')
			used++
		case used > 0:
			end()
		}
		for _, g := range split(word, n) {
			if used+g.width > w {
				end()
			}
			line.WriteString(g.text)
			used += g.width
		}
	}
	end()
	return out
}

// plural prints a count with its noun: "1 disk", "3 disks".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
