//go:build !windows

package tui

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
	"golang.org/x/term"

	"wanrep/replicate/progress"
)

// constant is a Source with one answer.
type constant struct{ status progress.Status }

func (c constant) Status(context.Context) (progress.Status, error) { return c.status, nil }

// A screen is a terminal in which Run runs.
type screen struct {
	t      *testing.T
	master *os.File
	slave  *os.File
	ended  chan error

	mu    sync.Mutex
	cells *vt.Emulator
	raw   strings.Builder // all that was written
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Write(p)
	return s.cells.Write(p)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cells.String()
}

func open(t *testing.T, ctx context.Context, w, h int, cfg Config) *screen {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo terminal: ", err)
	}
	t.Cleanup(func() { master.Close(); slave.Close() })
	if err := pty.Setsize(master, &pty.Winsize{Cols: uint16(w), Rows: uint16(h)}); err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, master: master, slave: slave, cells: vt.NewEmulator(w, h), ended: make(chan error, 1)}
	go io.Copy(s, master)
	go io.Copy(master, s.cells)
	cfg.In, cfg.Out = slave, slave
	cfg.Getenv = func(name string) string {
		return map[string]string{"TERM": "xterm-256color", "LANG": "C.UTF-8"}[name]
	}
	go func() { s.ended <- Run(ctx, cfg) }()
	return s
}

// waitFor waits until the screen shows a text.
func (s *screen) waitFor(text string) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(s.text(), text) {
			return
		}
	}
	s.t.Fatalf("%q did not appear:\n%s", text, s.text())
}

func (s *screen) press(keys string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, keys); err != nil {
		s.t.Fatal(err)
	}
}

func (s *screen) end() error {
	s.t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(10 * time.Second):
		s.t.Fatal("Run did not return")
		return nil
	}
}

// A person starts the UI, looks around, does something, and quits.
func TestRun(t *testing.T) {
	cut := make(chan struct{}, 1)
	s := open(t, t.Context(), 80, 24, Config{
		Source:  constant{branch(t)},
		Actions: fixed([]Action{{Key: "c", Label: "cut", Do: func(context.Context) error { cut <- struct{}{}; return nil }}}),
		Script:  script,
	})
	s.waitFor("worst lag 26h07m of 4h web03")
	s.waitFor("verify the replica")
	s.press("?")
	s.waitFor("any key closes this")
	s.press("x")
	s.press("jj\r") // bubbletea makes one message of keys that come together
	s.waitFor("1h20m old, taken 2026-11-24 10:00:00 UTC")
	s.press("c")
	<-cut
	s.waitFor("cut: done")
	before, _ := term.GetState(int(s.slave.Fd()))
	s.press("q")
	if err := s.end(); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if after, _ := term.GetState(int(s.slave.Fd())); before != nil && *after == *before {
		t.Error("the terminal is still in raw mode")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	raw := s.raw.String()
	if strings.Contains(raw, "\x1b[?1000h") || strings.Contains(raw, "\x1b[?1002h") || strings.Contains(raw, "\x1b[?1003h") {
		t.Error("the mouse was taken away from the terminal")
	}
	if !strings.Contains(raw, "\x1b[?1049h") || strings.LastIndex(raw, "\x1b[?1049l") < strings.LastIndex(raw, "sql01") {
		t.Error("the UI wrote over the shell's lines, or what it drew is still there")
	}
	if begun, done := strings.Count(raw, "\x1b[?2026h"), strings.Count(raw, "\x1b[?2026l"); begun == 0 || begun != done {
		t.Errorf("%d frames begun, %d ended", begun, done)
	}
}

func TestRunEndsWithContext(t *testing.T) {
	cause := errors.New("terminated")
	ctx, cancel := context.WithCancelCause(t.Context())
	s := open(t, ctx, 80, 24, Config{Source: silent{}})
	s.waitFor("quit")
	cancel(cause)
	if err := s.end(); !errors.Is(err, cause) {
		t.Errorf("Run returned %v, want the cause", err)
	}
}

func TestRunWithoutTerminal(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if err := Run(t.Context(), Config{Source: silent{}, In: r, Out: w}); !errors.Is(err, ErrNoTerminal) {
		t.Errorf("Run returned %v", err)
	}
}
