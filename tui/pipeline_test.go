package tui

import (
	"strings"
	"testing"

	"wanrep/replicate/progress"
)

// Each limit is said in words, and belongs to a stage that the pane shows.
func TestLimits(t *testing.T) {
	all := []string{
		progress.LimitRead, progress.LimitDigest, progress.LimitCompress, progress.LimitNetwork, progress.LimitReceiver,
		progress.LimitThrottle, progress.LimitLoss, progress.LimitWrite,
	}
	said := map[string]string{}
	for _, limit := range all {
		st := progress.Status{Pipeline: progress.Pipeline{Limit: limit}}
		text, stage := limits(st)
		if other, twice := said[text]; twice || !strings.HasPrefix(text, "the ") {
			t.Errorf("%s is said %q, as %q is", limit, text, other)
		}
		said[text] = limit
		known := stage == "write"
		for _, s := range stages(st) {
			known = known || s.name == stage
		}
		if !known {
			t.Errorf("%s belongs to the stage %q, which is not shown", limit, stage)
		}
	}
	if limitedBy(progress.Status{}) != nil {
		t.Error("something limits an idle appliance")
	}
}

// What a line was seen to carry is named as the limit while about that much goes over
// it, and not when it was seen while something held it up.
func TestLineRate(t *testing.T) {
	for wire, want := range map[float64]string{
		0.5e6: "the network", 0.9e6: "the line (8.0 Mbit/s)", 1.2e6: "the line (8.0 Mbit/s)", 9e6: "the network",
	} {
		st := progress.Status{Pipeline: progress.Pipeline{Limit: progress.LimitNetwork}, Links: []progress.Link{{State: progress.LinkUp, LineRate: 1e6}}}
		for range 10 {
			st.Samples = append(st.Samples, progress.Sample{Wire: wire})
		}
		if text, _ := limits(st); text != want {
			t.Errorf("%g bytes a second over a line of 1e6 are limited by %q, want %q", wire, text, want)
		}
	}
}
