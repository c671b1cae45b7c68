package tui

import (
	"fmt"
	"math"
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
	p.line([]span{{fmt.Sprintf("%s: %s, version %s%s, %s", st.Name, st.Role, st.Version, up, stamp(st.Time)), of(plain, bold)}})
	p.table(linkColumns, p.linkRows(st))
	p.table(vmColumns, p.vmRows(st))
	p.table(jobColumns, p.jobRows(st))
	if len(st.VMs) == 0 {
		p.line(nil)
		p.line([]span{{"no VM yet", of(plain)}})
	}
	return p.out.String()
}

// A tableColumn is a column of a table.
type tableColumn struct {
	head  string
	right bool
	from  int // only in lines that may be so long
}

var linkColumns = []tableColumn{
	{head: "LINK"}, {head: "STATE"}, {head: "SINCE"}, {head: "PATH"}, {head: "RTT"}, {head: "LOSS"},
	{head: "MIGRATED", from: 90}, {head: "REATTACHED", from: 90}, {head: "LONGEST STALL", from: 110},
}

var vmColumns = []tableColumn{
	{head: "LAG", right: true}, {head: "VM, DISK"}, {head: "STATE"}, {head: "SINCE", from: 90}, {head: "POINTS", right: true, from: 100},
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
		state, rtt, loss := l.State, "-", "-"
		switch l.State {
		case progress.LinkRedial:
			state = linkWord(l)
			if wait := l.NextDial.Sub(st.Time); wait > 0 {
				state += ", next in " + Duration(wait)
			}
		case progress.LinkUp:
			rtt, loss = roundTrip(l.RTT), Percent(l.Loss)
		}
		rows = append(rows, tableRow{
			cells: []string{l.Peer, state, since(l.Since, st.Time), l.Path, rtt, loss, fmt.Sprint(l.Migrations), fmt.Sprint(l.Reattaches), Seconds(l.LongestStall)},
			state: 1, tone: t, note: l.Because,
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
			_, t := p.state(vm.State)
			cells := []string{age(vm.Newest, st.Time), vmName(st, vm), vm.State, since(vm.Since, st.Time), fmt.Sprint(vm.Points), "-", "-", "-", "-", "-"}
			if s.size > 0 {
				cells[5], cells[6], cells[7] = Percent(share(s.done, s.size)), Bytes(s.done), Bytes(s.size)
			}
			if moves(vm.State) {
				cells[8], cells[9] = rate(s.wire), ETA(s.eta)
			}
			rows = append(rows, tableRow{cells, 2, t, note(st, vm, st.Time)})
			continue
		}
		d := *r.disk
		_, t := p.state(d.State)
		cells := []string{"", "  " + d.Disk, d.State, since(d.Since, st.Time), "",
			Percent(share(durable(d), d.VirtualSize)), Bytes(durable(d)), Bytes(d.VirtualSize), "-", "-"}
		if moves(d.State) {
			cells[8], cells[9] = rate(d.WireRate), ETA(d.ETA)
		}
		rows = append(rows, tableRow{cells, 2, t, d.Because})
	}
	return rows
}

func (p *printer) jobRows(st progress.Status) []tableRow {
	tones := map[string]tone{progress.Committed: good, progress.Parked: warn, progress.Failed: bad}
	var rows []tableRow
	for _, j := range st.Jobs {
		next := "by hand"
		if !j.Next.IsZero() {
			next = "in " + Duration(j.Next.Sub(st.Time))
		}
		rows = append(rows, tableRow{
			cells: []string{j.Job, j.Peer, j.Schedule, j.State, next, Ago(j.LastRun, st.Time), j.Outcome},
			state: 6, tone: tones[j.Outcome], note: j.Because,
		})
	}
	return rows
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
		if i == r.state {
			ink = of(r.tone)
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
