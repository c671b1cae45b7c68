package tui

import (
	"strings"

	"github.com/charmbracelet/lipgloss"

	"wanrep/diskio"
)

// A canvas is a screen of cells. All text gets to the terminal through put,
// which makes it printable and cuts it, so that no name from a peer or a disk
// can move the cursor or break a frame.
type canvas struct {
	*theme
	w, h  int
	cells []cell
}

type cell struct {
	text string // one character with its combining marks; "" behind a wide one
	ink  ink
}

// A rect is a part of a canvas.
type rect struct{ x, y, w, h int }

func newCanvas(t *theme, w, h int) *canvas {
	c := &canvas{theme: t, w: w, h: h, cells: make([]cell, w*h)}
	for i := range c.cells {
		c.cells[i].text = " "
	}
	return c
}

// put writes s at x, y in at most w columns and returns how many it took. What
// does not fit ends in an ellipsis.
func (c *canvas) put(x, y, w int, s string, i ink) int {
	w = min(w, c.w-x)
	if y < 0 || y >= c.h || x < 0 || w <= 0 {
		return 0
	}
	row := c.cells[y*c.w : (y+1)*c.w]
	glyphs := cut(s, w, c.glyphs.cut)
	if len(glyphs) > 0 && row[x].text == "" {
		row[x-1].text = " " // half of a wide character is covered
	}
	at := x
	for _, g := range glyphs {
		if c.ascii && g.text > "~" {
			g.text = strings.Repeat("?", g.width)
		}
		row[at] = cell{text: g.text, ink: i}
		if g.width == 2 {
			row[at+1] = cell{ink: i}
		}
		at += g.width
	}
	if at < c.w && row[at].text == "" {
		row[at].text = " "
	}
	return at - x
}

// right writes s so that it ends before column x+w.
func (c *canvas) right(x, y, w int, s string, i ink) {
	c.put(x+max(0, w-width(s)), y, w, s, i)
}

// A span is a piece of a line with its ink.
type span struct {
	text string
	ink  ink
}

// line writes spans one behind the other in at most w columns.
func (c *canvas) line(x, y, w int, spans ...span) int {
	at := 0
	for _, s := range spans {
		at += c.put(x+at, y, w-at, s.text, s.ink)
	}
	return at
}

// box draws a border with a title in its upper and a note in its lower edge,
// and returns what is inside.
func (c *canvas) box(r rect, title string, note []span, focused bool) rect {
	if r.w < 4 || r.h < 2 {
		return rect{}
	}
	b, edge := c.glyphs.box, of(faint)
	if focused {
		edge = of(moving)
		if !c.colored() {
			b = c.glyphs.focus
		}
	}
	for x := r.x + 1; x < r.x+r.w-1; x++ {
		c.put(x, r.y, 1, b[0], edge)
		c.put(x, r.y+r.h-1, 1, b[0], edge)
	}
	for y := r.y + 1; y < r.y+r.h-1; y++ {
		c.put(r.x, y, 1, b[1], edge)
		c.put(r.x+r.w-1, y, 1, b[1], edge)
	}
	c.put(r.x, r.y, 1, b[2], edge)
	c.put(r.x+r.w-1, r.y, 1, b[3], edge)
	c.put(r.x+r.w-1, r.y+r.h-1, 1, b[4], edge)
	c.put(r.x, r.y+r.h-1, 1, b[5], edge)
	if title != "" {
		n := c.put(r.x+3, r.y, r.w-6, title, of(plain, bold))
		c.put(r.x+2, r.y, 1, " ", edge)
		c.put(r.x+3+n, r.y, 1, " ", edge)
	}
	if len(note) > 0 {
		n := c.line(r.x+3, r.y+r.h-1, r.w-6, note...)
		c.put(r.x+2, r.y+r.h-1, 1, " ", edge)
		c.put(r.x+3+n, r.y+r.h-1, 1, " ", edge)
	}
	return rect{r.x + 1, r.y + 1, r.w - 2, r.h - 2}
}

// clear empties a part of the canvas.
func (c *canvas) clear(r rect) {
	for y := r.y; y < r.y+r.h; y++ {
		c.put(r.x, y, r.w, strings.Repeat(" ", r.w), of(plain))
	}
}

// mark gives a row the background of the selection.
func (c *canvas) mark(r rect) {
	for y := max(0, r.y); y < min(c.h, r.y+r.h); y++ {
		for x := max(0, r.x); x < min(c.w, r.x+r.w); x++ {
			c.cells[y*c.w+x].ink |= selected
		}
	}
}

// dim takes the colours off everything from row y on: what is drawn is old.
func (c *canvas) dim(y int) {
	for i := y * c.w; i < len(c.cells); i++ {
		c.cells[i].ink = of(faint)
	}
}

// String returns the screen, lines ended by a line feed except for the last.
func (c *canvas) String() string {
	var out, run strings.Builder
	for y := range c.h {
		if y > 0 {
			out.WriteByte('\n')
		}
		row := c.cells[y*c.w : (y+1)*c.w]
		for x := 0; x < len(row); {
			i := row[x].ink
			run.Reset()
			for ; x < len(row) && row[x].ink == i; x++ {
				run.WriteString(row[x].text)
			}
			out.WriteString(c.styles[i].Render(run.String()))
		}
	}
	return out.String()
}

// A glyph is one character as it takes up columns.
type glyph struct {
	text  string
	width int
}

// maxMarks is how many combining marks one cell keeps; more would draw over
// other lines.
const maxMarks = 2

// cut splits printable text into characters of at most w columns together, and
// ends it with more if it had to be cut.
func cut(s string, w int, more string) []glyph {
	all := split(s, w+1)
	total := 0
	for _, g := range all {
		total += g.width
	}
	if total <= w {
		return all
	}
	room := max(0, w-width(more))
	kept, at := all[:0], 0
	for _, g := range all {
		if at+g.width > room {
			break
		}
		kept = append(kept, g)
		at += g.width
	}
	return append(kept, split(more, w-at)...)
}

// shorten cuts a text to w columns so that how it ends stays: an error says last
// what went wrong.
func shorten(s string, w int, more string) string {
	i := strings.LastIndex(s, ": ")
	if width(s) <= w || i < 0 || width(s[i:]) > w*2/3 {
		return s
	}
	var b strings.Builder
	for _, g := range cut(s[:i], w-width(s[i:]), more) {
		b.WriteString(g.text)
	}
	return b.String() + s[i:]
}

// split makes text printable and splits it into characters until these take
// up w columns or more.
func split(s string, w int) []glyph {
	var out []glyph
	marks, at := 0, 0
	for _, r := range s {
		if at >= w {
			break
		}
		g := glyph{string(r), 1}
		if r < ' ' || r >= 0x7f {
			g.text = diskio.Printable(g.text)
			g.width = lipgloss.Width(g.text)
		}
		if g.width > 0 {
			out, marks = append(out, g), 0
			at += g.width
			continue
		}
		// A variation selector may change how wide the character before it is.
		if selector := r >= 0xfe00 && r <= 0xfe0f; len(out) > 0 && marks < maxMarks && !selector {
			out[len(out)-1].text += g.text
			marks++
		}
	}
	return out
}

// width returns how many columns printable text takes up.
func width(s string) int {
	n := 0
	for _, g := range split(s, 1<<20) {
		n += g.width
	}
	return n
}

// fit returns s printable and exactly w columns wide: cut with more, or padded
// with spaces.
func fit(s string, w int, more string) string {
	var b strings.Builder
	at := 0
	for _, g := range cut(s, w, more) {
		b.WriteString(g.text)
		at += g.width
	}
	return b.String() + strings.Repeat(" ", max(0, w-at))
}

// wrap breaks a text into printable lines of at most w columns, at spaces where
// it can; w is taken to be at least 2, for the widest character.
func wrap(s string, w int) []string {
	w = max(w, 2)
	var out []string
	var line strings.Builder
	used := 0
	end := func() {
		if used > 0 {
			out = append(out, line.String())
			line.Reset()
			used = 0
		}
	}
	for word := range strings.FieldsSeq(s) {
		n := width(word)
		switch {
		case used > 0 && used+1+n <= w:
			line.WriteByte(' ')
			used++
		case used > 0:
			end()
		}
		for _, g := range split(word, n) {
			if used+g.width > w {
				end()
			}
			line.WriteString(g.text)
			used += g.width
		}
	}
	end()
	return out
}
