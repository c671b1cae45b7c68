package replicate

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"wanrep/diskio"
	"wanrep/replicate/progress"
	"wanrep/replicate/retain"
	"wanrep/resume"
)

// A keeper prunes the points of a target beside what it receives: those of all VMs
// when the target starts, those of a VM after each commit, and when the operator asks.
// It works on one VM at a time, so that the disks are not kept busy by it.
type keeper struct {
	store *resume.Store
	rules retain.Rules
	board *progress.Board
	log   *slog.Logger
	// gone is called with how many points less a VM has, and the time of the oldest.
	gone func(key vmKey, points int, oldest time.Time)

	wake chan struct{} // holds one at most: due has something

	mu   sync.Mutex
	due  map[vmKey]bool
	held map[vmKey]string // what was reported last

	working sync.Mutex // held by who prunes
}

func newKeeper(cfg TargetConfig, gone func(vmKey, int, time.Time)) *keeper {
	return &keeper{
		store: cfg.Store, rules: cfg.Retention, board: cfg.Board, log: cfg.Log, gone: gone,
		wake: make(chan struct{}, 1), due: map[vmKey]bool{}, held: map[vmKey]string{},
	}
}

// committed lets the points of a VM be pruned soon.
func (k *keeper) committed(key vmKey) {
	k.mu.Lock()
	k.due[key] = true
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run prunes until ctx ends.
func (k *keeper) run(ctx context.Context) {
	k.scheduled(ctx, PruneRequest{})
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		}
		k.mu.Lock()
		due := k.due
		k.due = map[vmKey]bool{}
		k.mu.Unlock()
		for key := range due {
			k.scheduled(ctx, PruneRequest{Source: key.source, VM: key.vm})
		}
	}
}

func (k *keeper) scheduled(ctx context.Context, r PruneRequest) {
	if _, err := k.prune(ctx, r); err != nil && ctx.Err() == nil {
		k.log.Error("prune", "err", err)
		k.board.Event(progress.Event{Level: progress.Error, VM: r.VM, Text: diskio.Printable("prune: " + err.Error())})
	}
}

// prune applies the rules and puts on the board what came of it.
func (k *keeper) prune(ctx context.Context, r PruneRequest) (PruneReport, error) {
	k.working.Lock()
	defer k.working.Unlock()
	report, err := Prune(ctx, k.store, k.rules, time.Now(), r)
	if !r.DryRun {
		for _, vm := range report.VMs {
			k.tell(vm)
		}
	}
	return report, err
}

// tell puts on the board what became of the points of a VM.
func (k *keeper) tell(vm PrunedVM) {
	key := vmKey{vm.Source, vm.VM}
	removed, oldest := 0, time.Time{}
	for _, p := range vm.Points {
		if p.Removed {
			removed++
			k.event(progress.Info, key, fmt.Sprintf("pruned point %s of %s: %s", p.Point, vm.VM, strings.Join(p.Reasons, ", ")))
		} else if oldest.IsZero() {
			oldest = p.Time
		}
	}
	if removed > 0 {
		k.gone(key, removed, oldest)
	}
	held := ""
	switch {
	case vm.Held != nil && removed == 0:
		held = "the points of " + vm.VM + " are held: " + *vm.Held
	case vm.Error != nil && !vm.waits:
		held = "prune of " + vm.VM + ": " + *vm.Error
	}
	k.mu.Lock()
	was := k.held[key]
	k.held[key] = held
	k.mu.Unlock()
	k.board.VM(key.source, key.vm, func(b *progress.VM) { b.Held = held })
	if held != "" && held != was {
		k.event(progress.Warning, key, held)
	}
}

func (k *keeper) event(level string, key vmKey, text string) {
	k.board.Event(progress.Event{Level: level, VM: key.vm, Text: diskio.Printable(text)})
}
