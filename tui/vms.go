package tui

import (
	"fmt"
	"time"

	"wanrep/replicate/progress"
)

// columns are the widths of the VM pane's columns; 0 leaves one out.
type columns struct {
	age, rpo, name, state, since, bar, percent, wire, read, eta, durable, points, note int
}

// gap is the space between two columns.
const gap = 2

// columnsFor shares out w columns; name, rpo and state are how long the longest name,
// RPO and state with its sign are, 0 for none. What matters most at 3 a.m. stays
// longest.
func columnsFor(w, name, rpo, state int) columns {
	k := columns{age: 6, state: 13, percent: 5, wire: 10, eta: 6}
	least, most := 10, 16
	if rpo > 0 {
		k.age, k.rpo = 7, max(3, rpo)
	}
	if w < 96 && rpo > 0 || w < 76 {
		k.state = max(11, min(state, k.state))
	}
	if w < 76 {
		k.rpo, k.eta = 0, 0
	}
	if w >= 96 {
		k.since, k.durable = 6, 9
		least, most = 16, 24
	}
	if w >= 116 {
		k.points = 6
	}
	if w >= 140 {
		k.read = 10
	}
	if w >= 160 {
		k.note = w / 4
		most = 32
	}
	free := w - k.width()
	k.name = max(least, min(name, most, free-gap))
	if k.bar = free - gap - k.name - gap; k.bar < 5 {
		k.bar = 0
	}
	return k
}

// width is what the columns take up with the gaps behind them and the marker.
func (k columns) width() int {
	w := 1
	for _, n := range []int{k.age, k.rpo, k.name, k.state, k.since, k.bar, k.percent, k.wire, k.read, k.eta, k.durable, k.points, k.note} {
		if n > 0 {
			w += n + gap
		}
	}
	return w - gap
}

// drawVMs draws the tree of VMs and disks.
func (m model) drawVMs(c *canvas, r rect) {
	rows := m.rows()
	chosen := m.selection(rows)
	disks := 0
	for _, vm := range m.status.VMs {
		disks += len(vm.Disks)
	}
	title := fmt.Sprintf("VMs %d, disks %d, %s", len(m.status.VMs), disks, m.order)
	if m.reverse {
		title += ", reversed"
	}
	if m.filter != "" {
		title += ", filter " + m.filter
	}
	shown := r.h - 3
	first := max(0, min(chosen-shown/2, len(rows)-shown))
	if len(rows) > shown {
		title += fmt.Sprintf(", lines %d to %d of %d", first+1, min(len(rows), first+shown), len(rows))
	}
	var about []span
	if len(rows) > 0 {
		about = m.about(c, rows[chosen], r.w-6)
	}
	in := c.box(r, title, about, m.focus == paneVMs)
	if len(rows) == 0 {
		m.drawNoVMs(c, in)
		return
	}
	longest, rpo, state := 0, 0, 0
	for _, row := range rows {
		longest = max(longest, width(m.rowName(c, row)))
		rpo = max(rpo, width(allowed(row.vm.RPO)))
		state = max(state, len("* ")+width(shownState(m.status, row.vm)))
	}
	k := columnsFor(in.w-1, longest, rpo, state)
	drawHeads(c, in, k)
	for i := range min(shown, len(rows)-first) {
		y, row := in.y+1+i, rows[first+i]
		if row.disk == nil {
			m.drawVM(c, in.x, y, k, row)
		} else {
			m.drawDisk(c, in.x, y, k, row)
		}
		if first+i == chosen {
			c.put(in.x, y, 1, c.glyphs.marker, of(moving, bold))
			c.mark(rect{in.x, y, in.w, 1})
		}
	}
}

// drawNoVMs says why there is nothing and what to do.
func (m model) drawNoVMs(c *canvas, r rect) {
	text := "No VM is configured yet. Add a [[vm]] and a [[job]] table to wanrep.toml and start the appliance again."
	switch {
	case len(m.status.VMs) > 0:
		text = "No VM or disk matches the filter. esc clears it."
	case m.status.Role == "target" && len(m.status.Links) > 0:
		text = "Nothing was received yet. On the source: wanrep run, or wait for its schedule. wanrep doctor there looks for what is in the way."
	case m.status.Role == "target":
		text = "Nothing was received yet. On this appliance: wanrep pair offer. On the source: wanrep pair join, then wanrep run."
	}
	for i, line := range wrap(text, r.w-4) {
		if i+1 < r.h {
			c.put(r.x+2, r.y+1+i, r.w-4, line, of(plain))
		}
	}
}

// drawHeads writes the names of the columns.
func drawHeads(c *canvas, r rect, k columns) {
	x, h := r.x+1, of(faint)
	right := func(w int, s string) {
		if w > 0 {
			c.right(x, r.y, w, s, h)
			x += w + gap
		}
	}
	left := func(w int, s string) {
		if w > 0 {
			c.put(x, r.y, w, s, h)
			x += w + gap
		}
	}
	right(k.age, "LAG")
	left(k.rpo, "RPO")
	left(k.name, "VM, DISK")
	left(k.state, "STATE")
	right(k.since, "SINCE")
	if k.bar >= len("PROGRESS") {
		left(k.bar, "PROGRESS")
	} else {
		left(k.bar, "DONE")
	}
	right(k.percent, "%")
	right(k.durable, "DURABLE")
	right(k.wire, "WIRE")
	right(k.read, "DISK")
	right(k.eta, "ETA")
	right(k.points, "POINTS")
	left(k.note, "BECAUSE, NEXT")
}

// rowName is a row's name with the lines of the tree.
func (m model) rowName(c *canvas, r row) string {
	if r.disk == nil {
		sign := c.glyphs.open
		if m.folded[vmKey(r.vm)] || len(r.vm.Disks) == 0 {
			sign = c.glyphs.folded
		}
		return sign + " " + vmName(m.status, r.vm)
	}
	if r.last {
		return "  " + c.glyphs.lastBranch + r.disk.Disk
	}
	return "  " + c.glyphs.branch + r.disk.Disk
}

// drawVM draws a VM's line. Where its bytes do not move, the reason takes the
// place of the numbers that would be zero, unless there is a column for it.
func (m model) drawVM(c *canvas, x, y int, k columns, r row) {
	vm := r.vm
	end := x + k.width()
	now := m.now()
	c.right(x+1, y, k.age, c.lagText(vm, now), lagInk(vm, now))
	if k.rpo > 0 {
		c.put(x+1+k.age+gap, y, k.rpo, allowed(vm.RPO), of(faint))
	}
	state := shownState(m.status, vm)
	_, t := c.state(state)
	x = m.drawState(c, x, y, k, m.rowName(c, r), state, vm.Since, bold)
	why := note(m.status, vm, now)
	tint := of(t)
	switch {
	case t != good && t != moving:
	case vm.Held != "":
		tint = of(warn)
	default:
		tint = of(faint)
	}
	still := !moves(state) && state != isPaused && vm.State != progress.Complete && (vm.State != progress.Waiting || why != "")
	if still && k.note == 0 {
		if k.points > 0 {
			c.right(end-k.points, y, k.points, fmt.Sprint(vm.Points), of(plain))
			end -= k.points + gap
		}
		c.put(x, y, end-x, shorten(why, end-x, c.glyphs.cut), tint)
		return
	}
	if sum := total(vm); sum.size > 0 {
		drawNumbers(c, x, y, k, numbers{
			done: sum.done, sent: sum.sent, size: sum.size, wire: sum.wire, read: sum.read, eta: sum.eta, tone: t, moves: moves(state),
		})
	}
	if k.note > 0 {
		end -= k.note
		c.put(end, y, k.note, shorten(why, k.note, c.glyphs.cut), tint)
		end -= gap
	}
	if k.points > 0 {
		c.right(end-k.points, y, k.points, fmt.Sprint(vm.Points), of(plain))
	}
}

// drawDisk draws a disk's line.
func (m model) drawDisk(c *canvas, x, y int, k columns, r row) {
	d := *r.disk
	if k.note > 0 {
		c.put(x+k.width()-k.note, y, k.note, shorten(d.Because, k.note, c.glyphs.cut), of(faint))
	}
	state := unlessHeld(m.status, r.vm, d.State)
	_, t := c.state(state)
	x = m.drawState(c, x, y, k, m.rowName(c, r), state, d.Since, 0)
	drawNumbers(c, x, y, k, numbers{
		done: durable(d), sent: sent(d), size: d.VirtualSize, wire: d.WireRate, read: d.ReadRate, eta: d.ETA,
		tone: t, moves: moves(state),
	})
}

// drawState draws what a row is called and in which state since when, and
// returns where the numbers begin.
func (m model) drawState(c *canvas, x, y int, k columns, name, state string, from time.Time, weight ink) int {
	x += 1 + k.age + gap
	if k.rpo > 0 {
		x += k.rpo + gap
	}
	c.put(x, y, k.name, name, of(plain, weight))
	x += k.name + gap
	sign, t := c.state(state)
	c.put(x, y, k.state, sign+" "+state, of(t, weight))
	x += k.state + gap
	if k.since > 0 {
		c.right(x, y, k.since, since(from, m.now()), of(faint))
		x += k.since + gap
	}
	return x
}

// numbers are what the columns from the bar to the ETA show.
type numbers struct {
	done, sent, size int64
	wire, read, eta  float64
	tone             tone
	moves            bool // else rates and ETA are nothing to show
}

// drawNumbers draws the columns from the bar to the ETA.
func drawNumbers(c *canvas, x, y int, k columns, n numbers) {
	right := func(w int, s string, i ink) {
		if w > 0 {
			c.right(x, y, w, s, i)
			x += w + gap
		}
	}
	if k.bar > 0 {
		drawBar(c, x, y, k.bar, share(n.done, n.size), share(n.sent, n.size), n.tone)
		x += k.bar + gap
	}
	right(k.percent, percentNumber(share(n.done, n.size)), of(plain))
	right(k.durable, Bytes(n.done), of(plain))
	wire, read, eta, i := RateBytes(n.wire), RateBytes(n.read), ETA(n.eta), of(plain)
	if !n.moves {
		wire, read, eta, i = "-", "-", "-", of(faint)
	}
	right(k.wire, wire, i)
	right(k.read, read, i)
	right(k.eta, eta, i)
}

// drawBar draws a bar: full as far as the bytes are durable, lighter as far as
// they are sent.
func drawBar(c *canvas, x, y, w int, durable, sent float64, t tone) {
	full := int(clampShare(durable) * float64(w))
	part := max(full, int(clampShare(sent)*float64(w)))
	if sent > 0 && part == 0 {
		part = 1 // little is not nothing
	}
	for i := range w {
		switch {
		case i < full:
			c.put(x+i, y, 1, c.glyphs.full, of(t))
		case i < part:
			c.put(x+i, y, 1, c.glyphs.part, of(t))
		default:
			c.put(x+i, y, 1, c.glyphs.empty, of(faint))
		}
	}
}

// about is one line of w columns on the selected row: what no column had room for,
// and before all else why it is as it is.
func (m model) about(c *canvas, r row, w int) []span {
	dot := " " + c.glyphs.dot + " "
	name, text := vmName(m.status, r.vm), ""
	if r.disk == nil {
		text = m.aboutVM(r.vm, dot)
	} else {
		name, text = r.disk.Disk, m.aboutDisk(*r.disk, dot)
	}
	return []span{{name, of(plain, bold)}, {shorten(dot+text, w-width(name), c.glyphs.cut), of(plain)}}
}

func (m model) aboutVM(vm progress.VM, dot string) string {
	text := unlessHeld(m.status, vm, vm.State)
	if !vm.Since.IsZero() {
		text += " for " + since(vm.Since, m.now())
	}
	if why := joined(damaged(vm), heldWhy(m.status, vm), vm.Because, pointsHeld(vm)); why != "" {
		return text + ": " + why
	}
	text += dot + plural(vm.Points, "point")
	if vm.Point != "" && vm.State != progress.Committed {
		text += dot + "next point " + vm.Point
	}
	return text
}

func (m model) aboutDisk(d progress.Disk, dot string) string {
	text := "durable " + Bytes(durable(d)) + " of " + Bytes(d.VirtualSize)
	if d.Because != "" {
		return text + dot + d.Because
	}
	if !d.Since.IsZero() {
		text += dot + d.State + " for " + since(d.Since, m.now())
	}
	return text
}
