package tui

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/muesli/termenv"

	"wanrep/replicate/progress"
)

// Table prints a status as plain tables, worst first, in lines of at most width
// columns; 0 does not cut. Only words carry meaning, so that it reads the same
// in a pipe, in ASCII and without colour; color adds the colours of the
// terminal's own palette.
func Table(st progress.Status, width int, color bool) string {
	l := look{profile: termenv.Ascii, dark: true, ascii: true}
	if color {
		l.profile = termenv.ANSI
	}
	p := printer{theme: newTheme(l), width: width}
	if width <= 0 {
		p.width = math.MaxInt32
	}
	up := ""
	if !st.Started.IsZero() {
		up = ", up " + Duration(st.Time.Sub(st.Started))
	}
	if len(st.VMs) > 0 {
		p.line(p.protected(st))
	}
	p.line([]span{{fmt.Sprintf("%s: %s, version %s%s, %s", st.Name, st.Role, st.Version, up, stamp(st.Time)), of(plain)}})
	if text := held(st.Pause, st.Time); text != "" {
		p.line([]span{{text, of(warn, bold)}})
	}
	p.table(vmColumns(st), p.vmRows(st))
	if len(st.VMs) == 0 {
		p.line(nil)
		p.line([]span{{"no VM yet", of(plain)}})
	}
	p.table(linkColumns, p.linkRows(st))
	p.table(jobColumns, p.jobRows(st))
	p.facts(st)
	return p.out.String()
}

// protected is the answer to the first question: how old the newest point of the
// VM is that has waited longest, and how many VMs wait for longer than they should.
func (p *printer) protected(st progress.Status) []span {
	worst := worstOff(st.VMs, st.Time)
	lag := lagOfRPO(worst, st.Time)
	out := []span{{"worst lag ", of(plain)}, {lag, lagInk(worst, st.Time)}, {" (" + vmName(st, worst) + ")", of(plain)}}
	if worst.Newest.IsZero() {
		out = out[1:]
	}
	if all := p.protection(st.VMs, st.Time); len(all) > 0 {
		out = append(append(out, span{"   ", of(plain)}), all...)
	}
	return out
}

// facts prints what is no table: what limits a run, and the store of a target.
func (p *printer) facts(st progress.Status) {
	var lines [][]span
	if limited := limitedBy(st); limited != nil {
		var busy []string
		for _, s := range stages(st) {
			busy = append(busy, s.name+" "+busyText(s.busy))
		}
		lines = append(lines, limited, []span{{"busy: ", of(faint)}, {strings.Join(busy, ", "), of(plain)}})
	}
	if tellsRate(st) {
		lines = append(lines, []span{{"rate limit: ", of(faint)}, {Rate(float64(st.MaxRate)), of(plain)}})
	}
	if tested := testedFailovers(st); tested != nil {
		lines = append(lines, tested)
	}
	var store []span
	for i, f := range storeFacts(st) {
		sep := ", "
		if i == 0 {
			sep = ""
		}
		store = append(store, span{sep + f.label + " ", of(faint)}, span{f.value, f.ink})
	}
	if store != nil {
		lines = append(lines, store)
	}
	for i, l := range lines {
		if i == 0 {
			p.line(nil)
		}
		p.line(l)
	}
}

// mostTested is how many VMs are named with their last test.
const mostTested = 5

// testedFailovers tells at a target when failovers were last tested, the longest ago
// first.
func testedFailovers(st progress.Status) []span {
	if st.Role != "target" || len(st.VMs) == 0 {
		return nil
	}
	vms := slices.Clone(st.VMs)
	slices.SortStableFunc(vms, func(a, b progress.VM) int { return a.Tested.Compare(b.Tested) })
	var said []string
	for i, vm := range vms {
		if i == mostTested && len(vms) > mostTested+1 {
			said = append(said, fmt.Sprintf("and %d more, later", len(vms)-mostTested))
			break
		}
		said = append(said, vmName(st, vm)+" "+Ago(vm.Tested, st.Time))
	}
	return []span{{"failover tested: ", of(faint)}, {strings.Join(said, ", "), of(plain)}}
}

// A tableColumn is a column of a table.
type tableColumn struct {
	head  string
	right bool
	from  int  // only in lines that may be so long
	loud  bool // has the ink of its row's lag
}

var linkColumns = []tableColumn{
	{head: "LINK"}, {head: "STATE"}, {head: "SINCE"}, {head: "PATH"}, {head: "RTT"}, {head: "LOSS"},
	{head: "QUEUE", from: 110}, {head: "CONNECTIONS", from: 90}, {head: "LINE", from: 90},
	{head: "MIGRATED", from: 110}, {head: "REATTACHED", from: 110}, {head: "LONGEST STALL", from: 140},
}

// vmColumns leaves the RPO out where no VM has one.
func vmColumns(st progress.Status) []tableColumn {
	columns := slices.Clone(allVMColumns)
	if !slices.ContainsFunc(st.VMs, func(vm progress.VM) bool { return vm.RPO > 0 }) {
		columns[1].from = math.MaxInt
	}
	return columns
}

var allVMColumns = []tableColumn{
	{head: "LAG", right: true, loud: true}, {head: "RPO"}, {head: "VM, DISK"}, {head: "STATE"}, {head: "SINCE", from: 90}, {head: "POINTS", right: true, from: 100},
	{head: "DONE", right: true}, {head: "DURABLE", right: true}, {head: "OF", right: true, from: 110}, {head: "WIRE", right: true}, {head: "ETA", right: true},
}

var jobColumns = []tableColumn{
	{head: "JOB"}, {head: "PEER", from: 90}, {head: "SCHEDULE"}, {head: "STATE"}, {head: "NEXT"}, {head: "LAST RUN"}, {head: "OUTCOME"},
}

// bothRates is from which length of a line on rates are printed in bits too.
const bothRates = 120

// A tableRow is the cells of a line, and what is to be said below it.
type tableRow struct {
	cells []string
	state int // index of the cell that has the tone
	tone  tone
	lag   ink // of the loud cell
	note  string
}

// A printer writes tables.
type printer struct {
	*theme
	width int
	out   strings.Builder
}

func (p *printer) linkRows(st progress.Status) []tableRow {
	var rows []tableRow
	for _, l := range worstLinks(st.Links) {
		_, t := p.link(l.State)
		state, rtt, loss, queue, lanes, line := l.State, "-", "-", "-", "-", "-"
		switch l.State {
		case progress.LinkRedial:
			state = linkWord(l)
			if wait := l.NextDial.Sub(st.Time); wait > 0 {
				state += ", next in " + Duration(wait)
			}
		case progress.LinkUp:
			rtt, loss, queue = roundTrip(l.RTT), Percent(l.Loss), roundTrip(l.Queue)
			if l.Lanes > 0 {
				lanes = fmt.Sprint(l.Lanes)
			}
			if l.LineRate > 0 {
				line = aboutBits(l.LineRate)
			}
		}
		rows = append(rows, tableRow{
			cells: []string{l.Peer, state, since(l.Since, st.Time), l.Path, rtt, loss, queue, lanes, line, fmt.Sprint(l.Migrations), fmt.Sprint(l.Reattaches), Seconds(l.LongestStall)},
			state: 1, tone: t, note: joined(uplinkWords(l.Uplinks), reasons(l, st.Time)),
		})
	}
	return rows
}

func (p *printer) vmRows(st progress.Status) []tableRow {
	rate := RateBytes
	if p.width >= bothRates {
		rate = Rate
	}
	var rows []tableRow
	for _, r := range (model{status: st}).rows() {
		if r.disk == nil {
			vm, s := r.vm, total(r.vm)
			state := shownState(st, vm)
			_, t := p.state(state)
			cells := []string{p.lagText(vm, st.Time), allowed(vm.RPO), vmName(st, vm), state, since(vm.Since, st.Time), fmt.Sprint(vm.Points), "-", "-", "-", "-", "-"}
			if s.size > 0 {
				cells[6], cells[7], cells[8] = Percent(share(s.done, s.size)), Bytes(s.done), Bytes(s.size)
			}
			if moves(state) {
				cells[9], cells[10] = rate(s.wire), ETA(s.eta)
			}
			rows = append(rows, tableRow{cells, 3, t, lagInk(vm, st.Time), note(st, vm, st.Time)})
			continue
		}
		d := *r.disk
		state := unlessHeld(st, r.vm, d.State)
		_, t := p.state(state)
		cells := []string{"", "", "  " + d.Disk, state, since(d.Since, st.Time), "",
			Percent(share(durable(d), d.VirtualSize)), Bytes(durable(d)), Bytes(d.VirtualSize), "-", "-"}
		if moves(state) {
			cells[9], cells[10] = rate(d.WireRate), ETA(d.ETA)
		}
		rows = append(rows, tableRow{cells, 3, t, of(plain), d.Because})
	}
	return rows
}

func (p *printer) jobRows(st progress.Status) []tableRow {
	tones := map[string]tone{progress.Committed: good, progress.Parked: warn, progress.Failed: bad}
	var rows []tableRow
	for _, j := range st.Jobs {
		next := "-"
		switch {
		case !j.Next.IsZero():
			next = "in " + Duration(j.Next.Sub(st.Time))
		case j.Schedule == "manual":
			next = "by hand"
		}
		rows = append(rows, tableRow{
			cells: []string{j.Job, j.Peer, j.Schedule, j.State, next, Ago(j.LastRun, st.Time), j.Outcome},
			state: 6, tone: tones[j.Outcome], note: joined(held(j.Pause, st.Time), j.Because),
		})
	}
	return rows
}

// uplinkWords lists uplinks with their states.
func uplinkWords(uplinks []progress.Uplink) string {
	var all []string
	for _, u := range uplinks {
		text := u.Name + " " + u.State
		if u.RTT > 0 && u.State != progress.UplinkDown {
			text += " " + roundTrip(u.RTT)
		}
		all = append(all, text)
	}
	if len(all) == 0 {
		return ""
	}
	return "uplinks: " + strings.Join(all, ", ")
}

// widestCell is where a column stops growing.
const widestCell = 40

// table prints rows below the heads of their columns. What a row has to say goes
// below its name and is never cut.
func (p *printer) table(columns []tableColumn, rows []tableRow) {
	if len(rows) == 0 {
		return
	}
	widths := make([]int, len(columns))
	heads := make([]string, len(columns))
	for i, k := range columns {
		if k.from > p.width {
			continue
		}
		heads[i], widths[i] = k.head, width(k.head)
		for _, r := range rows {
			widths[i] = max(widths[i], min(width(r.cells[i]), widestCell))
		}
	}
	indent := 2
	if columns[0].right {
		indent = widths[0] + gap + 4
		if widths[1] > 0 && columns[1].head == "RPO" {
			indent += widths[1] + gap
		}
	}
	p.line(nil)
	p.row(columns, widths, tableRow{cells: heads, state: -1}, of(faint))
	for _, r := range rows {
		p.row(columns, widths, r, of(plain))
		for _, text := range wrap(r.note, max(20, p.width-indent)) {
			p.line([]span{{strings.Repeat(" ", indent), of(plain)}, {text, of(r.tone)}})
		}
	}
}

// row prints one line of cells.
func (p *printer) row(columns []tableColumn, widths []int, r tableRow, rest ink) {
	var spans []span
	for i, cell := range r.cells {
		if widths[i] == 0 {
			continue
		}
		text := fit(cell, widths[i], p.glyphs.cut)
		if columns[i].right {
			short := strings.TrimRight(text, " ")
			text = strings.Repeat(" ", len(text)-len(short)) + short
		}
		ink := rest
		switch {
		case i == r.state:
			ink = of(r.tone)
		case columns[i].loud && r.state >= 0:
			ink = r.lag
		}
		spans = append(spans, span{text, ink}, span{strings.Repeat(" ", gap), of(plain)})
	}
	p.line(spans)
}

// line prints spans without the spaces that end them, and no more than fits.
func (p *printer) line(spans []span) {
	end := len(spans)
	for end > 0 && strings.TrimSpace(spans[end-1].text) == "" {
		end--
	}
	at := 0
	for i, s := range spans[:end] {
		text := s.text
		if i == end-1 {
			text = strings.TrimRight(text, " ")
		}
		glyphs := cut(text, p.width-at, p.glyphs.cut)
		var b strings.Builder
		for _, g := range glyphs {
			b.WriteString(g.text)
			at += g.width
		}
		if b.Len() > 0 {
			p.out.WriteString(p.styles[s.ink].Render(b.String()))
		}
	}
	p.out.WriteByte('\n')
}
