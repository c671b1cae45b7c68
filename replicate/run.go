package replicate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
)

// Outcomes of a VM and of a run.
const (
	outcomeCommitted = progress.Committed
	outcomeParked    = progress.Parked
	outcomeFailed    = progress.Failed
)

// A run is one execution of a job. One goroutine owns it; the disks of the VM
// that is under way have their own (see diskRun).
type run struct {
	source   *Source
	job      Job
	ctx      context.Context
	attacher Attacher
	vms      []*vmRun
	began    time.Time
	log      *slog.Logger
	// grew tells that a durable offset grew since the last attach.
	grew atomic.Bool
}

// A vmRun is one VM of a run.
type vmRun struct {
	name    string
	disks   []*diskRun
	point   string
	base    string
	outcome string // empty until settled
	err     error
	seen    vmMemory // what the target has of it
	// warnings are what the operator should look at, whatever the outcome, and notes
	// in what the VM differs from the point before.
	warnings, notes []string
}

// execute settles every VM of the run: committed, parked or failed.
func (r *run) execute() {
	defer r.release()
	r.source.holds(r, nil)
	defer r.source.ended(r)
	r.openSnapshots()
	for r.next() != nil {
		link, err := r.attacher.Attach(r.ctx, r.grew.Swap(false))
		if err != nil {
			r.settleRest(err)
			return
		}
		err = r.session(r.ctx, link)
		code, reason := uint64(CloseDone), "the run has ended"
		switch {
		case r.ctx.Err() != nil:
			code, reason = CloseShutdown, "the run was interrupted"
		case err != nil:
			reason = err.Error()
		}
		link.Close(code, reason)
		switch {
		case err == nil:
		case r.ctx.Err() == nil && retryable(err):
			r.lost(err)
		default:
			r.settleRest(err)
		}
	}
}

// openSnapshots opens all disks of all VMs, so that a wrong path shows before
// hours of sending. A VM with a disk that can't be opened fails by itself.
func (r *run) openSnapshots() {
	for _, v := range r.vms {
		if err := r.openDisks(v); err != nil {
			r.settle(v, outcomeFailed, err)
		}
	}
}

func (r *run) openDisks(v *vmRun) error {
	for _, disk := range r.source.vms[v.name].Disks {
		d := &diskRun{vm: v.name, name: disk.Name, board: r.source.cfg.Board}
		var err error
		if d.snapshot, d.geometry, err = r.source.cfg.Open(r.ctx, disk.Path); err != nil {
			return d.fail(err)
		}
		v.disks = append(v.disks, d)
		if d.identity, err = Identity(d.snapshot); err != nil {
			return d.fail(err)
		}
		d.ledger = newLedger(d.size())
		d.show(progress.Waiting, "")
	}
	return nil
}

// Identity names a snapshot's content as a target is told it.
func Identity(s Snapshot) (string, error) {
	identity, err := s.Identity()
	return shorten(identity), err
}

// shorten makes an identity fit a message. That of a long chain of checkpoints names
// every file.
func shorten(identity string) string {
	if len(identity) <= wire.MaxIdentity {
		return identity
	}
	return fmt.Sprintf("sha256 %x", sha256.Sum256([]byte(identity)))
}

func (r *run) release() {
	for _, v := range r.vms {
		for _, d := range v.disks {
			d.prefix.stop()
			d.snapshot.Close()
		}
	}
}

// next returns the first VM that is not settled.
func (r *run) next() *vmRun {
	for _, v := range r.vms {
		if v.outcome == "" {
			return v
		}
	}
	return nil
}

func (r *run) vm(name string) *vmRun {
	for _, v := range r.vms {
		if v.name == name {
			return v
		}
	}
	return nil
}

// proven notes that a durable offset grew, which restarts the redial window.
func (r *run) proven() { r.grew.Store(true) }

func (r *run) started(v *vmRun) {
	board := r.source.cfg.Board
	board.VM("", v.name, func(b *progress.VM) { b.State, b.Because, b.Point = progress.Sending, "", v.point })
	for _, d := range v.disks {
		if at := d.durable.Load(); at > 0 {
			r.event(progress.Info, v, fmt.Sprintf("disk %s continues at %s of %s in point %s", d.name, size(at), size(d.size()), v.point))
		}
	}
	r.log.Info("attached", "vm", v.name, "point", v.point)
}

// lost shows where everything stands while the line is gone.
func (r *run) lost(err error) {
	v := r.next()
	if v == nil {
		return
	}
	because := diskio.Printable(err.Error())
	r.source.cfg.Board.VM("", v.name, func(b *progress.VM) { b.State, b.Because = progress.Stalled, because })
	for _, d := range v.disks {
		if !d.complete {
			d.show(progress.Stalled, fmt.Sprintf("the line dropped; continues at %s", size(d.durable.Load())))
		}
	}
	r.event(progress.Warning, v, "the line dropped: "+because)
	r.log.Warn("link lost", "vm", v.name, "point", v.point, "err", err)
}

// settleRest settles the VMs that are left when a run ends early.
func (r *run) settleRest(err error) {
	outcome := outcomeFailed
	switch {
	case r.ctx.Err() != nil:
		outcome, err = outcomeParked, ErrInterrupted
	case errors.Is(err, ErrRedialSpent):
		outcome = outcomeParked
	}
	for v := r.next(); v != nil; v = r.next() {
		r.settle(v, outcome, err)
	}
}

// settle fixes the outcome of a VM and tells everybody.
func (r *run) settle(v *vmRun, outcome string, err error) {
	v.outcome, v.err = outcome, err
	because, level := "", progress.Info
	if err != nil {
		because, level = diskio.Printable(err.Error()), progress.Error
	}
	r.source.cfg.Board.VM("", v.name, func(b *progress.VM) {
		b.State, b.Because, b.Point = outcome, because, v.point
		if outcome == outcomeCommitted {
			b.Newest = time.Now().UTC()
			b.Points++
		}
	})
	if outcome == outcomeCommitted {
		r.sawCommit(v)
	}
	for _, d := range v.disks {
		if outcome != outcomeCommitted && d.complete {
			continue
		}
		d.show(outcome, because)
	}
	took := time.Since(r.began).Round(100 * time.Millisecond)
	switch outcome {
	case outcomeCommitted:
		r.event(level, v, fmt.Sprintf("point %s committed after %v", v.point, took))
		r.log.Info("point committed", "vm", v.name, "point", v.point, "took", took)
	default:
		r.event(level, v, fmt.Sprintf("%s: %s", outcome, because))
		r.log.Error("point "+outcome, "vm", v.name, "point", v.point, "took", took, "err", err)
	}
}

func (r *run) event(level string, v *vmRun, text string) {
	r.source.cfg.Board.Event(progress.Event{Level: level, Peer: r.job.Peer, VM: v.name, Text: text})
}

// roots returns the root of each disk.
func (v *vmRun) roots(ctx context.Context) ([]digest.Sum, error) {
	roots := make([]digest.Sum, len(v.disks))
	for i, d := range v.disks {
		var err error
		if roots[i], err = d.root(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, d.fail(err)
		}
		d.rootText = roots[i].String()
	}
	return roots, nil
}

// size prints bytes for an event.
func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d bytes", n)
}
