package main

import (
	"fmt"
	"strings"
)

const tableHead = `| what happens | stall, s | after the return, s | sent twice, MiB | migrations | reattaches | redials | TLS resumed | 0-RTT | goal | met |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
`

// tableRow writes the medians and extremes of a scenario, and says whether the
// medians meet its goals.
func tableRow(s scenario, all []measure) (line string, met bool) {
	of := func(value func(measure) float64) spread {
		var values []float64
		for _, m := range all {
			values = append(values, value(m))
		}
		return spreadOf(values)
	}
	count := func(value func(measure) int) string {
		c := of(func(m measure) float64 { return float64(value(m)) })
		if c.least == c.most {
			return fmt.Sprint(c.median)
		}
		return fmt.Sprintf("%.0f (%.0f to %.0f)", c.median, c.least, c.most)
	}
	back := "—"
	if b := of(revival); b.most > 0 {
		back = b.String()
	}
	twice := "0"
	if r := of(func(m measure) float64 { return float64(m.resent) / (1 << 20) }); r.most > 0 {
		twice = r.String()
	}
	met = true
	var goals []string
	for _, g := range s.goals {
		goals = append(goals, g.text)
		met = met && of(g.of).median <= g.limit
	}
	cells := []string{s.title, of(stall).String(), back, twice,
		count(func(m measure) int { return m.Migrations }), count(func(m measure) int { return m.Reattaches }),
		count(func(m measure) int { return m.Redials }), count(func(m measure) int { return m.ResumedTLS }),
		count(func(m measure) int { return m.Used0RTT }), strings.Join(goals, ", "), yes(met)}
	return "| " + strings.Join(cells, " | ") + " |", met
}

func yes(met bool) string {
	if met {
		return "yes"
	}
	return "**no**"
}
