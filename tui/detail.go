package tui

import (
	"fmt"
	"slices"
	"time"

	"wanrep/replicate/progress"
)

// A fact is a line of the detail: what it is, and how it is.
type fact struct {
	label string
	value string
	ink   ink
}

// drawDetail draws all that is known of the selected VM or disk.
func (m model) drawDetail(c *canvas, r rect) {
	rows := m.rows()
	if len(rows) == 0 {
		m.drawVMs(c, r)
		return
	}
	row := rows[m.selection(rows)]
	title := vmName(m.status, row.vm)
	if row.disk != nil {
		title += " / " + row.disk.Disk
	}
	var keys []span
	if m.zoomed {
		keys = []span{{"esc", of(plain, bold)}, {" back  ", of(faint)}, {"up, down", of(plain, bold)}, {" other lines", of(faint)}}
	}
	in := c.box(r, title, keys, m.zoomed)
	facts := m.vmFacts(c, row.vm)
	if row.disk != nil {
		facts = m.diskFacts(c, *row.disk)
	}
	y := drawFacts(c, rect{in.x + 2, in.y, in.w - 4, in.h}, facts)
	if row.disk == nil && len(row.vm.Disks) > 0 && in.y+in.h-y > 3 {
		m.drawDiskTable(c, rect{in.x + 2, y + 1, in.w - 4, in.y + in.h - y - 1}, row.vm)
	}
}

// drawFacts draws facts one below the other and returns the next y.
func drawFacts(c *canvas, r rect, facts []fact) int {
	const labels = 16
	y := r.y
	for _, f := range facts {
		if f.value == "" {
			continue
		}
		for i, line := range wrap(f.value, r.w-labels) {
			if y >= r.y+r.h {
				return y
			}
			if i == 0 {
				c.put(r.x, y, labels-2, f.label, of(faint))
			}
			c.put(r.x+labels, y, r.w-labels, line, f.ink)
			y++
		}
	}
	return y
}

func (m model) vmFacts(c *canvas, vm progress.VM) []fact {
	now := m.now()
	sign, t := c.state(vm.State)
	newest := fact{"newest point", "none", lagInk(vm, now)}
	if !vm.Newest.IsZero() {
		newest.value = age(vm.Newest, now) + " old, taken " + stamp(vm.Newest)
	}
	facts := []fact{
		newest,
		rpoFact(c, vm, now),
		{"damaged", vm.Damage, of(bad, bold)},
		{"points held", vm.Held, of(warn, bold)},
		{"points", fmt.Sprint(vm.Points), of(plain)},
		m.provenFact("verified", vm.Verified),
		m.provenFact("tested", vm.Tested),
		{"state", stateSince(sign, vm.State, vm.Since, now), of(t, bold)},
		{"because", vm.Because, of(plain)},
		{"under way", vm.Point, of(plain)},
		{"source", vm.Source, of(plain)},
	}
	j, ok := job(m.status, vm)
	if !ok {
		return append(facts, fact{"job", vm.Job, of(plain)})
	}
	state := j.State
	if j.Try > 1 {
		state += fmt.Sprintf(", try %d", j.Try)
	}
	facts = append(facts,
		fact{"paused", joined(held(m.status.Pause, now), held(j.Pause, now)), of(warn, bold)},
		fact{"job", j.Job + " to " + j.Peer + ", " + j.Schedule + ": " + state, of(plain)},
		fact{"job because", j.Because, of(plain)})
	if !j.Next.IsZero() {
		facts = append(facts, fact{"next run", "in " + Duration(j.Next.Sub(now)) + ", " + stamp(j.Next), of(plain)})
	}
	switch {
	case j.LastRun.IsZero():
	case j.Outcome == "":
		facts = append(facts, fact{"last run", "began " + Ago(j.LastRun, now), of(plain)})
	default:
		facts = append(facts, fact{"last run", Ago(j.LastRun, now) + ", " + j.Outcome, of(plain)})
	}
	return facts
}

// provenFact says when the points of a VM were last proved to be good, as only a target
// knows.
func (m model) provenFact(label string, at time.Time) fact {
	switch {
	case m.status.Role != "target":
		return fact{}
	case at.IsZero():
		return fact{label, "never", of(plain)}
	}
	return fact{label, Ago(at, m.now()) + ", " + stamp(at), of(plain)}
}

// rpoFact says how a VM's lag stands against its RPO.
func rpoFact(c *canvas, vm progress.VM, now time.Time) fact {
	switch text := allowed(vm.RPO); {
	case text == "":
		return fact{}
	case !late(vm, now):
		return fact{"RPO", text + ", kept", of(plain)}
	case vm.Newest.IsZero():
		return fact{"RPO", c.glyphs.alarm + " " + text + ", and there is no point", of(bad, bold)}
	default:
		over := now.Sub(vm.Newest) - toDuration(vm.RPO)
		return fact{"RPO", c.glyphs.alarm + " " + text + ", over it by " + Duration(over), of(bad, bold)}
	}
}

func (m model) diskFacts(c *canvas, d progress.Disk) []fact {
	now := m.now()
	sign, t := c.state(d.State)
	facts := []fact{
		{"state", stateSince(sign, d.State, d.Since, now), of(t, bold)},
		{"because", d.Because, of(plain)},
		{"durable", fmt.Sprintf("%s of %s, %s", Bytes(durable(d)), Bytes(d.VirtualSize), Percent(share(durable(d), d.VirtualSize))), of(plain, bold)},
		{"offset", fmt.Sprintf("%s, %s ahead of durable", Bytes(sent(d)), Bytes(sent(d)-durable(d))), of(plain)},
		{"virtual size", fmt.Sprintf("%s (%d bytes)", Bytes(d.VirtualSize), d.VirtualSize), of(plain)},
	}
	if d.Stored > 0 {
		stored := Bytes(d.Stored) + " to read, holes left out"
		if d.Left >= 0 {
			stored += "; " + Bytes(d.Left) + " of it left"
		}
		facts = append(facts, fact{"stored", stored, of(plain)})
	}
	facts = append(facts,
		fact{"read", Bytes(d.Read), of(plain)},
		fact{"skipped", Bytes(d.SkippedZero) + " zero, " + Bytes(d.SkippedSame) + " same as base", of(plain)},
		fact{"data", Bytes(d.Data) + " had to go over", of(plain)},
		fact{"wire", Bytes(d.Wire) + " after compression" + ratio(d), of(plain)},
		fact{"sent again", Bytes(d.Resent), of(plain)})
	if moves(d.State) {
		facts = append(facts,
			fact{"wire rate", Rate(d.WireRate), of(plain)},
			fact{"disk rate", RateBytes(d.ReadRate), of(plain)},
			fact{"ETA", ETA(d.ETA), of(plain)})
	}
	return facts
}

// ratio says how well a disk compresses.
func ratio(d progress.Disk) string {
	if d.Wire <= 0 || d.Data <= 0 {
		return ""
	}
	return fmt.Sprintf(", ratio %.1f", float64(d.Data)/float64(d.Wire))
}

func stateSince(sign, state string, t, now time.Time) string {
	s := sign + " " + state
	if !t.IsZero() {
		s += " for " + since(t, now) + ", since " + stamp(t)
	}
	return s
}

// stamp prints a moment to the second.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// drawDiskTable draws what a VM's disks counted in this run.
func (m model) drawDiskTable(c *canvas, r rect, vm progress.VM) {
	type column struct {
		head string
		cell func(progress.Disk) string
	}
	columns := []column{
		{"DURABLE", func(d progress.Disk) string { return Bytes(durable(d)) }},
		{"OF", func(d progress.Disk) string { return Bytes(d.VirtualSize) }},
		{"READ", func(d progress.Disk) string { return Bytes(d.Read) }},
		{"DATA", func(d progress.Disk) string { return Bytes(d.Data) }},
		{"WIRE", func(d progress.Disk) string { return Bytes(d.Wire) }},
		{"RESENT", func(d progress.Disk) string { return Bytes(d.Resent) }},
		{"ZERO", func(d progress.Disk) string { return Bytes(d.SkippedZero) }},
		{"SAME", func(d progress.Disk) string { return Bytes(d.SkippedSame) }},
	}
	const cellWidth = 11
	name := max(12, min(28, r.w-len(columns)*cellWidth))
	columns = slices.Clip(columns[:min(len(columns), (r.w-name)/cellWidth)])
	c.put(r.x, r.y, name, "DISK", of(faint))
	for i, k := range columns {
		c.right(r.x+name+i*cellWidth, r.y, cellWidth-1, k.head, of(faint))
	}
	for n, d := range vm.Disks {
		y := r.y + 1 + n
		if left := len(vm.Disks) - n; n == r.h-2 && left > 1 {
			c.put(r.x, y, r.w, "and "+plural(left, "disk")+" more", of(faint))
			return
		}
		sign, t := c.state(d.State)
		c.line(r.x, y, name-1, span{sign + " ", of(t)}, span{d.Disk, of(plain)})
		for i, k := range columns {
			c.right(r.x+name+i*cellWidth, y, cellWidth-1, k.cell(d), of(plain))
		}
	}
}
