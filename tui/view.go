package tui

import (
	"errors"
	"fmt"
	"io/fs"
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
	time := ""
	if m.known() {
		time = m.now().UTC().Format("15:04:05 UTC")
	}
	c.right(r.x, r.y, r.w, time, of(plain))
	left := r.w - width(time) - 2
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
	default:
		at += c.put(r.x+at, r.y, left-at, fmt.Sprintf("  %d links:", len(links)), of(faint))
		for _, n := range countLinks(links) {
			sign, t := c.link(n.state)
			at += c.put(r.x+at, r.y, left-at, fmt.Sprintf("  %s %d %s", sign, n.count, n.state), of(t))
		}
	}
	if m.frozen {
		at += c.put(r.x+at, r.y, left-at, "  "+c.glyphs.parked+" frozen", of(warn, bold))
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

// drawGone says that the data is old, and why.
func (m model) drawGone(c *canvas, r rect) {
	spans := []span{{c.glyphs.failed + " appliance gone " + Duration(m.clock.Sub(m.goneSince)), of(bad, bold)}}
	reason := goneReason(m.gone)
	if room := r.w - width(spans[0].text); m.known() && room > width(reason)+20 {
		reason += "; this is old"
	}
	c.line(r.x, r.y, r.w, append(spans, span{": " + reason, of(bad)})...)
}

// goneReason says in a few words why an appliance does not answer, and what to
// do where that is clear.
func goneReason(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no socket, is it running?"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused, is it running?"
	case errors.Is(err, fs.ErrPermission):
		return "permission denied: join its group"
	}
	return err.Error()
}

// drawUnknown fills the screen before the first answer.
func (m model) drawUnknown(c *canvas, r rect) {
	y := r.y + r.h/2 - 2
	if m.gone == nil {
		c.put(r.x+3, y, r.w-6, "asking the appliance "+c.glyphs.cut, of(faint))
		return
	}
	lines := []string{m.gone.Error(), "This screen fills by itself as soon as the appliance answers."}
	for i, l := range lines {
		for j, part := range wrap(l, r.w-6) {
			c.put(r.x+3, y+i*3+j, r.w-6, part, of(plain))
		}
	}
}

// drawSummary writes the second line: the oldest newest point, how many VMs are
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
	tint := of(plain, bold)
	if oldest.Newest.IsZero() {
		tint = of(bad, bold)
	}
	at := c.line(r.x, r.y, left, span{"oldest point ", of(faint)}, span{age(oldest.Newest, m.now()), tint}, span{" " + vmName(st, oldest), of(faint)})
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

// drawWide puts the VMs above, the graph below them on the left, and link,
// script and events on the right.
func (m model) drawWide(c *canvas, r rect) {
	vms := max(7, min(len(m.rows())+3, r.h*55/100))
	m.drawVMs(c, rect{r.x, r.y, r.w, vms})
	y, h := r.y+vms, r.h-vms
	left := r.w * 58 / 100
	m.drawGraph(c, rect{r.x, y, left, h})
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
	for _, a := range m.actions {
		at += c.line(r.x+at, r.y, r.w-at, span{a.Key, of(warn, bold)}, span{" " + a.Label + "   ", of(plain)})
	}
	for _, k := range m.commands {
		if k.short == "" {
			continue
		}
		name, _, _ := strings.Cut(k.binding.Help().Key, ",")
		if at+width(name)+1+width(k.short) > r.w {
			break
		}
		at += c.line(r.x+at, r.y, r.w-at, span{name, of(plain, bold)}, span{" " + k.short + "   ", of(faint)})
	}
}

// wrap breaks a text into lines of at most w columns, at spaces where it can.
func wrap(s string, w int) []string {
	var out []string
	line := ""
	for word := range strings.FieldsSeq(s) {
		for width(word) > w {
			if line != "" {
				out, line = append(out, line), ""
			}
			head := strings.TrimRight(fit(word, w, ""), " ")
			if head == "" || !strings.HasPrefix(word, head) {
				return append(out, fit(word, w, ""))
			}
			out, word = append(out, head), word[len(head):]
		}
		switch {
		case line == "":
			line = word
		case width(line)+1+width(word) <= w:
			line += " " + word
		default:
			out, line = append(out, line), word
		}
	}
	if line != "" {
		out = append(out, line)
	}
	return out
}

// plural prints a count with its noun: "1 disk", "3 disks".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
