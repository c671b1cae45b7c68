package tui

import (
	"maps"
	"slices"
	"strconv"

	"github.com/charmbracelet/bubbles/key"
	tea "github.com/charmbracelet/bubbletea"
)

// A command is a key of the UI: what it is called in the help and what it does.
// The help and the key line are made from the same list that the keys go
// through, so they can't disagree.
type command struct {
	binding key.Binding
	short   string // for the key line; empty leaves it out there
	do      func(model) (tea.Model, tea.Cmd)
}

// maxFilter is how many characters a filter may have.
const maxFilter = 40

func bind(help, short string, do func(model) (tea.Model, tea.Cmd), name string, keys ...string) command {
	return command{key.NewBinding(key.WithKeys(keys...), key.WithHelp(name, help)), short, do}
}

// always makes a command out of a change that needs nothing done.
func always(change func(model) model) func(model) (tea.Model, tea.Cmd) {
	return func(m model) (tea.Model, tea.Cmd) { return change(m), nil }
}

func commands() []command {
	return []command{
		bind("one line up", "", always(func(m model) model { return m.move(-1) }), "up, k", "up", "k"),
		bind("one line down", "", always(func(m model) model { return m.move(1) }), "down, j", "down", "j"),
		bind("one page up", "", always(func(m model) model { return m.move(-pageRows) }), "pgup", "pgup", "ctrl+b"),
		bind("one page down", "", always(func(m model) model { return m.move(pageRows) }), "pgdn", "pgdown", "ctrl+f"),
		bind("first line", "", always(func(m model) model { return m.move(-farRows) }), "g, home", "g", "home"),
		bind("last line", "", always(func(m model) model { return m.move(farRows) }), "G, end", "G", "end"),
		bind("next pane", "pane", always(func(m model) model { return m.turn(1) }), "tab", "tab"),
		bind("previous pane", "", always(func(m model) model { return m.turn(-1) }), "shift+tab", "shift+tab"),
		bind("go to a pane", "", nil, "1 to 6", "1", "2", "3", "4", "5", "6"),
		bind("show in full", "detail", always(model.enter), "enter", "enter"),
		bind("back, or clear", "", always(model.back), "esc", "esc"),
		bind("fold a VM", "", always(model.fold), "space", " "),
		bind("filter, ! is not", "filter", always(startFilter), "/", "/"),
		bind("next order", "sort", always(nextOrder), "s", "s"),
		bind("reverse order", "", always(reverseOrder), "S", "S"),
		bind("restore points", "points", listPoints, "r", "r"),
		bind("5 min or whole run", "time", always(func(m model) model { m.wholeRun = !m.wholeRun; return m }), "t", "t"),
		bind("freeze, or go on", "freeze", always(freeze), "f, z", "f", "z"),
		bind("copy the row, JSON", "copy", copyRow, "y", "y"),
		bind("this help", "help", always(func(m model) model { m.helping = !m.helping; return m }), "?", "?"),
		bind("quit this UI", "quit", quit, "q, ctrl+c", "q", "ctrl+c"),
	}
}

const (
	pageRows = 10
	farRows  = 1 << 20
)

// pressed does what a key is for.
func (m model) pressed(msg tea.KeyMsg) (tea.Model, tea.Cmd) {
	if m.typing && msg.String() != "ctrl+c" {
		return m.typed(msg), nil
	}
	if m.question != nil && msg.String() != "ctrl+c" {
		return m.decided(msg.String() == yes)
	}
	if m.helping && msg.String() != "q" && msg.String() != "ctrl+c" {
		m.helping = false
		return m, nil
	}
	for _, a := range m.applicable() {
		if a.Key != msg.String() {
			continue
		}
		if a.Ask == "" {
			return m.act(a)
		}
		m.question = &a
		return m, nil
	}
	for _, c := range m.commands {
		if !key.Matches(msg, c.binding) {
			continue
		}
		if c.do == nil {
			return m.goTo(msg.String()), nil
		}
		return c.do(m)
	}
	return m, nil
}

// yes is the key that says yes to a question. No action has it: a key pressed twice
// by mistake must do nothing.
const yes = "y"

// decided does what was asked for, or not.
func (m model) decided(yes bool) (tea.Model, tea.Cmd) {
	a := *m.question
	m.question = nil
	if yes {
		return m.act(a)
	}
	m.toast = toast{text: a.Label + ": not done", until: m.clock.Add(toastLasts)}
	return m, nil
}

// typed puts a key into the filter.
func (m model) typed(msg tea.KeyMsg) model {
	switch msg.Type {
	case tea.KeyEnter:
		m.typing = false
	case tea.KeyEsc:
		m.typing, m.filter = false, ""
	case tea.KeyBackspace:
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	case tea.KeyRunes, tea.KeySpace:
		if r := append([]rune(m.filter), msg.Runes...); len(r) <= maxFilter {
			m.filter = string(r)
		}
	}
	return m
}

// move moves the selection, among the points where these are shown, or the events
// where these are in focus.
func (m model) move(by int) model {
	if m.points.open {
		return m.movePoint(by)
	}
	if m.focus == paneEvents {
		m.scroll = max(0, min(m.scroll+by, len(m.status.Events)-1))
		return m
	}
	if m.focus != paneVMs {
		return m
	}
	rows := m.rows()
	if len(rows) == 0 {
		return m
	}
	m.choice = rows[max(0, min(m.selection(rows)+by, len(rows)-1))].key()
	return m
}

// turn moves the focus by so many panes.
func (m model) turn(by int) model {
	m.points.open = false
	p := m.panes()
	m.focus = p[(slices.Index(p, m.focus)+by+len(p))%len(p)]
	return m
}

// goTo moves the focus to the pane with a number.
func (m model) goTo(number string) model {
	m.points.open = false
	p := m.panes()
	if n, err := strconv.Atoi(number); err == nil && n >= 1 && n <= len(p) {
		m.focus = p[n-1]
	}
	return m
}

func (m model) enter() model {
	if m.points.open {
		return m
	}
	m.zoomed = true
	if rows := m.rows(); m.focus == paneVMs && len(rows) > 0 {
		m.choice = rows[m.selection(rows)].key()
	}
	return m
}

// back undoes one thing: an error shown, then the points or the detail, then the
// filter.
func (m model) back() model {
	switch {
	case m.toast.text != "":
		m.toast = toast{}
	case m.points.open:
		m.points.open = false
	case m.zoomed:
		m.zoomed = false
	default:
		m.filter = ""
	}
	return m
}

func (m model) fold() model {
	rows := m.rows()
	if m.focus != paneVMs || len(rows) == 0 {
		return m
	}
	vm := vmKey(rows[m.selection(rows)].vm)
	folded := map[rowKey]bool{}
	maps.Copy(folded, m.folded)
	folded[vm] = !folded[vm]
	m.folded, m.choice = folded, vm
	return m
}

func startFilter(m model) model {
	m.typing, m.focus, m.zoomed, m.points.open = true, paneVMs, false, false
	return m
}

func nextOrder(m model) model {
	m.order = (m.order + 1) % orders
	return m
}

func reverseOrder(m model) model {
	m.reverse = !m.reverse
	return m
}

func freeze(m model) model {
	m.frozen = !m.frozen
	return m
}

// quit leaves an empty screen behind: after a change of size tmux 3.3 shows the
// last one of a program below the shell's lines.
func quit(m model) (tea.Model, tea.Cmd) {
	m.quitting = true
	return m, tea.Quit
}
