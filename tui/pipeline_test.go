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
