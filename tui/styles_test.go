package tui

import (
	"fmt"
	"image/color"
	"strings"
	"testing"

	"github.com/charmbracelet/x/vt"
	"github.com/muesli/termenv"

	"wanrep/replicate/progress"
)

func TestLookFor(t *testing.T) {
	tests := []struct {
		name       string
		env        map[string]string
		noTerminal bool
		want       look
	}{
		{name: "modern", env: map[string]string{"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "en_US.UTF-8"}, want: look{profile: termenv.TrueColor}},
		{name: "256 colours", env: map[string]string{"TERM": "screen-256color", "LANG": "C.utf8"}, want: look{profile: termenv.ANSI256}},
		{name: "NO_COLOR", env: map[string]string{"TERM": "xterm-256color", "LANG": "C.UTF-8", "NO_COLOR": "1"}, want: look{profile: termenv.Ascii}},
		{name: "no terminal", env: map[string]string{"TERM": "xterm-256color", "LANG": "C.UTF-8"}, noTerminal: true, want: look{profile: termenv.Ascii}},
		{name: "serial console", env: map[string]string{"TERM": "vt220", "LANG": "C"}, want: look{profile: termenv.Ascii, ascii: true}},
		{name: "Latin-1", env: map[string]string{"TERM": "xterm", "LANG": "de_DE.ISO-8859-1"}, want: look{profile: termenv.ANSI, ascii: true}},
		{name: "LC_ALL wins", env: map[string]string{"TERM": "xterm", "LC_ALL": "C", "LANG": "C.UTF-8"}, want: look{profile: termenv.ANSI, ascii: true}},
		{name: "by hand", env: map[string]string{"TERM": "xterm", "LANG": "C.UTF-8", "WANREP_ASCII": "1"}, want: look{profile: termenv.ANSI, ascii: true}},
		{name: "nothing known", want: look{profile: termenv.Ascii, ascii: !unicodeConsole}},
	}
	for _, tt := range tests {
		if got := lookFor(func(k string) string { return tt.env[k] }, !tt.noTerminal, false); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// Every state has a glyph, none of which stands for two tones, so that a screen
// without colour says as much as one with it.
func TestStatesWithoutColour(t *testing.T) {
	states := []string{
		progress.Waiting, progress.Verifying, progress.Sending, progress.Receiving, progress.Stalled, progress.Complete,
		progress.Committed, progress.Parked, progress.Failed, progress.NotStarted,
		isDamaged,
	}
	for _, l := range []look{{profile: termenv.Ascii}, {profile: termenv.Ascii, ascii: true}} {
		th := newTheme(l)
		tones := map[string]tone{}
		for _, s := range states {
			sign, tone := th.state(s)
			if other, ok := tones[sign]; ok && other != tone {
				t.Errorf("%s has the glyph %q of another tone", s, sign)
			}
			tones[sign] = tone
			if l.ascii && sign > "~" {
				t.Errorf("%s has the glyph %q in ASCII", s, sign)
			}
		}
	}
}

func TestColours(t *testing.T) {
	st := branch(t)
	for _, l := range []look{{profile: termenv.TrueColor, dark: true}, {profile: termenv.TrueColor}} {
		colors := lightColors
		if l.dark {
			colors = darkColors
		}
		e := vt.NewEmulator(80, 24)
		e.WriteString(strings.ReplaceAll(render(showing(st, 80, 24, l)), "\n", "\r\n"))
		for word, want := range map[string]tone{"failed": bad, "sending": moving, "complete": good, "LAG": faint} {
			if got := colorOf(e, word); !painted(got, colors[want]) {
				t.Errorf("dark %v: %q is painted %v, want %s", l.dark, word, got, colors[want])
			}
		}
	}
	for name, l := range map[string]look{"NO_COLOR": {profile: termenv.Ascii}, "ASCII": {profile: termenv.Ascii, ascii: true}} {
		frame := render(showing(st, 120, 40, l))
		for _, code := range sgr.FindAllString(frame, -1) {
			if code != "\x1b[1m" && code != "\x1b[0m" {
				t.Errorf("%s: %q in the frame", name, code)
				break
			}
		}
		if l.ascii && strings.ContainsFunc(frame, func(r rune) bool { return r > '~' }) {
			t.Error("ASCII: other characters in the frame")
		}
	}
	m := showing(st, 80, 24, unicodeLook)
	m.gone, m.goneSince = errSilent, m.clock
	e := vt.NewEmulator(80, 24)
	e.WriteString(strings.ReplaceAll(render(m), "\n", "\r\n"))
	if got := colorOf(e, "sending"); !painted(got, darkColors[faint]) {
		t.Errorf("while gone, old data is painted %v", got)
	}
	if got := colorOf(e, "gone"); !painted(got, darkColors[bad]) {
		t.Errorf("while gone, that is painted %v", got)
	}
}

// colorOf returns the colour of the first place where a word is on the screen.
func colorOf(e *vt.Emulator, word string) color.Color {
	for y := range e.Height() {
		for x := range e.Width() - len(word) {
			n := 0
			for n < len(word) && e.CellAt(x+n, y) != nil && e.CellAt(x+n, y).Content == word[n:n+1] {
				n++
			}
			if n == len(word) {
				return e.CellAt(x, y).Style.Fg
			}
		}
	}
	return nil
}

// painted reports whether c is the colour want, "#rrggbb", give or take what is
// lost in conversion.
func painted(c color.Color, want string) bool {
	var rgb [3]int
	if _, err := fmt.Sscanf(want, "#%02x%02x%02x", &rgb[0], &rgb[1], &rgb[2]); err != nil || c == nil {
		return false
	}
	r, g, b, _ := c.RGBA()
	for i, v := range []uint32{r, g, b} {
		if d := int(v>>8) - rgb[i]; d < -1 || d > 1 {
			return false
		}
	}
	return true
}
