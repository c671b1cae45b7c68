package main

import (
	"context"
	"errors"
	"sync/atomic"

	"wanrep/replicate/progress"
	"wanrep/tui"
)

// errDemoQuit ends a demo whose person has seen enough.
var errDemoQuit = errors.New("ended before it was through")

// show does the demo's work with the terminal UI in front of it. The UI stays
// until the person quits; quitting early ends the demo.
func (d *demo) show(ctx context.Context, dir string, size int64) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	started, ended := make(chan *demoHands, 1), make(chan error, 1)
	go func() {
		ended <- d.work(ctx, dir, size, func(site *demoSite, run *demoRun) {
			hands := &demoHands{site: site}
			run.hands = hands.used.Load
			started <- hands
		})
	}()
	var hands *demoHands
	select {
	case hands = <-started:
	case err := <-ended:
		return err
	}
	err := tui.Run(ctx, tui.Config{
		Source: hands,
		Script: d.log.lines,
		Actions: func(progress.Status, progress.VM) []tui.Action {
			return []tui.Action{
				{Key: "c", Label: "cut path", Do: hands.cut},
				{Key: "m", Label: "migrate", Do: hands.migrate},
				{Key: "b", Label: "blackout", Do: hands.blackOut},
			}
		},
	})
	select {
	case done := <-ended:
		return errors.Join(done, err)
	default:
	}
	stop()
	if done := <-ended; done != nil && !errors.Is(done, context.Canceled) {
		return done
	}
	if err != nil {
		return err
	}
	return fail(exitInterrupted, "", "%w", errDemoQuit)
}

// demoHands are the keys that disturb the line by hand.
type demoHands struct {
	site *demoSite
	used atomic.Bool
}

// Status makes it the source of the UI.
func (h *demoHands) Status(context.Context) (progress.Status, error) {
	return h.site.source.Status(), nil
}

// cut takes the path in use away, or gives back what is cut.
func (h *demoHands) cut(context.Context) error {
	h.used.Store(true)
	restored := false
	for _, path := range demoPaths {
		if h.site.line.IsCut(path) {
			h.site.line.Restore(path)
			restored = true
		}
	}
	if !restored {
		h.site.line.Cut(h.inUse())
	}
	return nil
}

// migrate moves the link to the other path while both are whole.
func (h *demoHands) migrate(ctx context.Context) error {
	h.used.Store(true)
	return h.site.migrate(ctx, h.inUse())
}

// blackOut takes all paths away for a while.
func (h *demoHands) blackOut(ctx context.Context) error {
	h.used.Store(true)
	h.site.line.CutAll()
	defer h.site.line.RestoreAll()
	return pauseDemo(ctx, demoBlackout)
}

func (h *demoHands) inUse() string {
	if path := h.site.view().link().Path; path == demoPaths[1] {
		return path
	}
	return demoPaths[0]
}
