package tui

import (
	"math"
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

// A whole run fills the graph however short or long it was, and no number in it
// is lost or made up.
func TestStretch(t *testing.T) {
	samples := []progress.Sample{{Wire: 1, Data: 2}, {Wire: 3, Data: 4}, {Wire: 5, Data: math.NaN()}}
	for w, want := range map[int][]float64{
		0: nil, 1: {3}, 2: {1, 4}, 3: {1, 3, 5}, 6: {1, 1, 3, 3, 5, 5},
	} {
		var got []float64
		for _, s := range stretch(samples, w) {
			got = append(got, s.Wire)
			if !(s.Data >= 0) {
				t.Errorf("%d columns: data %v", w, s.Data)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d columns: got %v, want %v", w, got, want)
		}
	}
	if got := stretch(nil, 10); got != nil {
		t.Errorf("no samples make %v", got)
	}
}
