package tui

import (
	"fmt"
	"strings"

	"github.com/muesli/termenv"

	"wanrep/replicate/progress"
)

// Table prints a status as plain tables, worst first, in lines of at most width
// columns; 0 does not cut. Only words carry meaning, so that it reads the same
// in a pipe, in ASCII and without colour; color adds colours for a dark or light
// background alike.
func Table(st progress.Status, width int, color bool) string {
	p := printer{width: width, theme: newTheme(look{profile: termenv.Ascii, dark: true, ascii: true})}
	if color {
		p.theme = newTheme(look{profile: termenv.ANSI, dark: true, ascii: true})
	}
	now := st.Time
	up := ""
	if !st.Started.IsZero() {
		up = ", up " + Duration(now.Sub(st.Started))
	}
	p.text(of(plain, bold), fmt.Sprintf("%s: %s, version %s%s, %s", st.Name, st.Role, st.Version, up, stamp(now)))

	p.table("LINK\tSTATE\tSINCE\tPATH\tRTT\tLOSS\tMIGRATED\tREATTACHED\tBECAUSE", p.linkRows(st))
	p.table(">POINT AGE\tVM, DISK\tSTATE\tSINCE\t>POINTS\t>DONE\t>DURABLE\t>OF\t>WIRE\t>ETA\tBECAUSE, NEXT", p.vmRows(st))
	p.table("JOB\tPEER\tSCHEDULE\tSTATE\tNEXT\tLAST RUN\tOUTCOME\tBECAUSE", p.jobRows(st))
	if len(st.VMs) == 0 {
		p.text(of(plain), "")
		p.text(of(plain), "no VM yet")
	}
	return p.out.String()
}

// A printer writes tables.
type printer struct {
	theme *theme
	width int
	out   strings.Builder
}

// A tableRow is the cells of a line and the tone of the one that tells a state.
type tableRow struct {
	cells []string
	state int // index of the toned cell
	tone  tone
}

func (p *printer) linkRows(st progress.Status) []tableRow {
	var rows []tableRow
	for _, l := range worstLinks(st.Links) {
		_, t := p.theme.link(l.State)
		state, rtt, loss := l.State, "-", "-"
		switch l.State {
		case progress.LinkRedial:
			state = linkWord(l)
			if wait := l.NextDial.Sub(st.Time); wait > 0 {
				state += ", next in " + Duration(wait)
			}
		case progress.LinkUp:
			rtt, loss = Seconds(l.RTT), Percent(l.Loss)
		}
		rows = append(rows, tableRow{[]string{l.Peer, state, since(l.Since, st.Time), l.Path, rtt, loss,
			fmt.Sprint(l.Migrations), fmt.Sprint(l.Reattaches), l.Because}, 1, t})
	}
	return rows
}

func (p *printer) vmRows(st progress.Status) []tableRow {
	var rows []tableRow
	for _, r := range (model{status: st}).rows() {
		if r.disk == nil {
			vm, s := r.vm, total(r.vm)
			_, t := p.theme.state(vm.State)
			cells := []string{age(vm.Newest, st.Time), vmName(st, vm), vm.State, since(vm.Since, st.Time), fmt.Sprint(vm.Points),
				"-", "-", "-", "-", "-", note(st, vm, st.Time)}
			if s.size > 0 {
				cells[5], cells[6], cells[7] = Percent(share(s.done, s.size)), Bytes(s.done), Bytes(s.size)
			}
			if moves(vm.State) {
				cells[8], cells[9] = Rate(s.wire), ETA(s.eta)
			}
			rows = append(rows, tableRow{cells, 2, t})
			continue
		}
		d := *r.disk
		_, t := p.theme.state(d.State)
		cells := []string{"", "  " + d.Disk, d.State, since(d.Since, st.Time), "",
			Percent(share(durable(d), d.VirtualSize)), Bytes(durable(d)), Bytes(d.VirtualSize), "-", "-", d.Because}
		if moves(d.State) {
			cells[8], cells[9] = Rate(d.WireRate), ETA(d.ETA)
		}
		rows = append(rows, tableRow{cells, 2, t})
	}
	return rows
}

func (p *printer) jobRows(st progress.Status) []tableRow {
	var rows []tableRow
	for _, j := range st.Jobs {
		next := "by hand"
		if !j.Next.IsZero() {
			next = "in " + Duration(j.Next.Sub(st.Time))
		}
		t := plain
		switch j.Outcome {
		case "committed":
			t = good
		case "parked":
			t = warn
		case "failed":
			t = bad
		}
		rows = append(rows, tableRow{[]string{j.Job, j.Peer, j.Schedule, j.State, next, Ago(j.LastRun, st.Time), j.Outcome, j.Because}, 6, t})
	}
	return rows
}

// widestCell is where a column stops growing, except for the last, which may
// take what is left of the line.
const widestCell = 40

// table prints rows below a head whose cells are separated by tabs; ">" in front
// of one puts its column to the right. Columns that are empty in all rows are
// left out.
func (p *printer) table(head string, rows []tableRow) {
	if len(rows) == 0 {
		return
	}
	heads := strings.Split(head, "\t")
	widths := make([]int, len(heads))
	for i := range heads {
		for _, r := range rows {
			widths[i] = max(widths[i], min(width(r.cells[i]), widestCell))
		}
		if widths[i] > 0 {
			widths[i] = max(widths[i], width(strings.TrimPrefix(heads[i], ">")))
		}
	}
	p.text(of(plain), "")
	p.row(heads, heads, widths, -1, of(plain), of(faint))
	for _, r := range rows {
		p.row(r.cells, heads, widths, r.state, of(r.tone), of(plain))
	}
}

// row prints one line of cells.
func (p *printer) row(cells, heads []string, widths []int, state int, stateInk, rest ink) {
	at := 0
	for i, cell := range cells {
		if widths[i] == 0 {
			continue
		}
		last := i == len(cells)-1
		w := widths[i]
		if last {
			w = width(cell)
		}
		if at > 0 {
			w += gap
		}
		if p.width > 0 {
			w = min(w, p.width-at)
		}
		if w <= 0 {
			break
		}
		cell = strings.TrimPrefix(cell, ">")
		lead := 0
		if at > 0 {
			lead = min(gap, w)
		}
		text := fit(cell, w-lead, "~")
		if strings.HasPrefix(heads[i], ">") {
			trimmed := strings.TrimRight(text, " ")
			text = strings.Repeat(" ", w-lead-width(trimmed)) + trimmed
		}
		if last {
			text = strings.TrimRight(text, " ")
		}
		ink := rest
		if i == state {
			ink = stateInk
		}
		p.out.WriteString(strings.Repeat(" ", lead) + p.theme.styles[ink].Render(text))
		at += w
	}
	p.out.WriteByte('\n')
}

// text prints one line.
func (p *printer) text(i ink, s string) {
	if p.width > 0 {
		s = strings.TrimRight(fit(s, p.width, "~"), " ")
	} else {
		s = strings.TrimRight(fit(s, width(s), ""), " ")
	}
	if s != "" {
		s = p.theme.styles[i].Render(s)
	}
	p.out.WriteString(s + "\n")
}
