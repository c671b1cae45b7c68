package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wanrep/configs"
	"wanrep/quicx"
	"wanrep/replicate"
	"wanrep/replicate/control"
)

// Scripts tell by the exit code why a run failed, whether the running appliance
// made it or the command itself.
func TestExitCodesOfRuns(t *testing.T) {
	s := &sourceAppliance{cfg: &configs.Config{Jobs: []configs.Job{{Name: "nightly"}, {Name: "weekly"}}}}
	link := func(c quicx.Class) error { return fmt.Errorf("run: %w", &quicx.Error{Class: c}) }
	tests := []struct {
		name string
		err  error
		want int
		hint string
	}{
		{name: "disk", err: &replicate.DiskError{VM: "sql01", Disk: "os", Err: os.ErrPermission}, want: exitFailed},
		{name: "redial window spent", err: spentError{link(quicx.Spent)}, want: exitFailed},
		{name: "unknown job", err: fmt.Errorf("job: %w", replicate.ErrUnknownJob), want: exitUsage, hint: "nightly, weekly"},
		{name: "paused", err: fmt.Errorf("job: %w", replicate.ErrPaused), want: exitFailed, hint: "wanrep resume"},
		{name: "runs already", err: fmt.Errorf("VM: %w", replicate.ErrRunning), want: exitFailed, hint: "wanrep top"},
		{name: "not in the config", err: fmt.Errorf("job: %w", notPaired("paris")), want: exitNotPaired, hint: "wanrep pair offer"},
		{name: "another key", err: link(quicx.Auth), want: exitNotPaired},
		{name: "target full", err: &replicate.RefusedError{Code: "full", Text: "no space left"}, want: exitRefused, hint: "free space"},
		{name: "target busy", err: link(quicx.Refused), want: exitRefused},
		{name: "a newer process attached", err: fmt.Errorf("run: %w", &quicx.Error{Class: quicx.Ended, Code: quicx.CodeSuperseded}), want: exitRefused},
		{name: "no answer", err: link(quicx.Dropped), want: exitPeerUnreachable},
		{name: "interrupted", err: replicate.ErrInterrupted, want: exitInterrupted, hint: "the next run"},
		{name: "cancelled", err: context.Canceled, want: exitInterrupted, hint: "the next run"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := answered(s.explain(tt.err))
			code, text, hint := describe(nil, err, true)
			if code != tt.want || text != tt.err.Error() || !strings.Contains(hint, tt.hint) {
				t.Errorf("got %d, %q, %q; want %d, %q, with %q", code, text, hint, tt.want, tt.err, tt.hint)
			}
		})
	}
	if err := answered(s.explain(nil)); err != nil {
		t.Errorf("a run that went well: %v", err)
	}
	if code, _, _ := describe(nil, answered(&control.UnreachableError{Socket: "s", Err: os.ErrNotExist}), true); code != exitUnreachable {
		t.Errorf("no appliance: got %d, want %d", code, exitUnreachable)
	}
}

func TestDisksOfOddSizesAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd.img")
	if err := os.WriteFile(path, make([]byte, 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := openDisk(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "1000 bytes, which is no multiple") {
		t.Errorf("got %v, want a refusal that says why", err)
	}
	if _, _, err := openDisk(t.Context(), path+".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want os.ErrNotExist", err)
	}
}

func TestRPOOfAJob(t *testing.T) {
	for _, tt := range []struct {
		schedule string
		rpo      time.Duration
		want     time.Duration
	}{
		{"every 1h", 0, 2 * time.Hour},
		{"daily 22:00", 0, 48 * time.Hour},
		{"daily 22:00", 26 * time.Hour, 26 * time.Hour},
		{"manual", 0, 0},
		{"continuous", 15 * time.Minute, 15 * time.Minute},
	} {
		cfg := &configs.Config{Jobs: []configs.Job{{Schedule: tt.schedule, RPO: configs.Duration(tt.rpo)}}}
		jobs, err := jobsOf(cfg)
		if err != nil || jobs[0].RPO != tt.want {
			t.Errorf("%s with rpo %v: got %v, %v; want %v", tt.schedule, tt.rpo, jobs[0].RPO, err, tt.want)
		}
	}
}
