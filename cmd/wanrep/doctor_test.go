package main

import (
	"strings"
	"testing"
	"time"
)

func TestDoctorsJudgement(t *testing.T) {
	tests := []struct {
		name string
		got  finding
		want string // the state
		text string
		hint string
	}{
		{"clocks agree", clockFinding("paris", -30*time.Millisecond, 80*time.Millisecond), findingOK, "agrees with paris to 40 ms", ""},
		{"a slow answer proves little", clockFinding("paris", 5*time.Second, 9*time.Second), findingOK, "agrees", ""},
		{"a clock is off", clockFinding("paris", 90*time.Second, 0), findingWarning, "paris is 1m30s ahead of this machine", setClock},
		{"a clock is wrong", clockFinding("paris", -2*time.Hour, 0), findingFailed, "paris is 2h00m behind this machine", setClock},
		{"small buffers", bufferFinding(212992, "sudo sysctl -w net.core.rmem_max=%d"), findingWarning, "208.0 KiB at most, 7.0 MiB wanted", "sudo sysctl -w net.core.rmem_max=7340032"},
		{"large buffers", bufferFinding(7<<20, "x%d"), findingOK, "7.0 MiB", ""},
		{"a roomy store", roomFinding("/srv", 100<<30), findingOK, "/srv, 100.0 GiB free", ""},
		{"a narrow store", roomFinding("/srv", 5<<30), findingWarning, "only 5.0 GiB free", "df -h " + quoted("/srv")},
		{"a full store", roomFinding("/srv", 5<<20), findingFailed, "only 5.0 MiB free", "df -h " + quoted("/srv")},
	}
	for _, tt := range tests {
		if tt.got.State != tt.want || !strings.Contains(tt.got.Text, tt.text) || !strings.Contains(tt.got.Hint, tt.hint) {
			t.Errorf("%s: got %+v; want %s, with %q and %q", tt.name, tt.got, tt.want, tt.text, tt.hint)
		}
	}
}
