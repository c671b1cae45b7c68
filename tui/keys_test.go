package tui

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"wanrep/replicate/progress"
)

// press sends keys by the names that bubbletea gives them, one after the other.
func press(t *testing.T, m model, keys ...string) (model, tea.Cmd) {
	t.Helper()
	types := map[string]tea.KeyType{
		"up": tea.KeyUp, "down": tea.KeyDown, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "home": tea.KeyHome, "end": tea.KeyEnd,
		"tab": tea.KeyTab, "shift+tab": tea.KeyShiftTab, "enter": tea.KeyEnter, "esc": tea.KeyEsc, "backspace": tea.KeyBackspace,
		"ctrl+c": tea.KeyCtrlC, "ctrl+b": tea.KeyCtrlB, "ctrl+f": tea.KeyCtrlF,
	}
	var cmd tea.Cmd
	for _, k := range keys {
		msg := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune(k)}
		if k == " " {
			msg = tea.KeyMsg{Type: tea.KeySpace, Runes: []rune(k)}
		}
		if kind, ok := types[k]; ok {
			msg = tea.KeyMsg{Type: kind}
		}
		if msg.String() != k {
			t.Fatalf("the test sends %q for the key %q", msg.String(), k)
		}
		next, c := m.Update(msg)
		m, cmd = next.(model), c
	}
	return m, cmd
}

// chosen returns the name of the selected row.
func chosen(m model) string {
	rows := m.rows()
	r := rows[m.selection(rows)]
	if r.disk != nil {
		return r.disk.Disk
	}
	return r.vm.VM
}

func quits(cmd tea.Cmd) bool {
	if cmd == nil {
		return false
	}
	_, ok := cmd().(tea.QuitMsg)
	return ok
}

// copies reports whether cmd puts the selected VM onto the clipboard.
func copies(m model, cmd tea.Cmd) bool {
	if cmd == nil {
		return false
	}
	done, ok := cmd().(copied)
	return ok && done.err == nil && strings.Contains(m.clipboard.(*bytes.Buffer).String(), "\x1b]52;c;")
}

// Each key of the help does what the help says. The list must name every key
// that the UI has.
func TestKeys(t *testing.T) {
	tests := []struct {
		keys   string // as the help names them
		before []string
		press  []string // each of them must do it
		want   func(m model, cmd tea.Cmd) bool
	}{
		{"up, k", []string{"G"}, []string{"up", "k"}, func(m model, _ tea.Cmd) bool { return chosen(m) == "file02-d" }},
		{"down, j", nil, []string{"down", "j"}, func(m model, _ tea.Cmd) bool { return chosen(m) == "web03-os" }},
		{"pgup", []string{"G"}, []string{"pgup", "ctrl+b"}, func(m model, _ tea.Cmd) bool { return chosen(m) == "web03" }},
		{"pgdn", nil, []string{"pgdown", "ctrl+f"}, func(m model, _ tea.Cmd) bool { return chosen(m) == "dc01" }},
		{"g, home", []string{"G"}, []string{"g", "home"}, func(m model, _ tea.Cmd) bool { return chosen(m) == "web03" }},
		{"G, end", nil, []string{"G", "end"}, func(m model, _ tea.Cmd) bool { return chosen(m) == "dc01" }},
		{"tab", nil, []string{"tab"}, func(m model, _ tea.Cmd) bool { return m.focus == paneLink }},
		{"shift+tab", nil, []string{"shift+tab"}, func(m model, _ tea.Cmd) bool { return m.focus == panePipeline }},
		{"1 to 6", nil, []string{"3"}, func(m model, _ tea.Cmd) bool { return m.focus == paneGraph }},
		{"enter", nil, []string{"enter"}, func(m model, _ tea.Cmd) bool { return m.zoomed && strings.Contains(render(m), "taken 2026-11-23") }},
		{"esc", []string{"enter"}, []string{"esc"}, func(m model, _ tea.Cmd) bool { return !m.zoomed }},
		{"space", nil, []string{" "}, func(m model, _ tea.Cmd) bool { return len(m.rows()) == 8 && chosen(m) == "web03" }},
		{"/", nil, []string{"/"}, func(m model, _ tea.Cmd) bool { return m.typing }},
		{"s", nil, []string{"s"}, func(m model, _ tea.Cmd) bool { return m.order == byAge }},
		{"S", nil, []string{"S"}, func(m model, _ tea.Cmd) bool { return m.rows()[0].vm.VM == "dc01" }},
		{"r", nil, []string{"r"}, func(m model, _ tea.Cmd) bool { return m.points.open }},
		{"t", nil, []string{"t"}, func(m model, _ tea.Cmd) bool { return m.wholeRun }},
		{"y", nil, []string{"y"}, copies},
		{"f, z", nil, []string{"f", "z"}, func(m model, _ tea.Cmd) bool { return m.frozen }},
		{"?", nil, []string{"?"}, func(m model, _ tea.Cmd) bool { return strings.Contains(render(m), "any key closes this") }},
		{"q, ctrl+c", nil, []string{"q", "ctrl+c"}, func(_ model, cmd tea.Cmd) bool { return quits(cmd) }},
	}
	var tested []string
	for _, tt := range tests {
		tested = append(tested, tt.keys)
		i := slices.IndexFunc(commands(), func(c command) bool { return c.binding.Help().Key == tt.keys })
		if i < 0 {
			t.Errorf("the help has no key %q", tt.keys)
			continue
		}
		for _, k := range tt.press {
			if !slices.Contains(commands()[i].binding.Keys(), k) {
				t.Errorf("%q is not bound to what the help calls %q", k, tt.keys)
			}
			m := showing(branch(t), 80, 24, unicodeLook)
			m.clipboard = &bytes.Buffer{}
			m, _ = press(t, m, tt.before...)
			if tt.want(m, nil) {
				t.Errorf("%q: the test holds before the key", k)
			}
			if m, cmd := press(t, m, k); !tt.want(m, cmd) {
				t.Errorf("%q does not do %q", k, commands()[i].binding.Help().Desc)
			}
		}
	}
	for _, c := range commands() {
		if h := c.binding.Help(); !slices.Contains(tested, h.Key) {
			t.Errorf("no test presses %q, %s", h.Key, h.Desc)
		}
	}
}

func TestFilter(t *testing.T) {
	tests := []struct {
		name string
		keys []string
		want []string
	}{
		{"a disk", []string{"/", "l", "o", "g", "enter"}, []string{"sql01", "sql01-log"}},
		{"a VM keeps its disks", []string{"/", "Q", "l", "enter"}, []string{"sql01", "sql01-os", "sql01-data", "sql01-log"}},
		{"a state", []string{"/", "c", "o", "m", "m", "enter"}, []string{"dc01"}},
		{"not", []string{"/", "!", "0", "3", "enter"}, []string{"sql01", "sql01-os", "sql01-data", "sql01-log", "file02", "file02-d", "dc01"}},
		{"erased", []string{"/", "l", "o", "x", "backspace", "g", "enter"}, []string{"sql01", "sql01-log"}},
		{"q is a letter in it", []string{"/", "q", "enter"}, []string{"sql01", "sql01-os", "sql01-data", "sql01-log"}},
		{"left", []string{"/", "q", "esc"}, []string{"web03", "web03-os", "sql01", "sql01-os", "sql01-data", "sql01-log", "file02", "file02-d", "dc01"}},
		{"cleared afterwards", []string{"/", "q", "enter", "esc"}, []string{"web03", "web03-os", "sql01", "sql01-os", "sql01-data", "sql01-log", "file02", "file02-d", "dc01"}},
	}
	for _, tt := range tests {
		m, _ := press(t, showing(branch(t), 80, 24, unicodeLook), tt.keys...)
		var got []string
		for _, r := range m.rows() {
			if name := r.vm.VM; r.disk == nil {
				got = append(got, name)
			} else {
				got = append(got, r.disk.Disk)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	m, cmd := press(t, showing(branch(t), 80, 24, unicodeLook), "/", "x", "ctrl+c")
	if !quits(cmd) {
		t.Errorf("ctrl+c does not quit while a filter is typed; filter is %q", m.filter)
	}
}

// The selection stays on the disk it is on, wherever that moves to.
func TestSelectionFollows(t *testing.T) {
	m, _ := press(t, showing(branch(t), 80, 24, unicodeLook), "down", "down", "down", "down")
	if chosen(m) != "sql01-data" {
		t.Fatalf("chosen is %s", chosen(m))
	}
	before := m.selection(m.rows())
	m.status = lost(branch(t))
	m.status.VMs[0].State = "failed"
	if m, _ = press(t, m, "s"); chosen(m) != "sql01-data" {
		t.Errorf("after another order %s is chosen, want sql01-data", chosen(m))
	}
	if m.selection(m.rows()) == before {
		t.Error("the row did not move, so the test shows nothing")
	}
	m.status.VMs[0].Disks = m.status.VMs[0].Disks[:1]
	if chosen(m) != "sql01" {
		t.Errorf("with the disk gone %s is chosen, want its VM", chosen(m))
	}
}

// Errors stay until esc, which undoes one thing at a time.
func TestBack(t *testing.T) {
	m, _ := press(t, showing(branch(t), 80, 24, unicodeLook), "/", "s", "q", "l", "enter", "enter")
	m.toast = toast{text: "cut: no such path", isErr: true}
	for i, want := range []struct {
		toast, filter string
		zoomed        bool
	}{{"", "sql", true}, {"", "sql", false}, {"", "", false}} {
		if m, _ = press(t, m, "esc"); m.toast.text != want.toast || m.filter != want.filter || m.zoomed != want.zoomed {
			t.Errorf("after esc %d: toast %q, filter %q, zoomed %v; want %+v", i+1, m.toast.text, m.filter, m.zoomed, want)
		}
	}
}

func TestActions(t *testing.T) {
	calls := 0
	m := showing(branch(t), 80, 24, unicodeLook,
		Action{Key: "c", Label: "cut", Do: func(context.Context) error { calls++; return nil }},
		Action{Key: "b", Label: "black out", Do: func(context.Context) error { return errors.New("still dark \x1b[2J") }})
	for _, a := range m.applicable() {
		if slices.ContainsFunc(commands(), func(c command) bool { return slices.Contains(c.binding.Keys(), a.Key) }) {
			t.Fatalf("the UI has the key %s itself", a.Key)
		}
	}
	m, cmd := press(t, m, "c")
	if calls != 0 || cmd == nil {
		t.Fatalf("the action ran %d times in the UI's own loop", calls)
	}
	if !strings.Contains(render(m), "cut …") {
		t.Error("nothing says that the action runs")
	}
	next, _ := m.Update(cmd())
	if m = next.(model); calls != 1 || !strings.Contains(render(m), "cut: done") {
		t.Errorf("the action ran %d times, the key line has %q", calls, m.toast.text)
	}
	m, cmd = press(t, m, "b")
	next, _ = m.Update(cmd())
	if m = next.(model); !m.toast.isErr || !strings.Contains(seen(render(m), 80, 24), "black out: still dark �[2J") {
		t.Errorf("the action's error is not shown: %q", m.toast.text)
	}
	m, _ = press(t, m, "?")
	if help := seen(render(m), 80, 24); !strings.Contains(help, "black out") {
		t.Error("the help does not have the actions")
	}
}

// A question is answered with another key than the one that asked it, and never
// with enter. It is about the VM that was selected when it was asked.
func TestQuestions(t *testing.T) {
	var done []string
	m := showing(branch(t), 80, 24, unicodeLook)
	m.actions = func(st progress.Status, vm progress.VM) []Action {
		do := func(context.Context) error { done = append(done, vm.VM); return nil }
		if st.Paused {
			return []Action{{Key: "p", Label: "resume", Ask: "Let all jobs go on?", Do: do}}
		}
		return []Action{{Key: "p", Label: "pause", Ask: "Hold " + vm.Job + "?", Do: do}, {Key: "P", Label: "pause all", Do: do, Rare: true}}
	}
	for _, answer := range []string{"p", "enter", "esc", "n", "q"} {
		asked, cmd := press(t, m, "p")
		if screen := seen(render(asked), 80, 24); cmd != nil || !strings.Contains(screen, "Hold domain?   y yes   any other key: no") {
			t.Fatalf("the question is not asked:\n%s", screen)
		}
		said, cmd := press(t, asked, answer)
		if cmd != nil || said.question != nil || !strings.Contains(render(said), "pause: not done") {
			t.Errorf("%s answers the question with yes", answer)
		}
	}
	asked, _ := press(t, m, "p")
	if _, cmd := press(t, asked, "ctrl+c"); !quits(cmd) {
		t.Error("ctrl+c does not quit at a question")
	}
	m.status.VMs[3].State, m.status.VMs[3].Newest = progress.Committed, m.status.Time
	if _, cmd := press(t, asked, yes); cmd == nil || cmd().(outcome).label != "pause" || !slices.Equal(done, []string{"web03"}) {
		t.Errorf("yes did it for %q, want web03", done)
	}
	if strings.Contains(render(m), "pause all") {
		t.Error("the key line has what is rare")
	}
	if help, _ := press(t, m, "?"); !strings.Contains(render(help), "pause all") {
		t.Error("the help has not what is rare")
	}
	m.status.Paused = true
	if screen := seen(render(m), 80, 24); !strings.Contains(screen, "p resume") || strings.Contains(screen, "p pause") {
		t.Errorf("the key line has not what applies:\n%s", screen)
	}
}
