//go:build !windows

package main

import (
	"bytes"
	"image"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	img := decode(t, out)
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

// TestPicturesOfTheREADME holds the pictures to what the UI draws now, and the README
// to the pictures.
func TestPicturesOfTheREADME(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`\]\(test/screens/([^)]*)\.png\)`).FindAllStringSubmatch(string(readme), -1)
	if len(shown) != len(scenes) {
		t.Errorf("the README shows %d pictures, there are %d", len(shown), len(scenes))
	}
	for _, name := range shown {
		if !slices.ContainsFunc(scenes, func(s scene) bool { return s.name == name[1] }) {
			t.Errorf("the README shows %s, which no scene makes", name[1])
		}
	}
	const fonts = "/usr/share/fonts/truetype/dejavu"
	if _, err := loadFaces(fonts); err != nil {
		t.Skip("no font to paint with: ", err)
	}
	for _, s := range scenes {
		want := pixels(t, s.name+".png")
		// A machine with much to do may take a picture before a key has done its work.
		const tries = 5
		for try := 1; ; try++ {
			img, err := s.picture("", "../../tui/testdata/branch.json", fonts).take()
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(img.Pix, want) {
				break
			}
			if try == tries {
				t.Errorf("%s.png is not what the UI draws (go run ./test/screens -all test/screens)", s.name)
				break
			}
		}
	}
}

// decode reads a PNG.
func decode(t *testing.T, name string) image.Image {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// pixels returns those of a PNG.
func pixels(t *testing.T, name string) []byte {
	t.Helper()
	img := decode(t, name)
	whole := image.NewRGBA(img.Bounds())
	draw.Draw(whole, whole.Bounds(), img, img.Bounds().Min, draw.Src)
	return whole.Pix
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
