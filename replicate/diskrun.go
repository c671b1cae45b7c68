package replicate

import (
	"context"
	"errors"
	"sync/atomic"

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

	// changed finds what may differ from what the target has, if the disk can tell;
	// since is the identity of that. nil: everything is read and compared.
	changed search
	since   string

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
	listed   bool   // a change list was used at some time
	note     string // in what it differs from the point before
	rootText string // the root in hex, once known
}

func (d *diskRun) size() int64 { return d.snapshot.Size() }

func (d *diskRun) fail(err error) error {
	var known *DiskError
	if errors.As(err, &known) {
		return err
	}
	return &DiskError{VM: d.vm, Disk: d.name, Err: err}
}

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
	d.listChanges(at)
	switch {
	case known && at.Durable == 0:
		d.prefix.stop()
		d.prefix = nil
	case !known && (d.prefix == nil || d.prefix.end != at.Durable):
		d.newPrefix(ctx, at.Durable)
	case !d.prefix.provable(d.since):
		d.newPrefix(ctx, d.prefix.end)
	}
	d.complete, d.based = at.Complete, at.Based
	d.durable.Store(at.Durable)
	d.written.Store(at.Durable)
	return nil
}

// listChanges looks whether the disk can tell what changed since the content that the
// target has.
func (d *diskRun) listChanges(at wire.Offset) {
	d.changed, d.since = nil, ""
	lister, can := d.snapshot.(changeLister)
	if !can || !at.Based || at.BaseIdentity == "" {
		return
	}
	is := func(identity string) bool { return shorten(identity) == at.BaseIdentity }
	if next, ok := lister.ChangedSince(is); ok {
		d.changed, d.since, d.listed = next, at.BaseIdentity, true
	}
}

// search finds what has to be read.
func (d *diskRun) search() search {
	if d.changed != nil {
		return d.changed
	}
	return d.snapshot.NextData
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
		if state == progress.Waiting {
			b.Offset = b.Durable // what an earlier run sent is of another point
		}
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
