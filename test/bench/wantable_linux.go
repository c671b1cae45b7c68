package main

import (
	"fmt"
	"io"
	"strings"
)

const (
	wanHead = `| line and work | with | time, s | goodput, Mbit/s | of BBR's | time of rsync's | sent : content | CPU, s/GB | memory, MiB | goal | met |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
`
	wanFoot = `
Medians, in parentheses the extremes. Time is from the start of the process to its end,
and goodput the content over it, except that of iperf3, which is over the time without
connecting. A ratio is to the same round. Sent are IP packets that left the source, CPU
is of both ends, memory the most at the source and at the target. ≤ marks transfers that
were ended because they took too long. SSH and NBD run over BBR. All run with real-time
priority, on memory instead of disks, and everything was compared byte by byte.
`
	// everyRun is the part of a goal that each run has to reach.
	everyRun = 0.8
	// rsyncGoal is the part of rsync's time that is enough where there is less to
	// carry than the disk.
	rsyncGoal = 0.5
)

// printRows prints what was measured on a line, and returns how many rows missed a goal.
func printRows(out io.Writer, r route, w work, all []result) (missed int) {
	of := func(name string) []taken {
		for _, one := range all {
			if one.tool == name {
				return one.taken
			}
		}
		return nil
	}
	for _, one := range all {
		row := wanRow{result: one, bbr: of(bbr), rsync: of("rsync")}
		goal, met := row.judge(r, w)
		if goal != "" && !met {
			missed++
		}
		cells := append([]string{r.title + "; " + w.title, one.tool}, row.cells()...)
		if goal == "" {
			cells = append(cells, "—", "—")
		} else {
			cells = append(cells, goal, yes(met))
		}
		fmt.Fprintln(out, "| "+strings.Join(cells, " | ")+" |")
	}
	return missed
}

// A wanRow is what one tool took, beside those that it is compared with.
type wanRow struct {
	result
	bbr, rsync []taken
}

// of gathers a value of all runs.
func (r wanRow) of(value func(taken) float64) spread {
	var values []float64
	for _, m := range r.taken {
		values = append(values, value(m))
	}
	return spreadOf(values)
}

// ratios compares a value with that of another tool in the same round.
func (r wanRow) ratios(to []taken, value func(taken) float64) (s spread, ok bool) {
	var values []float64
	for i := range min(len(to), len(r.taken)) {
		values = append(values, value(r.taken[i])/value(to[i]))
	}
	if len(values) == 0 {
		return s, false
	}
	return spreadOf(values), true
}

func rateOf(m taken) float64    { return m.rate * 8 / 1e6 }
func secondsOf(m taken) float64 { return m.seconds }
func sentOf(m taken) float64    { return m.sent }

func (r wanRow) cells() []string {
	ratio := func(to []taken, value func(taken) float64) string {
		if s, ok := r.ratios(to, value); ok {
			return s.String()
		}
		return "—"
	}
	goodput := r.of(rateOf)
	text := fmt.Sprintf("%.1f (%.1f to %.1f)", goodput.median, goodput.least, goodput.most)
	for _, m := range r.taken {
		if m.unfinished {
			text = "≤ " + text
			break
		}
	}
	time := r.of(secondsOf).String()
	if strings.HasPrefix(r.tool, "iperf3") {
		time = "—"
	}
	return []string{time, text, ratio(r.bbr, rateOf), ratio(r.rsync, secondsOf), fmt.Sprintf("%.3f", r.of(sentOf).median),
		fmt.Sprintf("%.1f", r.of(func(m taken) float64 { return m.cpu }).median),
		fmt.Sprintf("%.0f, %.0f", r.of(func(m taken) float64 { return m.atSource }).most, r.of(func(m taken) float64 { return m.atTarget }).most)}
}

// judge returns the goal of a row, and whether it was met; no text if there is none.
func (r wanRow) judge(route route, w work) (goal string, met bool) {
	if r.tool != "wanrep" {
		return "", false
	}
	if w.name == workWhole {
		ratios, ok := r.ratios(r.bbr, rateOf)
		if !ok || route.goal == 0 {
			return "", false
		}
		return fmt.Sprintf("≥ %g of BBR's, each run ≥ %.2g", route.goal, everyRun*route.goal),
			ratios.median >= route.goal && ratios.least >= everyRun*route.goal
	}
	ratios, ok := r.ratios(r.rsync, secondsOf)
	if !ok || w.cut {
		return "", false
	}
	goal, met = fmt.Sprintf("≤ %g of rsync's time", rsyncGoal), ratios.median <= rsyncGoal
	if w.changed {
		sent, _ := r.ratios(r.rsync, sentOf)
		return goal + ", no more sent", met && sent.median <= 1
	}
	return goal, met
}
