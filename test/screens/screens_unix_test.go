//go:build !windows

package main

import (
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

func TestPicture(t *testing.T) {
	const fonts = "/usr/share/fonts/truetype/dejavu"
	if _, err := loadFaces(fonts); err != nil {
		t.Skip("no font to paint with: ", err)
	}
	out := filepath.Join(t.TempDir(), "top.png")
	p := picture{out: out, size: "80x24", status: "../../tui/testdata/branch.json", keys: "?", fonts: fonts}
	if err := p.make(); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	if want := image.Rect(0, 0, 80*cellWidth+2*margin, 24*cellHeight+2*margin); img.Bounds() != want {
		t.Errorf("the picture is %v, want %v", img.Bounds(), want)
	}
	colors := map[[3]uint32]bool{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			r, g, b, _ := img.At(x, y).RGBA()
			colors[[3]uint32{r >> 8, g >> 8, b >> 8}] = true
		}
	}
	// Of the palette: failed, sending, complete. A blank picture has one colour.
	for _, want := range [][3]uint32{{0xff, 0x6f, 0x3c}, {0x56, 0xb3, 0xe9}, {0x00, 0xb3, 0x86}} {
		found := false
		for got := range colors {
			found = found || near(got, want)
		}
		if !found {
			t.Errorf("nothing is painted %02x", want)
		}
	}
}

func near(a, b [3]uint32) bool {
	for i := range a {
		if a[i] > b[i]+1 || b[i] > a[i]+1 {
			return false
		}
	}
	return true
}

func TestClearErrors(t *testing.T) {
	tests := []struct{ name, out, size, status, fonts, want string }{
		{"no file", "", "80x24", "x", "x", "say with -out which file to write"},
		{"no size", "x.png", "big", "x", "x", `-size "big": write columns and rows, such as 120x40`},
		{"no font", "x.png", "80x24", "x", "/nowhere", "open /nowhere/DejaVuSansMono.ttf: no such file or directory: install fonts-dejavu-core, or name a directory with -font"},
	}
	for _, tt := range tests {
		p := picture{out: tt.out, size: tt.size, status: tt.status, fonts: tt.fonts}
		if err := p.make(); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.want)
		}
	}
}
