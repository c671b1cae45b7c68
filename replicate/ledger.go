package replicate

import (
	"context"
	"fmt"
	"sync"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/replicate/wire"
)

// maxPending is how many blocks of a disk, sent or found equal, may wait until
// they are durable: 4 GiB of content, 2.5 MiB of memory. A target acknowledges at
// least every 64 MiB that it got and every second, so only one that does not
// acknowledge at all makes a source wait here.
const maxPending = 1 << 16

// A ledger knows which blocks of one disk went over during a run, and what their
// digests are, so that after a lost link the source continues at the target's
// offset without reading anything again.
//
// The digest of what is durable is one Tree; blocks that were sent beyond it wait
// in a queue, because the target may not have them after all. Sender and receiver
// of acknowledgements share a ledger.
type ledger struct {
	size int64

	mu sync.Mutex
	// tree covers the blocks that became durable since this run joined in.
	tree    *digest.Tree
	pending []pendingBlock
	// sent is the offset behind the last block that was handed to a stream.
	sent int64
	// room is signalled when pending shrinks.
	room chan struct{}
}

type pendingBlock struct {
	block int64
	sum   digest.Sum
}

func newLedger(size int64) *ledger {
	return &ledger{size: size, room: make(chan struct{}, 1)}
}

// attach continues at the target's durable offset. If the ledger does not know the
// blocks below it, as after a restart of the source, its tree begins there and
// known is false.
func (l *ledger) attach(offset int64) (known bool, err error) {
	if offset < 0 || offset > l.size || offset%diskio.BlockBytes != 0 && offset != l.size {
		return false, fmt.Errorf("the target continues at offset %d of %d, which is no block", offset, l.size)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := digest.Blocks(offset)
	if l.tree != nil && l.tree.Next() <= at && offset <= l.sent {
		l.settle(at)
		l.pending = nil
		l.sent = offset
		return true, nil
	}
	l.tree = digest.NewTree(at)
	l.pending = nil
	l.sent = offset
	return at == 0, nil
}

// settle moves the pending blocks below block at into the tree.
func (l *ledger) settle(at int64) {
	n := 0
	for n < len(l.pending) && l.pending[n].block < at {
		l.tree.SkipTo(l.pending[n].block)
		l.tree.Add(l.pending[n].sum)
		n++
	}
	l.pending = append(l.pending[:0], l.pending[n:]...)
	l.tree.SkipTo(at)
}

// add notes blocks that are about to be handed to the stream, up to offset end. It
// waits while too many are not durable.
func (l *ledger) add(ctx context.Context, blocks []pendingBlock, end int64) error {
	for {
		l.mu.Lock()
		if len(l.pending) < maxPending {
			l.pending = append(l.pending, blocks...)
			l.sent = max(l.sent, end)
			l.mu.Unlock()
			return nil
		}
		l.mu.Unlock()
		select {
		case <-l.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// durable notes the target's acknowledgement.
func (l *ledger) durable(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset > l.sent || offset%diskio.BlockBytes != 0 && offset != l.size {
		return &wire.ProtocolError{What: "durable offset", Reason: fmt.Sprintf("%d was acknowledged, but only %d sent", offset, l.sent)}
	}
	l.settle(digest.Blocks(offset))
	select {
	case l.room <- struct{}{}:
	default:
	}
	return nil
}

// finish says that nothing follows: the rest of the disk is zeros.
func (l *ledger) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = l.size
}

// digests returns the tree over everything from where the ledger joined in to the
// end of the disk, sent or not.
func (l *ledger) digests() *digest.Tree {
	l.mu.Lock()
	defer l.mu.Unlock()
	tree := l.tree.Clone()
	for _, p := range l.pending {
		tree.SkipTo(p.block)
		tree.Add(p.sum)
	}
	tree.SkipTo(digest.Blocks(l.size))
	return tree
}
