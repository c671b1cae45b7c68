package tui

import (
	"context"
	"errors"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"wanrep/replicate/progress"
)

const (
	// redrawEvery is the time between two questions and so between two frames:
	// over a thin line a frame of a large terminal is some 30 KB.
	redrawEvery = time.Second
	// answerWithin is how long the appliance may take to answer.
	answerWithin = 3 * time.Second
)

// A tick is sent once a second.
type tick time.Time

// An answer is what came back from the appliance.
type answer struct {
	status progress.Status
	err    error
	at     time.Time
}

// An outcome is how an Action ended.
type outcome struct {
	label string
	err   error
	at    time.Time
}

// fetcher returns a function that asks s once.
func fetcher(ctx context.Context, s Source) func() answer {
	return func() answer {
		ctx, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		st, err := s.Status(ctx)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = errSilent
		}
		return answer{status: st, err: err, at: time.Now()}
	}
}

var errSilent = errors.New("no answer within " + Duration(answerWithin))

func nextTick() tea.Cmd {
	return tea.Tick(redrawEvery, func(t time.Time) tea.Msg { return tick(t) })
}

// Init asks at once and starts the clock.
func (m model) Init() tea.Cmd {
	return tea.Batch(func() tea.Msg { return tick(time.Now()) }, tea.SetWindowTitle("wanrep top"))
}

// Update returns what is known after a message, and what to do next.
func (m model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tick:
		return m.ticked(time.Time(msg))
	case answer:
		return m.answer(msg), nil
	case pointsAnswer:
		return m.answerPoints(msg), nil
	case copied:
		return m.tellCopied(msg), nil
	case outcome:
		m.toast = toast{text: msg.label + ": done", until: msg.at.Add(toastLasts)}
		if msg.err != nil {
			m.toast = toast{text: msg.label + ": " + msg.err.Error(), isErr: true}
		}
	case tea.KeyMsg:
		return m.keys(msg)
	}
	return m, nil
}

// keys does what a message's keys are for. Over a slow line several keys come as
// one message. What is pasted was not meant as keys.
func (m model) keys(msg tea.KeyMsg) (tea.Model, tea.Cmd) {
	if m.typing || msg.Type != tea.KeyRunes || len(msg.Runes) == 1 {
		return m.pressed(msg)
	}
	if msg.Paste {
		return m, nil
	}
	var all []tea.Cmd
	for _, r := range msg.Runes {
		next, cmd := m.pressed(tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{r}, Alt: msg.Alt})
		m = next.(model)
		all = append(all, cmd)
	}
	return m, tea.Batch(all...)
}

// ticked asks the appliance unless a question is still under way.
func (m model) ticked(at time.Time) (tea.Model, tea.Cmd) {
	if !m.toast.isErr && at.After(m.toast.until) {
		m.toast = toast{}
	}
	if m.asking {
		m.clock = at
		return m, nextTick()
	}
	if m.script != nil && !m.frozen {
		m.lines = m.script()
	}
	m.asking = true
	fetch, points := m.fetch, tea.Cmd(nil)
	if m.pointsDue(at) {
		m.clock = at
		m, points = m.askPoints()
	}
	return m, tea.Batch(nextTick(), func() tea.Msg { return fetch() }, points)
}

// answer takes over what the appliance said, or that it said nothing. A frozen
// screen keeps what it shows.
func (m model) answer(a answer) model {
	m.asking = false
	m.clock = a.at
	if a.err != nil {
		if m.gone == nil {
			m.goneSince = a.at
		}
		m.gone = a.err
		return m
	}
	m.gone = nil
	if m.frozen && m.known() {
		return m
	}
	m.status, m.answered = a.status, a.at
	return m
}

// act starts an Action in the background.
func (m model) act(a Action) (tea.Model, tea.Cmd) {
	m.toast = toast{text: a.Label + " " + m.theme.glyphs.cut, until: m.clock.Add(toastLasts)}
	work := m.work
	return m, func() tea.Msg {
		err := a.Do(work)
		return outcome{label: a.Label, err: err, at: time.Now()}
	}
}
