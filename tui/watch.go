package tui

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"wanrep/replicate/progress"
)

// lineEvery is the time between two lines of Watch without a terminal, where
// nothing changed but numbers.
const lineEvery = 5 * time.Second

// maxBars is how many lines Watch keeps on a terminal, so that these stay on one
// of 24; what is over is counted.
const maxBars = 20

// Watch shows a run as it goes on, until next is closed, which returns nil, or
// ctx ends, which returns its cause. On a terminal it draws one bar a disk and
// redraws them in place; elsewhere it writes a line every few seconds and
// whenever a VM or the link changes state. width is asked before each frame; 0
// means 80.
func Watch(ctx context.Context, out io.Writer, isTerminal bool, width func() int, next <-chan progress.Status) error {
	w := &watcher{out: out, theme: newTheme(lookFor(os.Getenv, isTerminal, true))}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case st, ok := <-next:
			if !ok {
				return nil
			}
			columns := width()
			if columns <= 0 {
				columns = 80
			}
			show := w.line
			if isTerminal {
				show = w.bars
			}
			if err := show(st, columns); err != nil {
				return fmt.Errorf("write progress: %w", err)
			}
		}
	}
}

// A watcher remembers what it wrote last.
type watcher struct {
	out   io.Writer
	theme *theme
	drawn int // lines on the terminal

	states string
	wrote  time.Time
}

// bars draws the run over what was drawn before, with one write a frame.
func (w *watcher) bars(st progress.Status, columns int) error {
	// A line that fills the last column would wrap on some terminals.
	lines := strings.Split(runScreen(st, w.theme, columns-1), "\n")
	var frame bytes.Buffer
	if w.drawn > 0 {
		fmt.Fprintf(&frame, "\x1b[%dA", w.drawn)
	}
	for _, l := range lines {
		frame.WriteString("\r" + strings.TrimRight(l, " ") + "\x1b[K\n")
	}
	frame.WriteString("\x1b[J")
	w.drawn = len(lines)
	_, err := w.out.Write(frame.Bytes())
	return err
}

// running returns the VMs that the run is about: those with a point under way,
// or that just ended.
func running(st progress.Status) []progress.VM {
	var out []progress.VM
	for _, vm := range st.VMs {
		if vm.Point != "" || len(vm.Disks) > 0 {
			out = append(out, vm)
		}
	}
	return out
}

// runScreen draws a line for each link and the bars of all VMs under way. If
// these are too many, disks that are complete are left out first.
func runScreen(st progress.Status, t *theme, columns int) string {
	vms := running(st)
	h, longest := len(st.Links), 0
	for _, vm := range vms {
		h += 1 + len(vm.Disks)
		for _, d := range vm.Disks {
			longest = max(longest, width(d.Disk))
		}
	}
	over := max(0, h-maxBars)
	c := newCanvas(t, max(20, columns), max(1, min(h, maxBars+1)))
	y := 0
	m := model{theme: t, status: st}
	for _, l := range worstLinks(st.Links) {
		line := m.linkLine(c, l)
		if l.State == progress.LinkRedial && l.Because != "" {
			line = append(line, span{": " + l.Because, of(faint)})
		}
		c.line(0, y, c.w, line...)
		y++
	}
	k := barColumns(c.w, longest)
	hidden := 0
	for _, vm := range vms {
		drawRunVM(c, y, st, vm)
		y++
		for _, d := range vm.Disks {
			if hidden < over && ended(d.State) {
				hidden++
				continue
			}
			drawRunDisk(c, y, k, d)
			y++
		}
	}
	if over > 0 {
		c.clear(rect{0, c.h - 1, c.w, 1})
		c.put(0, c.h-1, c.w, fmt.Sprintf("and %d more", over), of(faint))
	}
	return c.String()
}

func drawRunVM(c *canvas, y int, st progress.Status, vm progress.VM) {
	sign, tone := c.state(vm.State)
	spans := []span{{vmName(st, vm), of(plain, bold)}, {"  " + sign + " " + vm.State, of(tone)}}
	if vm.Point != "" {
		spans = append(spans, span{"  point " + vm.Point, of(faint)})
	}
	if vm.Because != "" {
		spans = append(spans, span{"  " + vm.Because, of(tone)})
	}
	c.line(0, y, c.w, spans...)
}

func drawRunDisk(c *canvas, y int, k columns, d progress.Disk) {
	sign, tone := c.state(d.State)
	c.put(2, y, k.name, d.Disk, of(plain))
	c.put(2+k.name+gap, y, k.state, sign+" "+d.State, of(tone))
	drawNumbers(c, 2+k.name+gap+k.state+gap, y, k, numbers{
		done: durable(d), sent: sent(d), size: d.VirtualSize, wire: d.WireRate, eta: d.ETA, tone: tone, moves: moves(d.State),
	})
}

// barColumns shares out the columns of a run's bars.
func barColumns(w, name int) columns {
	k := columns{name: max(4, min(name, 24)), state: 13, percent: 5, durable: 9, wire: 10, eta: 6}
	used := 2
	for _, n := range []int{k.name, k.state, k.percent, k.durable, k.wire, k.eta} {
		used += n + gap
	}
	k.bar = max(0, min(w-used, 40))
	return k
}

// line writes one line on the run, if one is due.
func (w *watcher) line(st progress.Status, _ int) error {
	var states, text strings.Builder
	for _, l := range worstLinks(st.Links) {
		fmt.Fprintf(&states, "%s %s\n", l.Peer, l.State)
		fmt.Fprintf(&text, " link to %s %s", l.Peer, l.State)
		if l.State == progress.LinkRedial {
			fmt.Fprintf(&text, " (attempt %d of %d: %s)", l.Attempt, l.Attempts, l.Because)
		}
		text.WriteByte(';')
	}
	for _, vm := range running(st) {
		s := total(vm)
		fmt.Fprintf(&states, "%s %s\n", vm.VM, vm.State)
		fmt.Fprintf(&text, " %s %s %s, %s of %s durable", vmName(st, vm), vm.State, Percent(share(s.done, s.size)), Bytes(s.done), Bytes(s.size))
		if moves(vm.State) {
			fmt.Fprintf(&text, ", wire %s, ETA %s", Rate(s.wire), ETA(s.eta))
		}
		if vm.Because != "" {
			fmt.Fprintf(&text, " (%s)", vm.Because)
		}
		text.WriteByte(';')
	}
	if text.Len() == 0 || states.String() == w.states && st.Time.Sub(w.wrote) < lineEvery {
		return nil
	}
	w.states, w.wrote = states.String(), st.Time
	s := strings.TrimSuffix(text.String(), ";")
	_, err := fmt.Fprintf(w.out, "%s%s\n", st.Time.UTC().Format(time.RFC3339), fit(s, width(s), ""))
	return err
}
