package progress

import (
	"slices"
	"time"
)

// A History is the rates from the beginning of the run that is under way, or of the
// last one, however long it lasts: it gets coarser, not longer.
type History struct {
	// Begun is when the first sample begins; zero if there was no run yet.
	Begun time.Time `json:"begun"`
	// Step is how many seconds a sample covers.
	Step int64 `json:"step"`
	// Samples are means, oldest first.
	Samples []Sample `json:"samples"`
}

// maxHistory is how many samples a History has: some more than a wide terminal has
// columns, and little enough to send once a second.
const maxHistory = 240

// A recorder makes a History out of one sample a second.
type recorder struct {
	history History
	running bool
	sum     Sample // of the step that is not complete
	seconds int64  // that sum covers
}

// add notes one second that ended now. A run begins when something is under way
// and nothing was; what comes between two runs is not recorded.
func (r *recorder) add(s Sample, underWay bool, now time.Time) {
	if underWay && !r.running {
		*r = recorder{history: History{Begun: now.Add(-time.Second), Step: 1}}
	}
	r.running = underWay
	if !underWay {
		return
	}
	r.sum.Wire += s.Wire
	r.sum.Data += s.Data
	if r.seconds++; r.seconds < r.history.Step {
		return
	}
	if len(r.history.Samples) == maxHistory {
		r.halve()
		if r.seconds < r.history.Step {
			return
		}
	}
	n := float64(r.seconds)
	r.history.Samples = append(r.history.Samples, Sample{Wire: r.sum.Wire / n, Data: r.sum.Data / n})
	r.sum, r.seconds = Sample{}, 0
}

// halve makes one sample of two, each of which covers twice the time.
func (r *recorder) halve() {
	h := &r.history
	for i := range len(h.Samples) / 2 {
		a, b := h.Samples[2*i], h.Samples[2*i+1]
		h.Samples[i] = Sample{Wire: (a.Wire + b.Wire) / 2, Data: (a.Data + b.Data) / 2}
	}
	h.Samples = h.Samples[:len(h.Samples)/2]
	h.Step *= 2
}

// copy returns the history as it is now.
func (r *recorder) copy() History {
	h := r.history
	h.Samples = append([]Sample{}, h.Samples...)
	return h
}

// underWay reports whether any VM has a point that a run works on.
func underWay(vms []VM) bool {
	return slices.ContainsFunc(vms, func(v VM) bool {
		switch v.State {
		case Verifying, Sending, Receiving, Stalled, Complete:
			return true
		}
		return false
	})
}
