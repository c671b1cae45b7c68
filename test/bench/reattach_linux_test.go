package main

import (
	"strings"
	"testing"
	"time"

	"wanrep/replicate/progress"
)

func TestMeter(t *testing.T) {
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	m := &meter{}
	for _, ms := range []int{100, 200, 250, 900, 950, 5000} {
		m.grew = append(m.grew, at(ms))
	}
	tests := []struct {
		name               string
		from, to           int
		longest, firstNext time.Duration
	}{
		{"from the event to the next content", 210, 250, 40 * time.Millisecond, 40 * time.Millisecond},
		{"a gap that begins later", 150, 900, 650 * time.Millisecond, 50 * time.Millisecond},
		{"a gap that ends later", 910, 1000, 4050 * time.Millisecond, 40 * time.Millisecond},
		{"the first gap is the longest", 910, 940, 40 * time.Millisecond, 40 * time.Millisecond},
		{"nothing came any more", 6000, 7000, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := m.longestGap(at(test.from), at(test.to)); got != test.longest {
				t.Errorf("longest gap %v, want %v", got, test.longest)
			}
			if got := m.firstAfter(at(test.from)); got != test.firstNext {
				t.Errorf("first content after %v, want %v", got, test.firstNext)
			}
		})
	}
}

func TestTableRow(t *testing.T) {
	s := scenario{title: "a cut", goals: []goal{stallWithin(1), nothingTwice}}
	moved := progress.LinkTotals{Migrations: 1}
	good := []measure{{stall: 2, LinkTotals: moved}, {stall: 0.5, LinkTotals: moved}, {stall: 0.25}}
	line, met := tableRow(s, good)
	const want = "| a cut | 0.50 (0.25 to 2.00) | — | 0 | 1 (0 to 1) | 0 | 0 | 0 | 0 | stall ≤ 1 s, nothing sent twice | yes |"
	if line != want || !met {
		t.Errorf("got  %s, %v\nwant %s, true", line, met, want)
	}
	bad := []measure{{resent: 1 << 20}, {resent: 2 << 20}, {}}
	if line, met := tableRow(s, bad); met || !strings.Contains(line, "| 1.00 (0.00 to 2.00) |") || !strings.HasSuffix(line, "| **no** |") {
		t.Errorf("a missed goal gives %v and %s", met, line)
	}
}
