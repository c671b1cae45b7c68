package tui

import (
	"strings"

	"github.com/charmbracelet/lipgloss"
	"github.com/muesli/termenv"

	"wanrep/replicate/progress"
)

// A tone is what a colour means. Every tone that tells something goes with a
// glyph and a word, so nothing is told by colour alone.
type tone uint8

const (
	plain  tone = iota
	faint       // labels, borders, what is not in use
	good        // committed, complete, up
	moving      // sending, receiving, verifying
	warn        // stalled, redial, parked
	bad         // failed, down, gone
	over        // the data rate in the graph
	wireOnData
	tones
)

// An ink is a tone with attributes.
type ink uint8

const (
	bold     ink = 1 << 4
	selected ink = 1 << 5
	toneMask ink = 1<<4 - 1
	inks         = 1 << 6
)

// of returns the tone as an ink with the attributes given.
func of(t tone, attrs ...ink) ink {
	i := ink(t)
	for _, a := range attrs {
		i |= a
	}
	return i
}

// A look is what the terminal can show.
type look struct {
	profile termenv.Profile // termenv.Ascii is no colour at all
	dark    bool            // the background is dark
	ascii   bool            // neither UTF-8 nor line drawing
}

// lookFor finds out what a terminal can show from the environment.
func lookFor(getenv func(string) string, isTerminal, dark bool) look {
	l := look{profile: termenv.Ascii, dark: dark}
	if isTerminal {
		// EnvColorProfile, unlike ColorProfile, honours NO_COLOR and CLICOLOR.
		l.profile = termenv.NewOutput(nil, termenv.WithTTY(true), termenv.WithEnvironment(environ(getenv))).EnvColorProfile()
	}
	locale := getenv("LC_ALL")
	for _, name := range []string{"LC_CTYPE", "LANG"} {
		if locale == "" {
			locale = getenv(name)
		}
	}
	locale = strings.ToLower(locale)
	utf8 := strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")
	// Windows has no locale in its environment and always takes UTF-8.
	l.ascii = getenv("WANREP_ASCII") == "1" || !utf8 && (locale != "" || !unicodeConsole)
	return l
}

// environ makes a getenv function into what termenv asks.
type environ func(string) string

func (e environ) Getenv(name string) string { return e(name) }

// Environ lists nothing: termenv looks each variable up by its name.
func (e environ) Environ() []string { return nil }

// A theme holds the styles of a look, ready to use.
type theme struct {
	look
	styles [inks]lipgloss.Style
	glyphs glyphs
}

// Okabe and Ito's colours, which people with any colour vision tell apart; for
// light backgrounds darkened until they can be read.
var darkColors = [tones]string{
	faint: "#8a919c", good: "#00b386", moving: "#56b4e9", warn: "#e69f00", bad: "#ff6f3c", over: "#2d5778", wireOnData: "#56b4e9",
}

var lightColors = [tones]string{
	faint: "#6a6f78", good: "#00734f", moving: "#0072b2", warn: "#8a5a00", bad: "#b83c00", over: "#a5c9e3", wireOnData: "#0072b2",
}

const (
	selectedDark  = "#2b303b"
	selectedLight = "#e2e6ee"
)

func newTheme(l look) *theme {
	r := lipgloss.NewRenderer(nil)
	r.SetColorProfile(l.profile)
	colors, row := &lightColors, selectedLight
	if l.dark {
		colors, row = &darkColors, selectedDark
	}
	t := &theme{look: l, glyphs: unicodeGlyphs}
	if l.ascii {
		t.glyphs = asciiGlyphs
	}
	for i := range t.styles {
		s := r.NewStyle()
		if n := ink(i) & toneMask; n < ink(tones) && colors[n] != "" {
			s = s.Foreground(lipgloss.Color(colors[n]))
			if tone(n) == wireOnData {
				s = s.Background(lipgloss.Color(colors[over]))
			}
		}
		if ink(i)&selected != 0 && l.profile != termenv.Ascii {
			s = s.Background(lipgloss.Color(row))
		}
		t.styles[i] = s.Bold(ink(i)&bold != 0)
	}
	return t
}

// glyphs are the signs that a look draws with.
type glyphs struct {
	ok, out, in, check, wait, idle, alarm, parked, failed string

	full, part, empty  string   // of a progress bar
	levels             []string // of the graph, lowest first
	shade              string   // of the graph's second series
	marker             string   // of the selected row
	open, folded       string   // of a VM
	branch, lastBranch string
	arrow, back        string // the way of the data, at a source and at a target
	dot, cut           string
	box                [6]string // horizontal, vertical, and the corners from the upper left clockwise
	focus              [6]string
}

// Only signs that old console fonts have too.
var unicodeGlyphs = glyphs{
	ok: "●", out: "▲", in: "▼", check: "◆", wait: "○", idle: "·", alarm: "!", parked: "■", failed: "×",
	full: "━", part: "╍", empty: "─",
	levels: []string{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}, shade: "░",
	marker: "▌", open: "▾", folded: "▸", branch: "├ ", lastBranch: "└ ",
	arrow: "→", back: "←", dot: "·", cut: "…",
	box:   [6]string{"─", "│", "╭", "╮", "╯", "╰"},
	focus: [6]string{"━", "┃", "┏", "┓", "┛", "┗"},
}

var asciiGlyphs = glyphs{
	ok: "*", out: "^", in: "v", check: "?", wait: "o", idle: ".", alarm: "!", parked: "=", failed: "X",
	full: "#", part: "+", empty: ".",
	levels: []string{"_", "#"}, shade: ":",
	marker: ">", open: "v", folded: ">", branch: "|-", lastBranch: "`-",
	arrow: "->", back: "<-", dot: "-", cut: "~",
	box:   [6]string{"-", "|", "+", "+", "+", "+"},
	focus: [6]string{"=", "|", "+", "+", "+", "+"},
}

// state returns the glyph and the tone of a VM's or disk's state.
func (t *theme) state(s string) (string, tone) {
	g := &t.glyphs
	switch s {
	case progress.Committed, progress.Complete:
		return g.ok, good
	case progress.Sending:
		return g.out, moving
	case progress.Receiving:
		return g.in, moving
	case progress.Verifying:
		return g.check, moving
	case progress.Waiting:
		return g.wait, plain
	case progress.Stalled:
		return g.alarm, warn
	case progress.Parked, isPaused:
		return g.parked, warn
	case progress.Failed, isDamaged:
		return g.failed, bad
	}
	return g.idle, faint
}

// link returns the glyph and the tone of a link's state.
func (t *theme) link(s string) (string, tone) {
	g := &t.glyphs
	switch s {
	case progress.LinkUp:
		return g.ok, good
	case progress.LinkDialing:
		return g.wait, moving
	case progress.LinkRedial:
		return g.alarm, warn
	case progress.LinkDown:
		return g.failed, bad
	}
	return g.idle, faint
}

// uplink returns the glyph and the tone of an uplink's state.
func (t *theme) uplink(s string) (string, tone) {
	g := &t.glyphs
	switch s {
	case progress.UplinkActive:
		return g.ok, good
	case progress.UplinkStandby:
		return g.wait, plain
	case progress.UplinkDown:
		return g.failed, bad
	}
	return g.idle, faint
}

// level returns the glyph and the tone of an event's level.
func (t *theme) level(s string) (string, tone) {
	switch s {
	case progress.Error:
		return t.glyphs.failed, bad
	case progress.Warning:
		return t.glyphs.alarm, warn
	}
	return t.glyphs.idle, plain
}

// colored reports whether tones can be seen at all.
func (t *theme) colored() bool { return t.profile != termenv.Ascii && !t.ascii }
