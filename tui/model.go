package tui

import (
	"context"
	"io"
	"time"

	"wanrep/replicate/progress"
)

// A pane is a part of the screen that keys can go to.
type pane int

const (
	paneVMs pane = iota
	paneLink
	paneGraph
	paneEvents
	panePipeline
	paneScript
)

// A model is all that the UI knows. Update makes the next one out of it and
// View draws it; neither looks at a clock, the environment or the network.
type model struct {
	theme  *theme
	width  int
	height int

	// status is the last answer, and answered when it came by the local clock.
	status   progress.Status
	answered time.Time
	// clock is the local time of the last tick or answer.
	clock time.Time
	// gone is why the appliance does not answer, since when, nil if it does.
	gone      error
	goneSince time.Time
	asking    bool // a question is under way

	focus    pane
	zoomed   bool // the focused pane, or the selected row, has the whole screen
	helping  bool
	frozen   bool
	wholeRun bool // the graph shows all of the run
	choice   rowKey
	folded   map[rowKey]bool
	order    order
	reverse  bool
	filter   string
	typing   bool // keys go into the filter
	scroll   int  // first event shown
	toast    toast
	quitting bool
	commands []command
	actions  func(progress.Status, progress.VM) []Action
	question *Action // waits for yes
	lines    []ScriptLine

	points pointsView

	fetch       func() answer                  // asks the appliance; called in the background
	fetchPoints func(progress.VM) pointsAnswer // asks for a VM's points; nil if nobody can
	clipboard   io.Writer                      // the terminal, which keeps a clipboard
	script      func() []ScriptLine            // nil without a script pane
	work        context.Context                // for actions; ends with the UI
}

// A toast is a message in the key line.
type toast struct {
	text  string
	isErr bool      // stays until esc
	until time.Time // by the local clock
}

const toastLasts = 4 * time.Second

func newModel(l look, actions func(progress.Status, progress.VM) []Action) model {
	return model{
		theme:    newTheme(l),
		folded:   map[rowKey]bool{},
		commands: commands(),
		actions:  actions,
		work:     context.Background(),
	}
}

// now is the time at the appliance: by its own clock in its last answer, and
// going on from there while it does not answer.
func (m model) now() time.Time {
	if m.frozen || m.clock.Before(m.answered) {
		return m.status.Time
	}
	if m.gone == nil {
		return m.status.Time
	}
	return m.status.Time.Add(m.clock.Sub(m.answered))
}

// known reports whether the appliance ever answered.
func (m model) known() bool { return !m.answered.IsZero() }

// panes returns the panes that are there, in the order of tab.
func (m model) panes() []pane {
	p := []pane{paneVMs, paneLink, paneGraph, paneEvents, panePipeline}
	if m.script != nil {
		p = append(p, paneScript)
	}
	return p
}

// applicable returns the actions that there are for what is selected.
func (m model) applicable() []Action {
	if m.actions == nil || !m.known() {
		return nil
	}
	var vm progress.VM
	if rows := m.rows(); len(rows) > 0 {
		vm = rows[m.selection(rows)].vm
	}
	return m.actions(m.status, vm)
}

// selection returns the index of the chosen row: the same VM or disk as before
// wherever it moved to, else its VM, else the first.
func (m model) selection(rows []row) int {
	vm := 0
	for i, r := range rows {
		if r.key() == m.choice {
			return i
		}
		if r.disk == nil && r.key() == (rowKey{source: m.choice.source, vm: m.choice.vm}) {
			vm = i
		}
	}
	return vm
}
