package tui

import (
	"slices"
	"testing"

	"wanrep/replicate/progress"
)

// A second later each column of the graph but the newest is as it was, further
// to the left or in the same place.
func TestGraphDoesNotFlicker(t *testing.T) {
	samples := branch(t).Samples
	for _, seconds := range []int64{60, 120, 300} {
		for _, w := range []int{1, 30, 56, 105, 300, 500} {
			before := buckets(samples[:299], 1000, seconds, w)
			after := buckets(samples, 1001, seconds, w)
			if len(after) != w {
				t.Errorf("%d columns for a width of %d", len(after), w)
			}
			kept := 0
			for _, s := range after {
				if slices.Contains(before, s) {
					kept++
				}
			}
			// The column under way and those that the new second made.
			if fresh := w/int(seconds) + 2; kept < len(after)-fresh {
				t.Errorf("%d seconds in %d columns: only %d columns stay", seconds, w, kept)
			}
		}
	}
}

func TestBuckets(t *testing.T) {
	s := func(wire ...float64) []progress.Sample {
		var out []progress.Sample
		for _, w := range wire {
			out = append(out, progress.Sample{Wire: w})
		}
		return out
	}
	tests := []struct {
		name    string
		samples []progress.Sample
		now     int64
		w       int
		want    []progress.Sample
	}{
		{"none", nil, 99, 60, nil},
		{"no room", s(1), 99, 0, nil},
		{"a column a second", s(1, 2, 3), 99, 60, s(1, 2, 3)},
		{"two seconds a column", s(1, 3, 5, 9), 99, 30, s(2, 7)},
		{"half a column", s(1, 3, 5), 98, 30, s(2, 5)},
		{"two columns a second", s(1, 3), 99, 120, s(1, 1, 3, 3)},
		{"more than there is room for", make([]progress.Sample, 90), 99, 60, make([]progress.Sample, 60)},
	}
	for _, tt := range tests {
		if got := buckets(tt.samples, tt.now, 60, tt.w); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestRoundUp(t *testing.T) {
	for v, want := range map[float64]float64{0: 1000, 1000: 1000, 1001: 1500, 52e6: 60e6, 60e6: 60e6, 81e6: 100e6, 2.2e9: 3e9} {
		if got := roundUp(v); got != want {
			t.Errorf("roundUp(%g) = %g, want %g", v, got, want)
		}
	}
}
