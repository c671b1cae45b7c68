package main

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"os"
	"path/filepath"

	"github.com/charmbracelet/x/vt"
	"golang.org/x/image/font"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// Measures in pixels. Pictures are painted at twice the size they are usually
// shown at.
const (
	fontSize   = 26
	cellWidth  = 16
	cellHeight = 34
	baseline   = 26
	margin     = 20
)

// faces are the fonts that cells are painted with.
type faces struct{ regular, bold font.Face }

// loadFaces reads DejaVu Sans Mono, which has every glyph that the UI uses.
func loadFaces(dir string) (faces, error) {
	load := func(name string) (font.Face, error) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, fmt.Errorf("%w: install fonts-dejavu-core, or name a directory with -font", err)
		}
		f, err := opentype.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return opentype.NewFace(f, &opentype.FaceOptions{Size: fontSize, DPI: 72, Hinting: font.HintingFull})
	}
	regular, err := load("DejaVuSansMono.ttf")
	if err != nil {
		return faces{}, err
	}
	bold, err := load("DejaVuSansMono-Bold.ttf")
	return faces{regular, bold}, err
}

// paint returns a picture of a terminal.
func paint(screen *vt.SafeEmulator, f faces, light bool) *image.RGBA {
	fg, bg := color.RGBA{0xd8, 0xdc, 0xe3, 0xff}, color.RGBA{0x16, 0x19, 0x20, 0xff}
	if light {
		fg, bg = color.RGBA{0x22, 0x26, 0x2e, 0xff}, color.RGBA{0xfc, 0xfc, 0xfa, 0xff}
	}
	w, h := screen.Width(), screen.Height()
	img := image.NewRGBA(image.Rect(0, 0, w*cellWidth+2*margin, h*cellHeight+2*margin))
	draw.Draw(img, img.Bounds(), image.NewUniform(bg), image.Point{}, draw.Src)
	for y := range h {
		for x := range w {
			if cell := screen.CellAt(x, y); cell != nil {
				paintCell(img, f, image.Pt(x, y), cell.Content, look{or(cell.Style.Fg, fg), or(cell.Style.Bg, bg), cell.Style.Attrs&boldBit != 0})
			}
		}
	}
	return img
}

// boldBit is the bit of a cell's attributes that says bold.
const boldBit = 1

// A look is how a cell is painted.
type look struct {
	fg, bg color.Color
	bold   bool
}

func or(c, otherwise color.Color) color.Color {
	if c == nil {
		return otherwise
	}
	return c
}

func paintCell(img *image.RGBA, f faces, cell image.Point, text string, l look) {
	at := image.Rect(0, 0, cellWidth, cellHeight).Add(image.Pt(margin+cell.X*cellWidth, margin+cell.Y*cellHeight))
	draw.Draw(img, at, image.NewUniform(l.bg), image.Point{}, draw.Src)
	for _, r := range text {
		if paintShape(img, at, r, l) {
			return
		}
	}
	face := f.regular
	if l.bold {
		face = f.bold
	}
	d := font.Drawer{Dst: img, Src: image.NewUniform(l.fg), Face: face, Dot: fixed.P(at.Min.X, at.Min.Y+baseline)}
	d.DrawString(text)
}

// paintShape paints what must meet the next cell without a gap, as terminals
// do themselves instead of leaving it to the font: blocks and lines.
func paintShape(img *image.RGBA, at image.Rectangle, r rune, l look) bool {
	fill := func(x0, y0, x1, y1 int) {
		draw.Draw(img, image.Rect(x0, y0, x1, y1).Intersect(at), image.NewUniform(l.fg), image.Point{}, draw.Src)
	}
	midX, midY := (at.Min.X+at.Max.X)/2, (at.Min.Y+at.Max.Y)/2
	across := func(from, to, half int) { fill(from, midY-half, to, midY+half) }
	down := func(from, to int) { fill(midX-1, from, midX+1, to) }
	switch {
	case r >= '▁' && r <= '█':
		fill(at.Min.X, at.Max.Y-at.Dy()*(int(r-'▁')+1)/8, at.Max.X, at.Max.Y)
	case r == '▌':
		fill(at.Min.X, at.Min.Y, at.Min.X+at.Dx()/3, at.Max.Y)
	case r == '━':
		across(at.Min.X, at.Max.X, 4)
	case r == '╍':
		across(at.Min.X+1, midX-1, 4)
		across(midX+1, at.Max.X-1, 4)
	case r == '─':
		across(at.Min.X, at.Max.X, 1)
	case r == '│':
		down(at.Min.Y, at.Max.Y)
	case r == '├':
		down(at.Min.Y, at.Max.Y)
		across(midX, at.Max.X-3, 1)
	case r == '└':
		down(at.Min.Y, midY+1)
		across(midX, at.Max.X-3, 1)
	case r == '╭' || r == '╮' || r == '╯' || r == '╰':
		paintCorner(img, at, r, l.fg)
	default:
		return false
	}
	return true
}

// paintCorner paints a quarter of a circle that joins the middles of two edges.
func paintCorner(img *image.RGBA, at image.Rectangle, r rune, fg color.Color) {
	midX, midY := (at.Min.X+at.Max.X)/2, (at.Min.Y+at.Max.Y)/2
	right, below := r == '╭' || r == '╰', r == '╭' || r == '╮'
	radius := cellWidth / 2
	center := image.Pt(midX-radius, midY-radius)
	if right {
		center.X = midX + radius
	}
	if below {
		center.Y = midY + radius
	}
	for y := at.Min.Y; y < at.Max.Y; y++ {
		for x := at.Min.X; x < at.Max.X; x++ {
			if dx, dy := x-center.X, y-center.Y; (dx < 0) == right && (dy < 0) == below {
				from, to := (radius-1)*(radius-1), (radius+1)*(radius+1)
				if d := dx*dx + dy*dy; d >= from && d <= to {
					img.Set(x, y, fg)
				}
			} else if (dy >= 0) == below && x >= midX-1 && x < midX+1 {
				img.Set(x, y, fg)
			}
		}
	}
}
