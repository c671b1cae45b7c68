package tui

import (
	"math"
	"slices"
	"testing"
	"time"

	"wanrep/replicate/progress"
)

func TestAllowed(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "", -1: "", math.NaN(): "", 900: "15m", 5400: "90m", 14400: "4h", 129600: "36h", 604800: "7d", 90: "1m30s", 0.5: "0s",
	} {
		if got := allowed(seconds); got != want {
			t.Errorf("allowed(%v) = %q, want %q", seconds, got, want)
		}
	}
	if got := width(allowed(math.Inf(1))); got > 10 {
		t.Errorf("an endless RPO takes %d columns", got)
	}
}

// Worst first is by what a person must do something about.
func TestWorstFirst(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	vm := func(name, state string, lag time.Duration, rpo time.Duration, damage string) progress.VM {
		v := progress.VM{VM: name, State: state, RPO: rpo.Seconds(), Damage: damage}
		if lag > 0 {
			v.Newest = now.Add(-lag)
		}
		return v
	}
	want := []progress.VM{
		vm("damaged", progress.Committed, time.Minute, time.Hour, "a block differs"),
		vm("no point", progress.Sending, 0, time.Hour, ""),
		vm("ten times over", progress.Sending, 10*time.Hour, time.Hour, ""),
		vm("twice over", progress.Failed, 48*time.Hour, 24*time.Hour, ""),
		vm("failed", progress.Failed, time.Hour, 24*time.Hour, ""),
		vm("parked", progress.Parked, time.Hour, 24*time.Hour, ""),
		vm("sending, no point", progress.Sending, 0, 0, ""),
		vm("sending", progress.Sending, 72*time.Hour, 0, ""),
		vm("idle, half of its RPO", progress.Committed, 30*time.Minute, time.Hour, ""),
		vm("idle", progress.Committed, 2*time.Hour, 24*time.Hour, ""),
	}
	mixed := slices.Clone(want)
	slices.Reverse(mixed)
	for i, got := range sorted(mixed, byWorst, false, now) {
		if got.VM != want[i].VM {
			t.Errorf("place %d: got %q, want %q", i, got.VM, want[i].VM)
		}
	}
}

// What the first line says of the RPO must hold while nobody answers, too.
func TestLateWhileNobodyAnswers(t *testing.T) {
	taken := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	vm := progress.VM{Newest: taken, Lag: 3590, RPO: 3600}
	if late(vm, taken.Add(3590*time.Second)) || !late(vm, taken.Add(3610*time.Second)) {
		t.Error("a VM is late by its status and not by the time")
	}
}
