package tui

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"unicode"

	"github.com/charmbracelet/lipgloss"

	"wanrep/diskio"
	"wanrep/replicate/progress"
)

func TestFit(t *testing.T) {
	tests := []struct {
		text string
		w    int
		want string
	}{
		{"sql01", 8, "sql01   "},
		{"sql01", 5, "sql01"},
		{"sql01", 4, "sql…"},
		{"sql01", 1, "…"},
		{"sql01", 0, ""},
		{"東京本社", 8, "東京本社"},
		{"東京本社", 7, "東京本…"},
		{"東京本社", 6, "東京… "},
		{"a\x1b[31mb", 8, "a�[31mb "},
		{"a\nb\tc\xff", 8, "a�b�c�  "},
		{"e\u0301\u0301\u0301\u0301e", 3, "e\u0301\u0301e "},
		{"\u0301e", 3, "e  "},
	}
	for _, tt := range tests {
		got := fit(tt.text, tt.w, "…")
		if got != tt.want {
			t.Errorf("fit(%q, %d) = %q, want %q", tt.text, tt.w, got, tt.want)
		}
		if n := lipgloss.Width(got); n != tt.w {
			t.Errorf("fit(%q, %d) is %d columns wide", tt.text, tt.w, n)
		}
	}
}

func TestWrap(t *testing.T) {
	tests := []struct {
		text string
		w    int
		want string
	}{
		{"no answer in 60 s", 9, "no answer|in 60 s"},
		{"", 9, ""},
		{"203.0.113.9:7443", 8, "203.0.11|3.9:7443"},
		{"at 203.0.113.9:7443", 8, "at|203.0.11|3.9:7443"},
		{"東京本社", 5, "東京|本社"},
		{"東", 1, "東"},
		{"a\u0301\u0301\u0301\u0301\u0301bcd", 2, "a\u0301\u0301b|cd"},
	}
	for _, tt := range tests {
		if got := strings.Join(wrap(tt.text, tt.w), "|"); got != tt.want {
			t.Errorf("wrap(%q, %d) = %q, want %q", tt.text, tt.w, got, tt.want)
		}
	}
}

// checkFrame fails if a frame is anything but h lines of w printable columns.
func checkFrame(t *testing.T, frame string, w, h int) {
	t.Helper()
	lines := strings.Split(frame, "\n")
	if len(lines) != h {
		t.Errorf("%d lines, want %d", len(lines), h)
	}
	for y, line := range lines {
		text := sgr.ReplaceAllString(line, "")
		if text != diskio.Printable(text) {
			t.Errorf("line %d holds control characters: %q", y, text)
		}
		columns := 0
		for _, r := range text {
			if !unicode.Is(unicode.Mn, r) {
				columns += lipgloss.Width(string(r))
			}
		}
		if columns != w {
			t.Errorf("line %d is %d columns wide, want %d: %q", y, columns, w, text)
		}
	}
}

// Every frame of any status fills the terminal exactly, at any size, in every
// view and whatever the numbers and names are.
func TestFramesFit(t *testing.T) {
	sizes := [][2]int{
		{1, 1}, {59, 40}, {60, 15}, {60, 16}, {61, 17}, {69, 18}, {70, 24}, {77, 23}, {80, 24}, {90, 50}, {97, 29}, {98, 30},
		{99, 31}, {100, 30}, {118, 40}, {142, 16}, {161, 44}, {200, 60},
	}
	for name, status := range map[string]func(progress.Status) progress.Status{
		"seeding": seeding, "lost": lost, "parked": parked, "many": many, "hostile": hostile, "absurd": absurd,
		"target": target, "paused": paused,
	} {
		for _, l := range []look{unicodeLook, {ascii: true}} {
			for _, size := range sizes {
				w, h := size[0], size[1]
				m := demo(showing(status(branch(t)), w, h, l))
				checkFrame(t, render(m), w, h)
				m.zoomed = true
				for _, m.focus = range m.panes() {
					checkFrame(t, render(m), w, h)
				}
				m.points.open = true
				checkFrame(t, render(listing(m)), w, h)
				m.helping = true
				checkFrame(t, render(m), w, h)
				if t.Failed() {
					t.Fatalf("%s at %dx%d", name, w, h)
				}
			}
		}
	}
}

// absurd is the branch with numbers that nothing should ever report.
func absurd(st progress.Status) progress.Status {
	nan, inf := math.NaN(), math.Inf(1)
	l := &st.Links[0]
	l.RTT, l.Loss, l.LongestStall, l.RepairOverhead, l.Attempt = nan, 7344530, inf, -1, -7
	l.Queue, l.Window, l.Lanes, l.LineRate = inf, math.MinInt64, math.MaxInt, inf
	for i := range l.Uplinks {
		l.Uplinks[i].RTT = []float64{nan, inf, -1}[i%3]
	}
	st.Pipeline = progress.Pipeline{Read: nan, Digest: inf, Compress: -1, Network: 7344530, Limit: progress.LimitThrottle}
	st.MaxRate = math.MinInt64
	st.Store = progress.Store{Path: "/srv", Free: math.MaxInt64, Total: -1, Points: -1}
	st.History = progress.History{Begun: st.Time.AddDate(500, 0, 0), Step: -1, Samples: []progress.Sample{{Wire: nan, Data: inf}, {Wire: -inf}}}
	for i := range st.VMs {
		vm := &st.VMs[i]
		vm.RPO, vm.Lag = []float64{nan, inf, -1, 1e300}[i%4], nan
		vm.Since = st.Time.AddDate(500, 0, 0)
		for j := range vm.Disks {
			d := &vm.Disks[j]
			d.State = progress.Sending
			d.VirtualSize = []int64{0, -1, math.MaxInt64}[j%3]
			d.Durable, d.Offset = math.MaxInt64, -1
			d.WireRate, d.ReadRate, d.ETA = nan, -inf, nan
			d.Data, d.Wire = -1, math.MaxInt64
		}
	}
	for i := range st.Samples {
		st.Samples[i] = progress.Sample{Wire: []float64{nan, inf, -inf, -1, 1e300}[i%5], Data: inf}
	}
	return st
}

func TestNothingAbsurd(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {200, 60}} {
		m := showing(absurd(branch(t)), size[0], size[1], unicodeLook)
		for _, zoomed := range []bool{false, true} {
			m.zoomed = zoomed
			for _, bad := range []string{"NaN", "Inf", " -1", "7344530", "00000000 "} {
				if screen := sgr.ReplaceAllString(render(m), ""); strings.Contains(screen, bad) {
					t.Errorf("%q is on the screen:\n%s", bad, screen)
				}
			}
		}
	}
}

func TestProgress(t *testing.T) {
	tests := []struct {
		name          string
		disk          progress.Disk
		durable, sent int64
	}{
		{"under way", progress.Disk{State: progress.Sending, VirtualSize: 100, Durable: 40, Offset: 60}, 40, 60},
		{"not begun", progress.Disk{State: progress.Waiting, VirtualSize: 100}, 0, 0},
		{"read again after a restart", progress.Disk{State: progress.Verifying, VirtualSize: 100, Durable: 40, Offset: 10}, 40, 40},
		{"complete", progress.Disk{State: progress.Complete, VirtualSize: 100, Durable: 40}, 100, 100},
		{"more than there is", progress.Disk{State: progress.Sending, VirtualSize: 100, Durable: 300, Offset: 400}, 100, 100},
		{"less than nothing", progress.Disk{State: progress.Sending, VirtualSize: 100, Durable: -3, Offset: -4}, 0, 0},
	}
	for _, tt := range tests {
		if d, s := durable(tt.disk), sent(tt.disk); d != tt.durable || s != tt.sent {
			t.Errorf("%s: durable %d, sent %d; want %d, %d", tt.name, d, s, tt.durable, tt.sent)
		}
	}
}

// FuzzRender draws whatever an appliance may send.
func FuzzRender(f *testing.F) {
	for _, status := range []func(progress.Status) progress.Status{seeding, lost, many, hostile, target, paused} {
		st := status(branch(f))
		st.Samples = st.Samples[:2] // small inputs are mutated faster
		data, err := json.Marshal(st)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, uint8(80), uint8(24))
		f.Add(data, uint8(120), uint8(40))
	}
	f.Fuzz(func(t *testing.T, data []byte, w, h uint8) {
		var st progress.Status
		if json.Unmarshal(data, &st) != nil {
			t.Skip("no status")
		}
		m := showing(st, max(1, int(w)), max(1, int(h)), unicodeLook)
		checkFrame(t, render(m), m.width, m.height)
		m.zoomed = true
		checkFrame(t, render(m), m.width, m.height)
		Table(st, int(w), true)
		runScreen(st, m.theme, int(w))
	})
}

// An error that is cut keeps its cause.
func TestShorten(t *testing.T) {
	tests := []struct {
		text string
		w    int
		want string
	}{
		{"open a: it is gone", 18, "open a: it is gone"},
		{"disk os of sql01: open D:/VMs/sql01/os.vhdx: it is gone", 30, "disk os of sql01:…: it is gone"},
		{"open a: the process cannot access the file", 20, "open a: the process cannot access the file"},
		{"a text without a cause", 10, "a text without a cause"},
	}
	for _, tt := range tests {
		if got := shorten(tt.text, tt.w, "…"); got != tt.want {
			t.Errorf("%q in %d columns: %q, want %q", tt.text, tt.w, got, tt.want)
		}
	}
}
