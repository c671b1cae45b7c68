package main

import (
	"sync"
	"time"

	"wanrep/tui"
)

// A demoStep is one thing that the demo did, with what it measured.
type demoStep struct {
	Step string `json:"step"`
	Text string `json:"text"`
	// Brief is Text for the narrow script pane.
	Brief string  `json:"-"`
	OK    bool    `json:"ok"`
	At    float64 `json:"at"`   // seconds since the demo began
	Took  float64 `json:"took"` // seconds
	// Measured are the numbers in Text, in seconds and bytes.
	Measured map[string]float64 `json:"measured,omitempty"`
}

// A demoLog is what was done so far and what is being done. The terminal UI
// reads it while the script goes on.
type demoLog struct {
	began time.Time
	said  func(demoStep) // called for each finished step

	mu    sync.Mutex
	steps []demoStep
	doing string
	since time.Time
}

// do says what is done now. The step that it belongs to began with the first
// such text after the step before.
func (l *demoLog) do(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.doing == "" {
		l.since = time.Now()
	}
	l.doing = text
}

// done ends the step.
func (l *demoLog) done(s demoStep) {
	s.OK = true
	l.finish(s)
}

// failed ends it as one that did not do what it should.
func (l *demoLog) failed(err error) {
	l.finish(demoStep{Step: "failed", Text: err.Error(), Brief: err.Error()})
}

func (l *demoLog) finish(s demoStep) {
	l.mu.Lock()
	s.At, s.Took = l.since.Sub(l.began).Seconds(), time.Since(l.since).Seconds()
	l.steps = append(l.steps, s)
	l.doing, l.since = "", time.Now()
	l.mu.Unlock()
	l.said(s)
}

func (l *demoLog) all() []demoStep {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]demoStep{}, l.steps...)
}

// lines are the log for the script pane.
func (l *demoLog) lines() []tui.ScriptLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []tui.ScriptLine
	for _, s := range l.steps {
		state := tui.Done
		if !s.OK {
			state = tui.Failed
		}
		lines = append(lines, tui.ScriptLine{State: state, Text: s.Brief})
	}
	if l.doing != "" {
		lines = append(lines, tui.ScriptLine{State: tui.Running, Text: l.doing})
	}
	return lines
}
