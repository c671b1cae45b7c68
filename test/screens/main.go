// Command screens makes pictures of the terminal UI for the README and for
// people who review it. It starts the real UI in a pseudo terminal with a status
// from a file, reads the terminal's cells, and paints them.
//
//	go run ./test/screens -all test/screens
//	wanrep status --json > now.json && go run ./test/screens -status now.json -size 120x40 -out now.png
//
// With -all it paints the pictures that the README shows, which scenes.go lists; the
// same fonts make the same files. It is no test and no part of wanrep; paint.go
// holds the painting.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"strings"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"

	"wanrep/replicate/progress"
	"wanrep/tui"
)

func main() {
	var p picture
	flag.StringVar(&p.out, "out", "", "the PNG to write")
	all := flag.String("all", "", "the directory into which to write all pictures of the README, instead of one")
	flag.StringVar(&p.size, "size", "120x40", "columns and rows of the terminal")
	flag.StringVar(&p.status, "status", "tui/testdata/branch.json", "the status to show, as `wanrep status --json` prints it")
	flag.StringVar(&p.keys, "keys", "", "keys to press before the picture is taken, for example \"jj\"")
	flag.BoolVar(&p.light, "light", false, "a terminal with a light background")
	flag.StringVar(&p.fonts, "font", "/usr/share/fonts/truetype/dejavu", "the directory of DejaVuSansMono.ttf and DejaVuSansMono-Bold.ttf")
	flag.Parse()
	paint := p.make
	if *all != "" {
		paint = func() error { return paintScenes(*all, p.status, p.fonts) }
	}
	if err := paint(); err != nil {
		fmt.Fprintln(os.Stderr, "screens:", err)
		os.Exit(1)
	}
}

// A picture is one PNG of the UI.
type picture struct {
	out    string
	size   string                 // "120x40"
	status string                 // the file of the status to show
	change func(*progress.Status) // of that status; nil for none
	keys   string                 // pressed before the picture is taken
	fonts  string                 // their directory
	light  bool
}

// make writes the file.
func (p picture) make() error {
	if p.out == "" {
		return fmt.Errorf("say with -out which file to write")
	}
	img, err := p.take()
	if err != nil {
		return err
	}
	f, err := os.Create(p.out)
	if err != nil {
		return err
	}
	defer f.Close()
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(f, img); err != nil {
		return err
	}
	return f.Close()
}

// take runs the UI and returns what it shows.
func (p picture) take() (*image.RGBA, error) {
	var w, h int
	if _, err := fmt.Sscanf(p.size, "%dx%d", &w, &h); err != nil || w < 1 || h < 1 || w > 500 || h > 200 {
		return nil, fmt.Errorf("-size %q: write columns and rows, such as 120x40", p.size)
	}
	faces, err := loadFaces(p.fonts)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(p.status)
	if err != nil {
		return nil, err
	}
	var st progress.Status
	if err := json.Unmarshal(data, &st); err != nil {
		return nil, fmt.Errorf("%s: %w", p.status, err)
	}
	if p.change != nil {
		p.change(&st)
	}
	screen, err := show(st, w, h, p.keys, p.light)
	if err != nil {
		return nil, err
	}
	return paint(screen, faces, p.light), nil
}

// still is a source that always tells the same.
type still struct{ status progress.Status }

func (s still) Status(context.Context) (progress.Status, error) { return s.status, nil }

// show runs the UI in a terminal of w by h cells, presses keys and returns what
// it shows then.
func show(st progress.Status, w, h int, keys string, light bool) (*vt.SafeEmulator, error) {
	master, slave, err := pty.Open()
	if err != nil {
		return nil, fmt.Errorf("open a pseudo terminal: %w", err)
	}
	defer master.Close()
	defer slave.Close()
	if err := pty.Setsize(master, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)}); err != nil {
		return nil, err
	}
	screen := vt.NewSafeEmulator(w, h)
	go io.Copy(screen, master)
	// What the emulator answers to the UI's questions.
	go io.Copy(master, screen)

	ctx, quit := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- tui.Run(ctx, tui.Config{Source: still{st}, In: slave, Out: slave, Light: light, Getenv: environment})
	}()
	settle(screen)
	for _, k := range keys {
		if _, err := io.WriteString(master, string(k)); err != nil {
			quit()
			return nil, err
		}
		settle(screen)
	}
	picture := vt.NewSafeEmulator(w, h)
	for y := range h {
		for x := range w {
			picture.SetCell(x, y, screen.CellAt(x, y))
		}
	}
	quit()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		return nil, fmt.Errorf("the UI ended early: %w", err)
	}
	return picture, nil
}

// settle waits until something is on the screen and has not changed for a while.
func settle(screen *vt.SafeEmulator) {
	const still, most = 300 * time.Millisecond, 10 * time.Second
	before, since := "", time.Now()
	for start := since; time.Since(start) < most; time.Sleep(20 * time.Millisecond) {
		now := screen.Render()
		if now != before || strings.TrimSpace(now) == "" {
			before, since = now, time.Now()
		} else if time.Since(since) >= still {
			return
		}
	}
}

// environment is that of a modern terminal, whatever this runs in.
func environment(name string) string {
	return map[string]string{"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}[name]
}
