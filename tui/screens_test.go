package tui

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/muesli/termenv"

	"wanrep/replicate/progress"
)

var update = flag.Bool("update", false, "rewrite the golden screens")

// branch is a source in the middle of its work.
func branch(t testing.TB) progress.Status {
	t.Helper()
	data, err := os.ReadFile("testdata/branch.json")
	if err != nil {
		t.Fatal(err)
	}
	var st progress.Status
	if err := json.Unmarshal(data, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

var unicodeLook = look{profile: termenv.TrueColor, dark: true}

// showing returns a model that shows st on a terminal of a size.
func showing(st progress.Status, w, h int, l look, actions ...Action) model {
	m := newModel(l, actions)
	m.width, m.height = w, h
	m.status, m.answered, m.clock = st, st.Time, st.Time
	return m
}

// seen returns what a person sees of a frame: the cells of a terminal that got it.
func seen(frame string, w, h int) string {
	e := vt.NewEmulator(w, h)
	e.WriteString(strings.ReplaceAll(frame, "\n", "\r\n"))
	var out strings.Builder
	for y := range h {
		var line strings.Builder
		for x := 0; x < w; {
			cell := e.CellAt(x, y)
			if cell == nil || cell.Content == "" {
				line.WriteByte(' ')
				x++
				continue
			}
			line.WriteString(cell.Content)
			x += max(1, cell.Width)
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return out.String()
}

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	t.Errorf("%s differs (go test ./tui -update rewrites it): %d lines, want %d", file, len(gotLines), len(wantLines))
	for i := range min(len(gotLines), len(wantLines)) {
		if gotLines[i] != wantLines[i] {
			t.Errorf("line %d:\ngot  %s\nwant %s", i+1, gotLines[i], wantLines[i])
		}
	}
}

// lost is the branch while its link is being redialed.
func lost(st progress.Status) progress.Status {
	l := &st.Links[0]
	l.State, l.Because = progress.LinkRedial, "no answer from 203.0.113.9:7443 in 60 s"
	l.Since, l.Attempt, l.NextDial = st.Time.Add(-3*time.Minute-20*time.Second), 14, st.Time.Add(7*time.Second)
	for i := range st.VMs {
		vm := &st.VMs[i]
		if vm.State != progress.Sending {
			continue
		}
		vm.State, vm.Since, vm.Because = progress.Stalled, l.Since, "link lost; continues at the durable offset"
		for j := range vm.Disks {
			if d := &vm.Disks[j]; d.State == progress.Sending {
				d.State, d.Since = progress.Stalled, l.Since
				d.Offset, d.WireRate, d.ReadRate, d.ETA = d.Durable, 0, 0, -1
			}
		}
	}
	for i := len(st.Samples) - 200; i < len(st.Samples); i++ {
		st.Samples[i] = progress.Sample{}
	}
	return st
}

// parked is the branch after half an hour without the line.
func parked(st progress.Status) progress.Status {
	st = lost(st)
	l := &st.Links[0]
	l.State, l.Because, l.Attempt = progress.LinkDown, "redial window of 30m spent, 120 attempts", 120
	for i := range st.VMs {
		if st.VMs[i].State == progress.Stalled {
			st.VMs[i].State, st.VMs[i].Because = progress.Parked, "30m without the line; the next run completes it"
			for j := range st.VMs[i].Disks {
				if d := &st.VMs[i].Disks[j]; d.State == progress.Stalled {
					d.State = progress.Parked
				}
			}
		}
	}
	return st
}

// seeding is a source whose only VM has no point yet.
func seeding(st progress.Status) progress.Status {
	st.VMs = st.VMs[:1]
	st.VMs[0].Newest, st.VMs[0].Points = time.Time{}, 0
	st.Jobs = st.Jobs[:1]
	return st
}

// many is a target with one VM of 40 disks among others of two sources.
func many(st progress.Status) progress.Status {
	st.Role, st.Name = "target", "dr-paris"
	l := st.Links[0]
	l.Peer = "branch-lyon"
	other := lost(branchOf(st)).Links[0]
	other.Peer = "branch-nice"
	st.Links = []progress.Link{l, other}
	vm := st.VMs[0]
	vm.VM, vm.Disks = "lake01", nil
	for i := range 40 {
		d := st.VMs[0].Disks[1]
		d.Disk, d.State = fmt.Sprintf("volume-%02d", i), progress.Receiving
		d.Durable = int64(i) * d.VirtualSize / 40
		d.Offset = d.Durable + d.VirtualSize/80
		if i == 33 {
			d.State, d.Because = progress.Failed, "no space left in the store"
		}
		vm.Disks = append(vm.Disks, d)
	}
	vm.State = progress.Receiving
	st.VMs = append([]progress.VM{vm}, st.VMs[1:]...)
	return st
}

// branchOf copies what lost changes.
func branchOf(st progress.Status) progress.Status {
	st.Links = append([]progress.Link(nil), st.Links...)
	st.VMs = nil
	st.Samples = make([]progress.Sample, 300)
	return st
}

const evil = "\x1b[2J\x1b]0;owned\a\r\nd\u202eisk\x00\u0085\xff"

// hostile is the branch with names and texts that try to rewrite the screen.
func hostile(st progress.Status) progress.Status {
	st.Name = "n" + evil
	l := &st.Links[0]
	l.Peer, l.Path, l.Remote, l.Because = "p"+evil, evil, evil, evil
	st.VMs[0].VM = "東京本社サーバー" + strings.Repeat("長", 60)
	st.VMs[0].Disks[0].Disk = evil
	st.VMs[0].Disks[1].Disk = "zalgo" + strings.Repeat("\u0301", 300)
	st.VMs[0].Disks[2].Disk = "family \U0001F468\u200d\U0001F469\u200d\U0001F467 \u2764\ufe0f"
	st.VMs[1].State = evil
	st.VMs[3].VM, st.VMs[3].Because = evil, evil
	for i := range st.Events {
		st.Events[i].Text = evil + st.Events[i].Text
	}
	return st
}

func script() []ScriptLine {
	return []ScriptLine{
		{Done, "seed 3 disks, 480 MiB"},
		{Done, "cut path 1: traffic on path 2 after 0.41 s"},
		{Running, "black out 20 s: redial, continue at the durable offset"},
		{Pending, "commit the point"},
		{Pending, "verify the replica against the source"},
	}
}

var demoActions = []Action{{Key: "c", Label: "cut"}, {Key: "m", Label: "migrate"}, {Key: "b", Label: "black out"}}

// unreachable is an error as the client of the control socket gives it.
type unreachable struct{ err error }

func (e unreachable) Error() string {
	return "no appliance answers on /run/wanrep/wanrep.sock: " + e.err.Error()
}

func (e unreachable) Unwrap() error { return e.err }

func (e unreachable) Hint() string {
	return "use the account that runs the appliance, or join the group that owns the socket (usually wanrep)"
}

func TestScreens(t *testing.T) {
	gone := func(m model) model {
		m.gone, m.goneSince = unreachable{os.ErrPermission}, m.answered.Add(time.Second)
		m.clock = m.answered.Add(13 * time.Second)
		return m
	}
	tests := []struct {
		name   string
		w, h   int
		status func(progress.Status) progress.Status
		change func(model) model
		look   look
	}{
		{name: "tiny", w: 50, h: 12},
		{name: "least", w: 60, h: 16},
		{name: "80x24", w: 80, h: 24},
		{name: "120x40", w: 120, h: 40},
		{name: "200x60", w: 200, h: 60},
		{name: "seeding-80x24", w: 80, h: 24, status: seeding},
		{name: "redial-80x24", w: 80, h: 24, status: lost},
		{name: "redial-120x40", w: 120, h: 40, status: lost},
		{name: "parked-80x24", w: 80, h: 24, status: parked},
		{name: "parked-200x60", w: 200, h: 60, status: parked},
		{name: "many-80x24", w: 80, h: 24, status: many, change: func(m model) model { return m.move(20) }},
		{name: "many-120x40", w: 120, h: 40, status: many},
		{name: "many-links", w: 80, h: 24, status: many, change: func(m model) model { return m.goTo("2").enter() }},
		{name: "hostile-80x24", w: 80, h: 24, status: hostile},
		{name: "hostile-120x40", w: 120, h: 40, status: hostile},
		{name: "ascii-80x24", w: 80, h: 24, look: look{profile: termenv.Ascii, ascii: true}},
		{name: "ascii-hostile", w: 80, h: 24, status: hostile, look: look{profile: termenv.Ascii, ascii: true}},
		{name: "no-color-80x24", w: 80, h: 24, look: look{profile: termenv.Ascii}},
		{name: "gone-80x24", w: 80, h: 24, change: gone},
		{name: "never-there", w: 80, h: 24, change: func(m model) model {
			m.answered = time.Time{}
			m.gone, m.goneSince = unreachable{os.ErrPermission}, m.clock
			return m
		}},
		{name: "empty-source", w: 80, h: 24, status: func(st progress.Status) progress.Status {
			return progress.Status{Role: "source", Name: "branch-lyon", Time: st.Time}
		}},
		{name: "empty-target", w: 120, h: 40, status: func(st progress.Status) progress.Status {
			return progress.Status{Role: "target", Name: "dr-paris", Time: st.Time}
		}},
		{name: "help-80x24", w: 80, h: 24, change: func(m model) model { m.helping = true; return m }},
		{name: "help-60x16", w: 60, h: 16, change: func(m model) model { m.helping = true; return m }},
		{name: "disk-detail-60x16", w: 60, h: 16, change: func(m model) model { return m.move(4).enter() }},
		{name: "no-color-120x40", w: 120, h: 40, look: look{profile: termenv.Ascii}},
		{name: "vm-detail", w: 80, h: 24, change: func(m model) model { return m.move(2).enter() }},
		{name: "disk-detail", w: 80, h: 24, change: func(m model) model { return m.move(4).enter() }},
		{name: "events-detail", w: 80, h: 24, change: func(m model) model { return m.goTo("4").enter() }},
		{name: "graph-detail", w: 80, h: 24, change: func(m model) model { return m.goTo("3").enter() }},
		{name: "filter", w: 80, h: 24, change: func(m model) model { m.typing, m.filter = true, "data"; return m }},
		{name: "filter-none", w: 80, h: 24, change: func(m model) model { m.filter = "nothing"; return m }},
		{name: "demo-80x24", w: 80, h: 24, status: seeding, change: demo},
		{name: "demo-120x40", w: 120, h: 40, status: seeding, change: demo},
		{name: "frozen-error", w: 80, h: 24, change: func(m model) model {
			m.frozen, m.toast = true, toast{text: "cut: no such path", isErr: true}
			return m
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := branch(t)
			if tt.status != nil {
				st = tt.status(st)
			}
			l := tt.look
			if l == (look{}) {
				l = unicodeLook
			}
			m := showing(st, tt.w, tt.h, l)
			if tt.change != nil {
				m = tt.change(m)
			}
			frame := render(m)
			if n := strings.Count(frame, "\n") + 1; n != tt.h {
				t.Errorf("the frame has %d lines, want %d", n, tt.h)
			}
			golden(t, tt.name, seen(frame, tt.w, tt.h))
		})
	}
}

func demo(m model) model {
	m.script, m.lines, m.actions = script, script(), demoActions
	return m
}
