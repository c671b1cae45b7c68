package tui

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"wanrep/replicate/progress"
)

var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestTable(t *testing.T) {
	tests := []struct {
		name   string
		status func(progress.Status) progress.Status
		width  int
	}{
		{name: "table", width: 0},
		{name: "table-80", width: 80},
		{name: "table-redial", status: lost, width: 132},
		{name: "table-target", status: many, width: 132},
		{name: "table-over-rpo", status: overRPO, width: 100},
		{name: "table-store", status: target, width: 132},
		{name: "table-paused", status: paused, width: 80},
		{name: "table-by-hand", status: func(st progress.Status) progress.Status {
			st = idle(st)
			st.Jobs = append(st.Jobs, progress.Job{Job: "archive", Peer: "dr-paris", Schedule: "manual", State: jobIdle})
			st.Jobs[0].State, st.Jobs[0].Next = "running", time.Time{}
			return st
		}, width: 100},
		{name: "table-hostile", status: hostile, width: 100},
		{name: "table-empty", status: func(st progress.Status) progress.Status {
			return progress.Status{Role: "target", Name: "dr-paris", Version: "0.1.0", Time: st.Time}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := branch(t)
			if tt.status != nil {
				st = tt.status(st)
			}
			got := Table(st, tt.width, false)
			if strings.ContainsRune(got, '\x1b') {
				t.Error("escape sequences without colour")
			}
			for line := range strings.Lines(got) {
				if n := width(strings.TrimSuffix(line, "\n")); tt.width > 0 && n > tt.width {
					t.Errorf("a line of %d columns: %q", n, line)
				}
			}
			colored := Table(st, tt.width, true)
			if sgr.ReplaceAllString(colored, "") != got {
				t.Error("with colour the table says something else")
			}
			if len(st.VMs) > 0 && colored == got {
				t.Error("there is no colour")
			}
			golden(t, tt.name, got)
		})
	}
}
