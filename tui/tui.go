// Package tui is the terminal UI of an appliance (`wanrep top`), its status
// table (`wanrep status`) and the progress bars of a run, with the formatting of
// sizes, rates and times that they and the commands share.
//
// It is a client: it reads a [progress.Status] once a second from whatever
// serves one, and never reaches into replication. Quitting it ends nothing, and
// no key destroys anything. Everything drawn is a pure function of the model, so
// that a screen is a golden file. Age, not success, comes first everywhere: the
// first number of each screen is how old the newest restore points are.
//
// Start with [Run]; model.go holds what is known, update.go how it changes,
// view.go how it looks, styles.go colours and glyphs. The rest of the package
// draws onto a canvas, which is the only way to the terminal and makes all
// text from peers and disks printable.
package tui

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"

	_ "before.bubbletea/quiet" // bubbletea asks no terminal before Run does
	tea "github.com/charmbracelet/bubbletea"
	"github.com/charmbracelet/lipgloss"
	"golang.org/x/term"

	"wanrep/replicate/progress"
)

// ErrNoTerminal is returned by Run where nobody could see or use the UI.
var ErrNoTerminal = errors.New("the terminal UI needs a terminal")

// A Source tells how an appliance is. The client of the control socket is one.
type Source interface {
	Status(ctx context.Context) (progress.Status, error)
}

// An Action is a key that does more than look: for a program that shows the UI of
// what it runs itself, or for what an operator may do to a running appliance. None
// may destroy anything.
type Action struct {
	// Key is one character that no key of the UI has.
	Key string
	// Label is one or two words for the key line: "cut".
	Label string
	// Rare leaves it out of the key line. The help has it.
	Rare bool
	// Ask is what the person has to say yes to first, with another key than the
	// action's. Default: nothing is asked.
	Ask string
	// Do runs in the background. Its error is shown.
	Do func(ctx context.Context) error
}

// States of a ScriptLine.
const (
	Pending = "pending"
	Running = "running"
	Done    = "done"
	// Failed is a step that did not do what it should.
	Failed = "failed"
)

// A ScriptLine is one step of what a program shows with the UI.
type ScriptLine struct {
	State string
	Text  string
}

// Config configures the UI. Only Source is needed.
type Config struct {
	Source Source
	// In and Out are the terminal. Default: standard input and output.
	In  *os.File
	Out *os.File
	// Getenv looks up TERM, COLORTERM, NO_COLOR, CLICOLOR, the locale and
	// WANREP_ASCII. Default: os.Getenv.
	Getenv func(string) string
	// Light says that the terminal's background is light. Default: asked from
	// the terminal.
	Light bool
	// Points returns a document that has a VM's restore points, as "wanrep points list
	// --json" prints it. Default: the UI says that there are none to be had.
	Points func(context.Context, progress.VM) (json.RawMessage, error)
	// Actions returns the additional keys that there are for an appliance and the VM
	// that is selected, the zero VM if there is none. Default: none.
	Actions func(progress.Status, progress.VM) []Action
	// Script returns the steps for the script pane; it is called once a second.
	// Default: no such pane.
	Script func() []ScriptLine
}

func (c Config) withDefaults() Config {
	if c.In == nil {
		c.In = os.Stdin
	}
	if c.Out == nil {
		c.Out = os.Stdout
	}
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	return c
}

// Run shows the UI until the person quits, which returns nil, or ctx ends, which
// returns its cause. It returns ErrNoTerminal where In or Out is no terminal.
// An appliance that does not answer is no error: the UI says so and asks again.
func Run(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	if !term.IsTerminal(int(cfg.In.Fd())) || !term.IsTerminal(int(cfg.Out.Fd())) || cfg.Getenv("TERM") == "dumb" {
		return ErrNoTerminal
	}
	work, stop := context.WithCancel(ctx)
	defer stop()
	dark := !cfg.Light && lipgloss.NewRenderer(cfg.Out).HasDarkBackground()
	m := newModel(lookFor(cfg.Getenv, true, dark), cfg.Actions)
	m.fetch = fetcher(work, cfg.Source)
	m.fetchPoints = pointsFetcher(work, cfg.Points)
	m.clipboard = cfg.Out
	m.script = cfg.Script
	m.work = work
	p := tea.NewProgram(m, tea.WithInput(cfg.In), tea.WithOutput(wholeFrames{cfg.Out}),
		tea.WithAltScreen(), tea.WithoutSignalHandler())
	// Quitting waits until nothing reads the terminal any more; tea.WithContext
	// would not.
	defer context.AfterFunc(ctx, p.Quit)()
	_, err := p.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// wholeFrames makes the terminal show each frame at once: bubbletea writes one
// with a single Write, and the marks of synchronized output, which terminals
// without it ignore, go around it.
type wholeFrames struct{ *os.File }

// frameBytes is a length from which on a write is taken to be a frame and not
// a single command to the terminal.
const frameBytes = 64

func (w wholeFrames) Write(p []byte) (int, error) {
	if len(p) < frameBytes {
		return w.File.Write(p)
	}
	const begin, end = "\x1b[?2026h", "\x1b[?2026l"
	frame := make([]byte, 0, len(begin)+len(p)+len(end))
	frame = append(append(append(frame, begin...), p...), end...)
	n, err := w.File.Write(frame)
	if err != nil {
		return max(0, min(n-len(begin), len(p))), err
	}
	return len(p), nil
}

var _ io.Writer = wholeFrames{}
