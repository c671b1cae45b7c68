package replicate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
)

// A diskRun is one disk over one run, whatever links come and go.
type diskRun struct {
	vm       string
	name     string
	snapshot Snapshot
	geometry Geometry
	identity string
	board    *progress.Board

	ledger *ledger
	// prefix digests what an earlier run sent; nil if this run sent everything.
	prefix *prefix
	// highest is the offset behind the last content ever sent in this run; what is
	// below and sent again counts as resent.
	highest int64

	totals struct {
		read, zero, same, data, wire, resent atomic.Int64
	}
	durable atomic.Int64
	// written is the offset behind the last content handed to the stream of the
	// current link, and writing tells that a Write runs.
	written  atomic.Int64
	writing  atomic.Bool
	pulse    *pulse // of the session that sends the disk
	complete bool
	based    bool   // the target has an older content of the disk
	rootText string // the root in hex, once known
}

func (d *diskRun) size() int64 { return d.snapshot.Size() }

func (d *diskRun) fail(err error) error { return &DiskError{VM: d.vm, Disk: d.name, Err: err} }

// spec is what the target must know of the disk.
func (d *diskRun) spec() wire.Disk {
	return wire.Disk{
		Name: d.name, ID: d.geometry.ID, Size: d.size(),
		LogicalSectorSize: d.geometry.LogicalSectorSize, PhysicalSectorSize: d.geometry.PhysicalSectorSize,
		Identity: d.identity,
	}
}

// attach continues at the offset that the target told. ctx is the run's: digesting
// what an earlier run sent goes on when the link drops.
func (d *diskRun) attach(ctx context.Context, at wire.Offset) error {
	known, err := d.ledger.attach(at.Durable)
	if err != nil {
		return &wire.ProtocolError{What: "disk " + d.name, Reason: err.Error()}
	}
	if !known && (d.prefix == nil || d.prefix.end != at.Durable) {
		d.prefix.stop()
		d.prefix = startPrefix(ctx, d.snapshot, at.Durable)
	}
	if known && at.Durable == 0 {
		d.prefix.stop()
		d.prefix = nil
	}
	d.complete, d.based = at.Complete, at.Based
	d.durable.Store(at.Durable)
	d.written.Store(at.Durable)
	return nil
}

// waits tells that the target has to move next: to take bytes, or to acknowledge.
func (d *diskRun) waits() bool {
	return d.writing.Load() || d.written.Load() > d.durable.Load()
}

// root returns the root over the whole disk once everything was sent, and waits
// until what an earlier run sent is digested too.
func (d *diskRun) root(ctx context.Context) (digest.Sum, error) {
	whole := digest.NewTree(0)
	if d.prefix != nil {
		d.show(progress.Verifying, "reading again what an earlier run sent")
		var err error
		if whole, err = d.prefix.wait(ctx); err != nil {
			return digest.Sum{}, err
		}
	}
	if err := whole.Join(d.ledger.digests()); err != nil {
		return digest.Sum{}, err
	}
	return whole.Root(d.size())
}

func (d *diskRun) show(state, because string) {
	d.board.Disk("", d.vm, d.name, func(b *progress.Disk) {
		b.State, b.Because = state, because
		b.VirtualSize = d.size()
		b.Durable = d.durable.Load()
		b.DiskTotals = d.report()
	})
}

// report returns the disk's counters.
func (d *diskRun) report() progress.DiskTotals {
	return progress.DiskTotals{
		Read: d.totals.read.Load(), SkippedZero: d.totals.zero.Load(), SkippedSame: d.totals.same.Load(),
		Data: d.totals.data.Load(), Wire: d.totals.wire.Load(), Resent: d.totals.resent.Load(),
	}
}

// A prefix digests the beginning of a disk, which an earlier run sent, beside the
// sending of the rest. It proves that what the target holds is this disk.
type prefix struct {
	end    int64
	cancel context.CancelFunc
	done   chan struct{}
	tree   *digest.Tree
	err    error
}

func startPrefix(ctx context.Context, s Snapshot, end int64) *prefix {
	ctx, cancel := context.WithCancel(ctx)
	p := &prefix{end: end, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		p.tree, p.err = digestTo(ctx, s, end)
	}()
	return p
}

// stop ends the digesting. It does nothing on a nil prefix.
func (p *prefix) stop() {
	if p == nil {
		return
	}
	p.cancel()
	<-p.done
}

// wait returns a copy of the tree over the prefix.
func (p *prefix) wait(ctx context.Context) (*digest.Tree, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if p.err != nil {
		return nil, p.err
	}
	return p.tree.Clone(), nil
}

// digestTo reads a snapshot up to end, which lies on a block or is the disk's end.
func digestTo(ctx context.Context, s Snapshot, end int64) (*digest.Tree, error) {
	tree := digest.NewTree(0)
	p := newPlan(s, 0)
	buffer := make([]byte, wire.MaxFrameBytes)
	for ctx.Err() == nil {
		e, err := p.piece()
		if errors.Is(err, io.EOF) || err == nil && e.Start >= end {
			tree.SkipTo(digest.Blocks(end))
			return tree, nil
		}
		if err != nil {
			return nil, err
		}
		data := buffer[:min(e.Length, end-e.Start)]
		if err := readFull(s, data, e.Start); err != nil {
			return nil, fmt.Errorf("read again what was sent: %w", err)
		}
		tree.SkipTo(e.Start / diskio.BlockBytes)
		for at := 0; at < len(data); at += diskio.BlockBytes {
			tree.Add(digest.Block(data[at:min(at+diskio.BlockBytes, len(data))]))
		}
	}
	return nil, ctx.Err()
}
