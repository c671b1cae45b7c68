package progress

import (
	"testing"
	"time"
)

func TestHistoryOfALongRun(t *testing.T) {
	var r recorder
	start := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	const seconds = 10*maxHistory + 7
	for i := range seconds {
		wire := 100.0
		if i < seconds/2 {
			wire = 300
		}
		r.add(Sample{Wire: wire, Data: 2 * wire}, true, start.Add(time.Duration(i+1)*time.Second))
	}
	h := r.copy()
	if !h.Begun.Equal(start) || h.Step != 16 || int64(len(h.Samples)) != seconds/h.Step {
		t.Fatalf("begun %v, %d samples of %d s; want %v, %d of 16 s", h.Begun, len(h.Samples), h.Step, start, seconds/16)
	}
	if first, last := h.Samples[0], h.Samples[len(h.Samples)-1]; first != (Sample{300, 600}) || last != (Sample{100, 200}) {
		t.Errorf("the first sample is %v and the last %v, want 300/600 and 100/200", first, last)
	}
}

func TestHistoryBeginsWithARun(t *testing.T) {
	var r recorder
	at := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	second := func(wire float64, underWay bool) {
		at = at.Add(time.Second)
		r.add(Sample{Wire: wire}, underWay, at)
	}
	second(0, false)
	if h := r.copy(); !h.Begun.IsZero() || len(h.Samples) != 0 {
		t.Errorf("before the first run: %+v", h)
	}
	second(1, true)
	second(2, true)
	second(0, false)
	if h := r.copy(); len(h.Samples) != 2 {
		t.Errorf("%d samples after a run of 2 s", len(h.Samples))
	}
	begun := at
	second(3, true)
	if h := r.copy(); !h.Begun.Equal(begun) || len(h.Samples) != 1 || h.Samples[0].Wire != 3 {
		t.Errorf("the second run began at %v with %v, want %v and 3", h.Begun, h.Samples, begun)
	}
}
