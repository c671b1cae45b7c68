package tui

import (
	"encoding/json"
	"errors"
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
	m := newModel(l, fixed(actions))
	m.width, m.height = w, h
	m.status, m.answered, m.clock = st, st.Time, st.Time
	return m
}

// fixed are actions that there always are.
func fixed(actions []Action) func(progress.Status, progress.VM) []Action {
	return func(progress.Status, progress.VM) []Action { return actions }
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
	l.Uplinks = []progress.Uplink{{Name: "fibre", State: progress.UplinkDown}, {Name: "lte", State: progress.UplinkDown}, {Name: "dsl", State: progress.UplinkUp}}
	l.DialError, l.Class = "no answer", "dropped"
	st.Pipeline = progress.Pipeline{}
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

// idle is the branch between two runs, with every VM within its RPO.
func idle(st progress.Status) progress.Status {
	l := &st.Links[0]
	*l = progress.Link{Peer: l.Peer, State: progress.LinkIdle, Since: st.Time.Add(-12 * time.Minute), Uplinks: l.Uplinks, LinkTotals: l.LinkTotals}
	l.Uplinks = []progress.Uplink{{Name: "fibre", State: progress.UplinkUp}, {Name: "lte", State: progress.UplinkUp}}
	for i := range st.VMs {
		vm := &st.VMs[i]
		vm.State, vm.Because, vm.Point, vm.Disks = progress.Committed, "", "", nil
		vm.Newest, vm.Since = st.Time.Add(-time.Duration(i+12)*time.Minute), st.Time.Add(-12*time.Minute)
		vm.Lag = st.Time.Sub(vm.Newest).Seconds()
	}
	for i := range st.Jobs {
		j := &st.Jobs[i]
		j.State, j.Outcome, j.Because, j.Next = jobIdle, progress.Committed, "", st.Time.Add(40*time.Minute)
	}
	st.Pipeline = progress.Pipeline{}
	clear(st.Samples)
	return st
}

// overRPO is the branch two days after its last run.
func overRPO(st progress.Status) progress.Status {
	st = idle(st)
	for i := range st.VMs[:3] {
		vm := &st.VMs[i]
		vm.Newest = vm.Newest.Add(-time.Duration(i+1) * 17 * time.Hour)
		vm.Lag = st.Time.Sub(vm.Newest).Seconds()
	}
	st.VMs[0].State, st.VMs[0].Newest, st.VMs[0].Lag, st.VMs[0].Points = progress.NotStarted, time.Time{}, 0, 0
	return st
}

// paused is the branch whose operator holds everything.
func paused(st progress.Status) progress.Status {
	st = idle(st)
	st.Pause = progress.Pause{Paused: true, PausedSince: st.Time.Add(-2*time.Hour - 3*time.Minute), PausedBecause: "the line is needed for a call"}
	return st
}

// jobPaused is the branch in the middle of a run that the operator holds.
func jobPaused(st progress.Status) progress.Status {
	st.Jobs[0].Pause = progress.Pause{Paused: true, PausedSince: st.Time.Add(-90 * time.Second), PausedBecause: "the line is needed for a call"}
	st.VMs[3].Because = "disk dc01-os of dc01: open D:/Virtual Machines/dc01/dc01-os.vhdx: The process cannot access the file"
	st.Pipeline = progress.Pipeline{}
	return st
}

// throttled is the branch with a rate limit that it feels.
func throttled(st progress.Status) progress.Status {
	st.MaxRate = 2_500_000
	st.Pipeline.Limit, st.Pipeline.Network = progress.LimitThrottle, 0.99
	return st
}

// target is the other end of the branch, with a store, damage in it, and points that
// wait to be looked at.
func target(st progress.Status) progress.Status {
	st.Role, st.Name = "target", "dr-paris"
	l := &st.Links[0]
	l.Peer, l.Path, l.Remote, l.Uplinks = "branch-lyon", "", "198.51.100.7:41022", nil
	l.Window, l.LineRate = 0, 0
	st.Jobs, st.Pipeline = nil, progress.Pipeline{Write: 0.22, Limit: progress.LimitNone}
	for i := range st.VMs {
		vm := &st.VMs[i]
		vm.Job = ""
		for j := range vm.Disks {
			if d := &vm.Disks[j]; d.State == progress.Sending {
				d.State = progress.Receiving
			}
		}
		switch vm.State {
		case progress.Sending:
			vm.State = progress.Receiving
		case progress.Failed:
			vm.State, vm.Because = progress.Parked, "waits for its source"
		}
	}
	st.VMs[0].Tested, st.VMs[0].Verified = st.Time.Add(-290*time.Minute-7*time.Second), st.Time.Add(-9*time.Hour)
	st.VMs[1].Held, st.VMs[1].State, st.VMs[1].Because = "5 of 8 points would go at once, more than half", progress.Committed, ""
	st.VMs[2].Damage = "point 0000000000000005, disk dc01-os: 64 KiB at 1.2 GiB differ"
	st.Store = progress.Store{Path: "/srv/wanrep", Free: 210 << 30, Total: 4 << 40, Points: 214, Oldest: st.Time.Add(-26 * 24 * time.Hour)}
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
	l.DialError, l.Class = evil, evil
	for i := range l.Uplinks {
		l.Uplinks[i].Name, l.Uplinks[i].State = evil, evil
	}
	st.Pipeline.Limit = evil
	st.Store = progress.Store{Path: evil, Free: 1, Total: 2}
	st.VMs[0].VM = "東京本社サーバー" + strings.Repeat("長", 60)
	st.VMs[0].Disks[0].Disk = evil
	st.VMs[0].Disks[1].Disk = "zalgo" + strings.Repeat("\u0301", 300)
	st.VMs[0].Disks[2].Disk = "family \U0001F468\u200d\U0001F469\u200d\U0001F467 \u2764\ufe0f"
	st.VMs[1].State, st.VMs[2].Damage = evil, evil
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

// hinted is an error that knows what to do about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Hint() string { return h.hint }

// unreachable is an error as the client of the control socket gives it.
type unreachable struct{ err error }

func (e unreachable) Error() string {
	return "no appliance answers on /run/wanrep/wanrep.sock: " + e.err.Error()
}

func (e unreachable) Unwrap() error { return e.err }

func (e unreachable) Hint() string {
	return "use the account that runs the appliance, or join the group that owns the socket (usually wanrep)"
}

// A state is an appliance worth looking at.
type state struct {
	name   string
	status func(progress.Status) progress.Status
	change func(model) model
}

func states() []state {
	return []state{
		{name: "running"},
		{name: "idle", status: idle},
		{name: "seeding", status: seeding},
		{name: "redial", status: lost},
		{name: "parked", status: parked},
		{name: "over-rpo", status: overRPO},
		{name: "throttled", status: throttled},
		{name: "paused", status: paused},
		{name: "job-paused", status: jobPaused},
		{name: "target", status: target},
		{name: "many", status: many},
		{name: "hostile", status: hostile},
		{name: "gone", change: gone},
		{name: "empty", status: func(st progress.Status) progress.Status {
			return progress.Status{Role: "source", Name: "branch-lyon", Time: st.Time}
		}},
		{name: "empty-target", status: func(st progress.Status) progress.Status {
			return progress.Status{Role: "target", Name: "dr-paris", Time: st.Time}
		}},
	}
}

// Every state in every layout, as a person sees it.
func TestStates(t *testing.T) {
	for _, s := range states() {
		for _, size := range []struct{ w, h int }{{60, 16}, {80, 24}, {120, 40}, {200, 60}} {
			name := fmt.Sprintf("%s-%dx%d", s.name, size.w, size.h)
			t.Run(name, func(t *testing.T) {
				st := branch(t)
				if s.status != nil {
					st = s.status(st)
				}
				m := showing(st, size.w, size.h, unicodeLook)
				if s.change != nil {
					m = s.change(m)
				}
				checkScreen(t, name, m)
			})
		}
	}
}

// checkScreen compares what a model draws with a golden file.
func checkScreen(t *testing.T, name string, m model) {
	t.Helper()
	frame := render(m)
	if n := strings.Count(frame, "\n") + 1; n != m.height {
		t.Errorf("the frame has %d lines, want %d", n, m.height)
	}
	golden(t, name, seen(frame, m.width, m.height))
}

func gone(m model) model {
	m.gone, m.goneSince = unreachable{os.ErrPermission}, m.answered.Add(time.Second)
	m.clock = m.answered.Add(13 * time.Second)
	return m
}

// listing shows the selected VM's points of a fixture.
func listing(m model) model {
	doc, err := os.ReadFile("testdata/points.json")
	if err != nil {
		panic(err)
	}
	next, _ := listPoints(m)
	m = next.(model)
	vm, _ := m.pointsVM()
	m.points.known = true
	m.points.list, _, m.points.err = parsePoints(doc, vm)
	return m
}

func TestScreens(t *testing.T) {
	tests := []struct {
		name   string
		w, h   int
		status func(progress.Status) progress.Status
		change func(model) model
		look   look
	}{
		{name: "tiny", w: 50, h: 12},
		{name: "many-scrolled", w: 80, h: 24, status: many, change: func(m model) model { return m.move(20) }},
		{name: "many-links", w: 80, h: 24, status: many, change: func(m model) model { return m.goTo("2").enter() }},
		{name: "ascii-80x24", w: 80, h: 24, look: look{profile: termenv.Ascii, ascii: true}},
		{name: "ascii-120x40", w: 120, h: 40, look: look{profile: termenv.Ascii, ascii: true}},
		{name: "ascii-hostile", w: 80, h: 24, status: hostile, look: look{profile: termenv.Ascii, ascii: true}},
		{name: "no-color-80x24", w: 80, h: 24, look: look{profile: termenv.Ascii}},
		{name: "no-color-120x40", w: 120, h: 40, look: look{profile: termenv.Ascii}},
		{name: "never-there", w: 80, h: 24, change: func(m model) model {
			m.answered = time.Time{}
			m.gone, m.goneSince = unreachable{os.ErrPermission}, m.clock
			return m
		}},
		{name: "help-80x24", w: 80, h: 24, change: func(m model) model { m.helping = true; return m }},
		{name: "help-60x16", w: 60, h: 16, change: func(m model) model { m.helping = true; return m }},
		{name: "vm-detail", w: 80, h: 24, change: func(m model) model { return m.move(2).enter() }},
		{name: "vm-detail-over-rpo", w: 80, h: 24, change: func(m model) model { return m.enter() }},
		{name: "vm-detail-damaged", w: 80, h: 24, status: target, change: func(m model) model { return m.enter() }},
		{name: "vm-detail-held", w: 80, h: 24, status: target, change: func(m model) model { return m.move(3).enter() }},
		{name: "vm-detail-tested", w: 80, h: 24, status: target, change: func(m model) model { return m.move(5).enter() }},
		{name: "disk-detail", w: 80, h: 24, change: func(m model) model { return m.move(4).enter() }},
		{name: "disk-detail-60x16", w: 60, h: 16, change: func(m model) model { return m.move(4).enter() }},
		{name: "events-detail", w: 80, h: 24, change: func(m model) model { return m.goTo("4").enter() }},
		{name: "graph-detail", w: 80, h: 24, change: func(m model) model { return m.goTo("3").enter() }},
		{name: "graph-whole-run", w: 80, h: 24, change: func(m model) model { m.wholeRun = true; return m.goTo("3").enter() }},
		{name: "graph-no-run", w: 80, h: 24, status: func(st progress.Status) progress.Status { st.History = progress.History{}; return st },
			change: func(m model) model { m.wholeRun = true; return m.goTo("3").enter() }},
		{name: "pipeline-80x24", w: 80, h: 24, change: func(m model) model { return m.goTo("5") }},
		{name: "pipeline-detail", w: 80, h: 24, status: throttled, change: func(m model) model { return m.goTo("5").enter() }},
		{name: "store-80x24", w: 80, h: 24, status: target, change: func(m model) model { return m.goTo("5") }},
		{name: "points-80x24", w: 80, h: 24, status: target, change: func(m model) model { return listing(m.move(5)).move(1) }},
		{name: "points-60x16", w: 60, h: 16, status: target, change: func(m model) model { return listing(m.move(5)) }},
		{name: "points-120x40", w: 120, h: 40, status: target, change: func(m model) model { return listing(m.move(5)) }},
		{name: "points-newest", w: 80, h: 24, change: func(m model) model { m = listing(m.move(2)); m.points.older = 4996; return m }},
		{name: "points-held", w: 80, h: 24, status: target, change: func(m model) model { return listing(m.move(3)) }},
		{name: "points-none", w: 80, h: 24, status: target, change: listing},
		{name: "points-unreachable", w: 80, h: 24, change: func(m model) model {
			next, _ := listPoints(m)
			m = next.(model)
			m.points.err = hinted{errors.New("ask dr-paris: no link"), "wanrep status tells of the line"}
			return m
		}},
		{name: "empty-paired", w: 80, h: 24, status: func(st progress.Status) progress.Status {
			return progress.Status{Role: "target", Name: "dr-paris", Time: st.Time, Links: []progress.Link{{Peer: "branch-lyon", State: progress.LinkIdle}}}
		}},
		{name: "filter", w: 80, h: 24, change: func(m model) model { m.typing, m.filter = true, "data"; return m }},
		{name: "filter-none", w: 80, h: 24, change: func(m model) model { m.filter = "nothing"; return m }},
		{name: "demo-80x24", w: 80, h: 24, status: seeding, change: demo},
		{name: "demo-120x40", w: 120, h: 40, status: seeding, change: demo},
		{name: "copied", w: 80, h: 24, change: func(m model) model { return m.tellCopied(copied{what: "web03", bytes: 618}) }},
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
			checkScreen(t, tt.name, m)
		})
	}
}

func demo(m model) model {
	m.script, m.lines, m.actions = script, script(), fixed(demoActions)
	return m
}
