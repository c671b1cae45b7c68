package replicate

import (
	"context"
	"errors"
	"fmt"
	"io"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/replicate/wire"
)

// A prefix digests the beginning of a disk, which an earlier run sent, beside the
// sending of the rest. It proves that what the target holds is this disk.
//
// Without a change list it reads all of it and needs no link. With one it reads what
// changed, and has the digests of the rest from the target, so that each session goes
// on where the one before ended.
type prefix struct {
	end int64
	// since is the identity of the base that the change list goes back to; empty
	// without one.
	since string
	// cancel ends the goroutine of a prefix without a change list.
	cancel context.CancelFunc
	// done is closed when tree covers everything below end, or err tells why not.
	done chan struct{}
	tree *digest.Tree
	err  error
}

// newPrefix begins to digest what lies below end, in place of an earlier prefix.
func (d *diskRun) newPrefix(ctx context.Context, end int64) {
	d.prefix.stop()
	p := &prefix{end: end, since: d.since, done: make(chan struct{}), tree: digest.NewTree(0)}
	d.prefix = p
	if p.since != "" {
		return // prove does it
	}
	ctx, p.cancel = context.WithCancel(ctx)
	go func() {
		defer close(p.done)
		p.err = d.digestPrefix(ctx, p, newPlan(d.snapshot.NextData, d.size(), 0), nil)
	}()
}

// prove goes on with a prefix that has a change list. It returns at once if there is
// none.
func (d *diskRun) prove(ctx context.Context, s *session, place int, generation uint64) error {
	p := d.prefix
	if p == nil || p.since == "" || p.proved() {
		return nil
	}
	from := p.tree.Next() * diskio.BlockBytes
	base, end, err := d.askBase(ctx, s, place, generation, from)
	if err != nil {
		return err
	}
	defer end()
	if err := d.digestPrefix(ctx, p, newPlan(d.changed, d.size(), from), base); err != nil {
		return orRefused(err)
	}
	close(p.done)
	return nil
}

// digestPrefix reads what the plan says below the end of the prefix. The rest has the
// digests of the baseline, or is zeros without one.
func (d *diskRun) digestPrefix(ctx context.Context, p *prefix, plan *plan, base *baseline) error {
	buffer := make([]byte, wire.MaxFrameBytes)
	var were []digest.Sum
	for ctx.Err() == nil {
		e, err := plan.piece()
		if errors.Is(err, io.EOF) || err == nil && e.Start >= p.end {
			return d.extendPrefix(ctx, p, base, p.end)
		}
		if err != nil {
			return d.fail(err)
		}
		if err := d.extendPrefix(ctx, p, base, e.Start); err != nil {
			return err
		}
		e.Length = min(e.Length, p.end-e.Start)
		if were, err = base.take(e, were); err != nil {
			return err
		}
		data := buffer[:e.Length]
		if err := readFull(d.snapshot, data, e.Start); err != nil {
			return d.fail(fmt.Errorf("read again what was sent: %w", err))
		}
		for at := 0; at < len(data); at += diskio.BlockBytes {
			p.tree.Add(digest.Block(data[at:min(at+diskio.BlockBytes, len(data))]))
		}
	}
	return ctx.Err()
}

// extendPrefix takes over the digests of the baseline below offset, and reads the blocks
// of which the target has none that can be trusted.
func (d *diskRun) extendPrefix(ctx context.Context, p *prefix, base *baseline, offset int64) error {
	for ctx.Err() == nil {
		if err := base.extend(p.tree, offset); err != nil {
			return err
		}
		e, lost, err := base.damaged(offset)
		if err != nil || !lost {
			return err
		}
		if _, err := base.take(e, nil); err != nil {
			return err
		}
		data := make([]byte, e.Length)
		if err := readFull(d.snapshot, data, e.Start); err != nil {
			return d.fail(fmt.Errorf("read again what was sent: %w", err))
		}
		p.tree.Add(digest.Block(data))
	}
	return ctx.Err()
}

// provable reports whether the prefix can still be completed when the disk is compared
// with the content of that identity. The nil prefix always is.
func (p *prefix) provable(since string) bool {
	return p == nil || p.since == "" || p.since == since || p.proved()
}

func (p *prefix) proved() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop ends the digesting. It does nothing on a nil prefix.
func (p *prefix) stop() {
	if p == nil || p.cancel == nil {
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
