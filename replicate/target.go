package replicate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/durable"
	"wanrep/replicate/progress"
	"wanrep/replicate/retain"
	"wanrep/replicate/wire"
	"wanrep/resume"
)

// TargetConfig is what a target works with. All fields but State, Retention,
// Scrub and Space are needed.
type TargetConfig struct {
	Name     string
	Software string // version, told to sources
	Store    *resume.Store
	// State is the directory in which the target remembers what its sources say of
	// their VMs besides content. Nil: it is forgotten when the target ends.
	State durable.FS
	// Retention says which points stay. The zero value keeps all of them.
	Retention retain.Rules
	// Scrub says how the points are read again. The zero value is not at all.
	Scrub ScrubRules
	// Space tells where the store is and how much room it has. Nil: it is not shown.
	Space func() (progress.Store, error)
	Board *progress.Board
	Log   *slog.Logger
}

// maxLinks is how many links a target serves at once. A source needs one for each
// job that runs, so hundreds of branches fit.
const maxLinks = 256

// MaxStreams is how many streams a source opens on one link: the control stream, for
// each disk one with its content and two for the digests of its base, below where it
// continues and behind, and a few on which it asks for the status.
const MaxStreams = 1 + 3*wire.MaxDisks + 4

// A Target receives the points of its sources.
type Target struct {
	cfg TargetConfig

	mu sync.Mutex
	// holders are the links that have a part open, by VM.
	holders map[vmKey]*holder
	// kept counts the committed points of each VM.
	kept map[vmKey]kept

	book   *vmBook
	keeper *keeper

	// admission is held while a process of a source is let in (see fence.go).
	admission sync.Mutex
	admitted  map[*targetLink]struct{}
}

// kept is what a VM has in the store.
type kept struct {
	points int
	newest time.Time
	oldest time.Time
	last   string // the newest point
}

type vmKey struct{ source, vm string }

// A holder is the one link that may write to a VM's part.
type holder struct {
	// fence ends the holder's writing for good; done is closed when it has ended.
	fence func()
	done  chan struct{}
}

// NewTarget shows what the store holds.
func NewTarget(cfg TargetConfig) *Target {
	t := &Target{cfg: cfg, holders: map[vmKey]*holder{}, kept: map[vmKey]kept{}, admitted: map[*targetLink]struct{}{}}
	t.keeper = newKeeper(cfg, t.pruned)
	t.showStore()
	t.book = openVMBook(cfg.State, cfg.Log)
	t.showBook()
	t.showSpace()
	return t
}

// Serve serves the links that accept returns, until ctx ends or accept fails.
// Before it returns, every link is closed and every part is parked.
func (t *Target) Serve(ctx context.Context, accept func(context.Context) (Link, error)) error {
	var links sync.WaitGroup
	defer links.Wait()
	defer context.AfterFunc(ctx, t.cfg.Store.Interrupt)()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	links.Go(func() { t.watchSpace(ctx) })
	links.Go(func() { t.keeper.run(ctx) })
	links.Go(func() { newScrubber(t.cfg, t.keeper).run(ctx) })
	places := make(chan struct{}, maxLinks)
	for {
		link, err := accept(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept a link: %w", err)
		}
		select {
		case places <- struct{}{}:
		default:
			link.Close(CloseBusy, "too many links")
			continue
		}
		links.Go(func() {
			defer func() { <-places }()
			t.serveLink(ctx, link)
		})
	}
}

// take makes a link the holder of a VM. It fences the link that has been, which is
// dead or about to be, and waits until that one writes no more.
func (t *Target) take(ctx context.Context, key vmKey, fence func()) (release func(), err error) {
	mine := &holder{fence: fence, done: make(chan struct{})}
	for {
		t.mu.Lock()
		other := t.holders[key]
		if other == nil {
			t.holders[key] = mine
			t.mu.Unlock()
			return func() { t.release(key, mine) }, nil
		}
		t.mu.Unlock()
		other.fence()
		select {
		case <-other.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (t *Target) release(key vmKey, h *holder) {
	t.mu.Lock()
	delete(t.holders, key)
	t.mu.Unlock()
	close(h.done)
}

// showStore counts the store's points and puts them on the board.
func (t *Target) showStore() {
	points, err := t.cfg.Store.List()
	if err != nil {
		t.cfg.Log.Error("list the store", "err", err)
		return
	}
	newest := map[vmKey]resume.Point{}
	for _, p := range points {
		if p.State == resume.StateCommitted {
			t.keep(vmKey{p.Source, p.VM}, p.Point, p.Time)
			newest[vmKey{p.Source, p.VM}] = p // they come in their order
		}
	}
	for key, p := range newest {
		t.keeper.showProofs(key)
		for _, d := range p.Disks {
			t.cfg.Board.Disk(p.Source, p.VM, d.Disk, func(b *progress.Disk) {
				b.State, b.VirtualSize, b.Offset, b.Durable = progress.Committed, d.VirtualSize, d.VirtualSize, d.VirtualSize
			})
		}
	}
	for _, p := range points {
		if len(p.Damage) > 0 {
			t.keeper.showDamage(vmKey{p.Source, p.VM})
		}
		switch p.State {
		case resume.StateCommitted:
			continue
		case resume.StateDamaged:
			t.cfg.Board.Event(progress.Event{Level: progress.Error, Peer: p.Source, VM: p.VM, Text: "point " + p.Point + " is damaged: its manifest can't be read"})
			t.cfg.Board.VM(p.Source, p.VM, func(b *progress.VM) { b.Damage = "the manifest of point " + p.Point + " can't be read" })
			continue
		}
		t.cfg.Board.VM(p.Source, p.VM, func(b *progress.VM) {
			b.State, b.Point, b.Because = progress.Parked, p.Point, "waits for its source"
		})
		for _, d := range p.Disks {
			t.cfg.Board.Disk(p.Source, p.VM, d.Disk, func(b *progress.Disk) {
				b.State, b.VirtualSize, b.Offset, b.Durable = progress.Parked, d.VirtualSize, d.Durable, d.Durable
			})
		}
	}
}

// showBook puts what sources said of the VMs that the store has on the board.
func (t *Target) showBook() {
	stored := map[vmKey]bool{}
	for _, v := range t.cfg.Board.Status().VMs {
		stored[vmKey{v.Source, v.VM}] = true
	}
	t.book.keepOnly(func(key vmKey) bool { return stored[key] })
	t.book.each(t.showEntry)
}

func (t *Target) showEntry(key vmKey, e vmEntry) {
	t.cfg.Board.VM(key.source, key.vm, func(b *progress.VM) { b.RPO, b.FirstSeen = e.RPO, e.Since })
}

// keep counts one more committed point of a VM.
func (t *Target) keep(key vmKey, point string, at time.Time) {
	t.mu.Lock()
	k := t.kept[key]
	k.points++
	k.newest, k.last = later(k.newest, at), max(k.last, point)
	if k.oldest.IsZero() || at.Before(k.oldest) {
		k.oldest = at
	}
	t.kept[key] = k
	t.mu.Unlock()
	t.cfg.Board.VM(key.source, key.vm, func(b *progress.VM) {
		b.Points, b.Newest = k.points, k.newest
		if b.State == progress.NotStarted {
			b.State = progress.Committed
		}
	})
}

// pruned notes how many committed points less a VM has, and the time of the oldest.
func (t *Target) pruned(key vmKey, points int, oldest time.Time) {
	t.mu.Lock()
	k := t.kept[key]
	k.points, k.oldest = k.points-points, oldest
	t.kept[key] = k
	t.mu.Unlock()
	t.cfg.Board.VM(key.source, key.vm, func(b *progress.VM) { b.Points = k.points })
	t.showSpace()
}

// Prune applies the retention rules, as the operator asks.
func (t *Target) Prune(ctx context.Context, r PruneRequest) (PruneReport, error) {
	return t.keeper.prune(ctx, r)
}

// A ScrubRequest says what of a disk of a point is to be read again.
type ScrubRequest struct {
	Source  string                 `json:"source"`
	VM      string                 `json:"vm"`
	Point   string                 `json:"point"`
	Disk    string                 `json:"disk"`
	Extents []resume.DamagedExtent `json:"extents"`
}

// Scrub reads again what somebody has found to differ, and notes what does. Nothing is
// taken on trust, and a point that is gone meanwhile is no error.
func (t *Target) Scrub(ctx context.Context, r ScrubRequest) error {
	o := resume.VerifyOptions{Disk: r.Disk, MaxRate: t.cfg.Scrub.MaxRate}
	for _, e := range r.Extents {
		o.Extents = append(o.Extents, diskio.Extent(e))
	}
	err := t.keeper.scrub(ctx, resume.Point{Source: r.Source, VM: r.VM, Point: r.Point}, o)
	if errors.Is(err, resume.ErrNoPoint) {
		return nil
	}
	return err
}

// known returns what a VM has in the store.
func (t *Target) known(key vmKey) kept {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kept[key]
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// codeOf returns the code of Refused for an error of the store.
func codeOf(err error) string {
	switch {
	case errors.Is(err, durable.ErrFull):
		return wire.CodeFull
	case errors.Is(err, resume.ErrDigest):
		return wire.CodeDigest
	case errors.Is(err, resume.ErrBusy):
		return wire.CodeBusy
	}
	return wire.CodeStore
}
