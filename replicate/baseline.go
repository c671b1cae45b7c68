package replicate

import (
	"errors"
	"io"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
)

// maxUnchanged is how many unchanged blocks are passed on as one piece: 64 MiB of
// content, in 40 KiB of memory.
const maxUnchanged = 1024

// A baseline is what a based disk holds at the target already, block by block, as
// the target tells it while the source reads: neither end keeps it in memory. The
// nil baseline is that of a disk that holds nothing.
//
// It decides what is sent, and the root, which the source computes from what it has
// read, proves that both ends have the same disk. Of blocks that a change list leaves
// out the root has the digest that the target told. A block that is damaged at the target
// has digest.None there: it is read and sent whatever it is.
type baseline struct {
	digests *wire.DigestReader
	size    int64
	// waiting counts the time until the target has told a digest.
	waiting *progress.Stage
	// block and sum are the next record, if ahead is set; done tells that there is
	// none any more.
	block int64
	sum   digest.Sum
	ahead bool
	done  bool
}

func newBaseline(digests *wire.DigestReader, size int64, waiting *progress.Stage) *baseline {
	return &baseline{digests: digests, size: size, waiting: waiting}
}

// peek returns the number of the next block with a digest; ok is false at the end.
func (b *baseline) peek() (block int64, ok bool, err error) {
	if b == nil || b.done {
		return 0, false, nil
	}
	if !b.ahead {
		b.waiting.Begin()
		b.block, b.sum, err = b.digests.Next()
		b.waiting.End()
		if errors.Is(err, io.EOF) {
			b.done = true
			return 0, false, nil
		}
		if err != nil {
			return 0, false, err
		}
		b.ahead = true
	}
	return b.block, true, nil
}

// stale returns the next run of blocks below offset that the target has content
// for, at most a frame's worth, and passes it. ok is false if there is none.
func (b *baseline) stale(offset int64) (run diskio.Extent, ok bool, err error) {
	limit := digest.Blocks(offset)
	for run.Length < wire.MaxFrameBytes {
		block, more, err := b.peek()
		if err != nil {
			return run, false, err
		}
		start := block * diskio.BlockBytes
		if !more || block >= limit || run.Length > 0 && start != run.End() {
			break
		}
		if run.Length == 0 {
			run.Start = start
		}
		run.Length = min(start+diskio.BlockBytes, b.size) - run.Start
		b.ahead = false
	}
	return run, run.Length > 0, nil
}

// unchanged fills in the digests of the next run of blocks below offset, at most
// maxUnchanged, and passes them. What lies between them is zeros. The extent is empty
// if there is none, or if the next block is damaged.
func (b *baseline) unchanged(offset int64, into []pendingBlock) (run diskio.Extent, blocks []pendingBlock, err error) {
	limit := digest.Blocks(offset)
	for blocks = into[:0]; len(blocks) < maxUnchanged; {
		block, more, err := b.peek()
		if err != nil {
			return run, nil, err
		}
		if !more || block >= limit || b.sum == digest.None() {
			break
		}
		start := block * diskio.BlockBytes
		if len(blocks) == 0 {
			run.Start = start
		}
		run.Length = min(start+diskio.BlockBytes, b.size) - run.Start
		blocks = append(blocks, pendingBlock{block, b.sum})
		b.ahead = false
	}
	return run, blocks, nil
}

// damaged returns the next block, if it lies below offset and is damaged at the target.
// It does not pass it.
func (b *baseline) damaged(offset int64) (e diskio.Extent, ok bool, err error) {
	block, more, err := b.peek()
	if err != nil || !more || block >= digest.Blocks(offset) || b.sum != digest.None() {
		return e, false, err
	}
	start := block * diskio.BlockBytes
	return diskio.Extent{Start: start, Length: min(diskio.BlockBytes, b.size-start)}, true, nil
}

// extend takes the digests of the blocks below offset, or below the next damaged one,
// into a tree, and passes them.
func (b *baseline) extend(tree *digest.Tree, offset int64) error {
	limit := digest.Blocks(offset)
	for {
		block, more, err := b.peek()
		if err != nil {
			return err
		}
		if !more || block >= limit {
			tree.SkipTo(limit)
			return nil
		}
		if b.sum == digest.None() {
			tree.SkipTo(block)
			return nil
		}
		tree.SkipTo(block)
		tree.Add(b.sum)
		b.ahead = false
	}
}

// take fills in the digests of the blocks of an extent and passes them. A block
// without one is zeros at the target.
func (b *baseline) take(e diskio.Extent, into []digest.Sum) ([]digest.Sum, error) {
	into = into[:0]
	first := e.Start / diskio.BlockBytes
	for n := first; n < digest.Blocks(e.End()); n++ {
		block, more, err := b.peek()
		if err != nil {
			return nil, err
		}
		if more && block == n {
			into = append(into, b.sum)
			b.ahead = false
			continue
		}
		into = append(into, digest.ZeroBlock())
	}
	return into, nil
}
