package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWanRows(t *testing.T) {
	at := func(rates ...float64) (all []taken) {
		for _, mbit := range rates {
			all = append(all, taken{seconds: 800 / mbit, rate: mbit * 1e6 / 8, sent: 1.1})
		}
		return all
	}
	lossy := route{title: "a line", goal: 1.1}
	whole, changed := works[0], works[2]
	tests := []struct {
		name string
		work work
		all  []result
		row  int
		want string // the end of the row
		miss int
	}{
		{"met", whole, []result{{"wanrep", at(88, 80, 90)}, {bbr, at(80, 80, 80)}}, 0, "| ≥ 1.1 of BBR's, each run ≥ 0.88 | yes |", 0},
		{"the median", whole, []result{{"wanrep", at(87, 80, 90)}, {bbr, at(80, 80, 80)}}, 0, "| **no** |", 1},
		{"one run", whole, []result{{"wanrep", at(90, 70, 90)}, {bbr, at(80, 80, 80)}}, 0, "| **no** |", 1},
		{"the other tool has none", whole, []result{{"wanrep", at(80)}, {bbr, at(80)}}, 1, "| — | — |", 1},
		{"nothing to compare with", whole, []result{{"wanrep", at(1)}}, 0, "| — | — |", 0},
		{"half of rsync's time", changed, []result{{"wanrep", at(80)}, {"rsync", at(40)}}, 0, "| ≤ 0.5 of rsync's time, no more sent | yes |", 0},
		{"more of rsync's time", changed, []result{{"wanrep", at(80)}, {"rsync", at(41)}}, 0, "| **no** |", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			missed := printRows(&out, lossy, tt.work, tt.all)
			row := strings.Split(out.String(), "\n")[tt.row]
			if !strings.HasSuffix(row, tt.want) || missed != tt.miss {
				t.Errorf("%d rows missed a goal, and row %d is\n%s\nwant %d, ending in %s", missed, tt.row, row, tt.miss, tt.want)
			}
		})
	}
}

func TestUnfinishedIsMarked(t *testing.T) {
	var out strings.Builder
	printRows(&out, route{title: "a line"}, works[0], []result{{"scp", []taken{{seconds: 1, rate: 1e6}, {seconds: 9, rate: 1e5, unfinished: true}}}})
	if !strings.Contains(out.String(), "| ≤ 8.0 (0.8 to 8.0) |") {
		t.Error(out.String())
	}
}

func TestSame(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	long := strings.Repeat("x", 1<<20)
	tests := []struct {
		name, one, other string
		same             bool
	}{
		{"equal", long + "y", long + "y", true},
		{"equal to the piece", long, long, true},
		{"another end", long + "y", long + "z", false},
		{"shorter", long, long + "y", false},
		{"empty", "", long, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := same(write("one", tt.one), write("other", tt.other)); (err == nil) != tt.same {
				t.Errorf("same says %v", err)
			}
		})
	}
}

func TestChooseRoutes(t *testing.T) {
	tests := []struct {
		list  string
		lines int // 0 for an error
	}{
		{"all", len(routes)}, {"lan,lte", 2}, {"wan-lossy", 6}, {"wan-lossy-0.5", 1}, {"moon", 0}, {"", 0},
	}
	for _, tt := range tests {
		chosen, err := chooseRoutes(tt.list)
		if len(chosen) != tt.lines || (err != nil) != (tt.lines == 0) {
			t.Errorf("chooseRoutes(%q) gives %d lines and %v, want %d", tt.list, len(chosen), err, tt.lines)
		}
	}
}
