package replicate

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"wanrep/diskio"
	"wanrep/replicate/progress"
	"wanrep/replicate/retain"
	"wanrep/resume"
)

// A keeper heals and prunes the points of a target beside what it receives: those of all
// VMs when the target starts, those of a VM after each commit, and when the operator asks.
// It works on one VM at a time, so that the disks are not kept busy by it.
type keeper struct {
	store *resume.Store
	rules retain.Rules
	board *progress.Board
	log   *slog.Logger
	// healRate is how much is read a second, in bytes, to make digests again; 0 is no
	// limit.
	healRate int64
	// gone is called with how many points less a VM has, and the time of the oldest.
	gone func(key vmKey, points int, oldest time.Time)

	wake chan struct{} // holds one at most: due has something

	mu   sync.Mutex
	due  map[vmKey]bool
	held map[vmKey]string // what was reported last

	working sync.Mutex // held by who heals or prunes
}

func newKeeper(cfg TargetConfig, gone func(vmKey, int, time.Time)) *keeper {
	return &keeper{
		store: cfg.Store, rules: cfg.Retention, board: cfg.Board, log: cfg.Log, gone: gone, healRate: cfg.Scrub.MaxRate,
		wake: make(chan struct{}, 1), due: map[vmKey]bool{}, held: map[vmKey]string{},
	}
}

// committed lets the points of a VM be healed and pruned soon.
func (k *keeper) committed(key vmKey) {
	k.mu.Lock()
	k.due[key] = true
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run heals and prunes until ctx ends.
func (k *keeper) run(ctx context.Context) {
	k.healAll(ctx)
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
			k.healNow(ctx, key)
			k.scheduled(ctx, PruneRequest{Source: key.source, VM: key.vm})
		}
	}
}

// healAll heals the points of all VMs.
func (k *keeper) healAll(ctx context.Context) {
	points, err := k.store.List()
	if err != nil {
		k.log.Error("list the store", "err", err)
	}
	damaged := map[vmKey]bool{}
	for _, p := range points {
		if len(p.Damage) > 0 {
			damaged[vmKey{p.Source, p.VM}] = true
		}
	}
	for key := range damaged {
		k.healNow(ctx, key)
	}
}

func (k *keeper) healNow(ctx context.Context, key vmKey) {
	if err := k.heal(ctx, key); err != nil && ctx.Err() == nil {
		k.log.Error("heal", "vm", key.vm, "err", err)
		k.event(progress.Error, key, "heal: "+err.Error())
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
	k.tellRotten(key, vm)
	held := ""
	switch {
	case vm.Held != nil && removed == 0:
		held = *vm.Held
	case vm.Error != nil && !vm.waits:
		held = "prune: " + *vm.Error
	}
	k.mu.Lock()
	was := k.held[key]
	k.held[key] = held
	k.mu.Unlock()
	k.board.VM(key.source, key.vm, func(b *progress.VM) { b.Held = diskio.Printable(held) })
	if held != "" && held != was {
		k.event(progress.Warning, key, "the points of "+vm.VM+" are held: "+held)
	}
}

// tellRotten tells what a prune found to be damaged, and lets that be healed. What a
// point that is gone had is that of the next one, and nothing new.
func (k *keeper) tellRotten(key vmKey, vm PrunedVM) {
	before := slices.Clone(vm.before)
	for i := range before {
		before[i].Point = vm.heir(before[i].Point)
	}
	if len(before)+len(vm.after) > 0 && k.tellDamage(key, before, vm.after, nil) {
		k.committed(key)
	}
}

// heir returns a point, or if that was removed the next one that was not.
func (vm PrunedVM) heir(point string) string {
	for _, p := range vm.Points {
		if p.Point >= point && !p.Removed {
			return p.Point
		}
	}
	return point
}

func (k *keeper) event(level string, key vmKey, text string) {
	k.board.Event(progress.Event{Level: level, VM: key.vm, Text: diskio.Printable(text)})
}
