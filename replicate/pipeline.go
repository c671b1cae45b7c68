package replicate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
)

// readAhead is how many pieces of one disk may be read, digested and compressed
// before they are sent: 2 MiB of content, enough to keep two processors and a
// disk busy, and 4 MiB of memory at the most.
const readAhead = 8

// A piece is a run of blocks on its way from the snapshot to the stream.
type piece struct {
	extent diskio.Extent
	origin origin
	data   []byte
	// base are the digests of what the target has in place of each block.
	base []digest.Sum
	// todo is what has to be done about each block.
	todo []int
	// frames are the encoded frames, blocks the digests of the content.
	frames []byte
	blocks []pendingBlock
	// content is how many bytes the frames carry, and same how many the target
	// has already. The rest are zeros.
	content, same int64
	encoded       sync.WaitGroup
}

// An origin says how a piece is known.
type origin int

const (
	fromDisk origin = iota // it was read
	fromHole               // the disk has a hole there, and the target still has content
	fromBase               // it is unchanged, and its digests are those of the base
)

var pieces = sync.Pool{New: func() any {
	return &piece{data: make([]byte, wire.MaxFrameBytes), frames: make([]byte, 0, wire.MaxFrameBytes+4*wire.FrameHeaderBytes)}
}}

// A reader reads what a plan says, compares it with a baseline, and passes it on
// in order, while other goroutines encode it.
type reader struct {
	disk     *diskRun
	plan     *plan
	baseline *baseline
	// listed tells that what the plan leaves out is the base's, and not zeros.
	listed bool
	out    chan<- *piece
	// pass waits while the operator holds the job.
	pass func(context.Context) error
}

// run reads until the plan is done.
func (r *reader) run(ctx context.Context) error {
	for {
		if err := r.pass(ctx); err != nil {
			return err
		}
		e, err := r.plan.piece()
		if errors.Is(err, io.EOF) {
			return r.passGap(ctx, r.plan.size)
		}
		if err != nil {
			return r.disk.fail(err)
		}
		if err := r.passGap(ctx, e.Start); err != nil {
			return err
		}
		if err := r.readPiece(ctx, e); err != nil {
			return err
		}
	}
}

// readPiece reads one piece of the disk and passes it on.
func (r *reader) readPiece(ctx context.Context, e diskio.Extent) (err error) {
	next := pieces.Get().(*piece)
	next.extent, next.origin = e, fromDisk
	if next.base, err = r.baseline.take(e, next.base); err != nil {
		return err
	}
	stages := r.disk.board.Stages()
	stages.Read.Begin()
	err = readFull(r.disk.snapshot, next.data[:e.Length], e.Start)
	stages.Read.End()
	if err != nil {
		return r.disk.fail(err)
	}
	return r.hand(ctx, next)
}

// passGap passes on what the plan leaves out below offset.
func (r *reader) passGap(ctx context.Context, offset int64) error {
	if r.listed {
		return r.passUnchanged(ctx, offset)
	}
	return r.passStale(ctx, offset)
}

// passUnchanged passes on that the blocks below offset are those of the base. It reads
// those that are damaged there.
func (r *reader) passUnchanged(ctx context.Context, offset int64) error {
	for {
		next := pieces.Get().(*piece)
		next.origin = fromBase
		var err error
		if next.extent, next.blocks, err = r.baseline.unchanged(offset, next.blocks); err != nil {
			return err
		}
		if len(next.blocks) > 0 {
			if err := r.hand(ctx, next); err != nil {
				return err
			}
			continue
		}
		pieces.Put(next)
		e, ok, err := r.baseline.damaged(offset)
		if err != nil || !ok {
			return err
		}
		if err := r.readPiece(ctx, e); err != nil {
			return err
		}
	}
}

// passStale passes on that the holes below offset are zeros, where the target has
// something else.
func (r *reader) passStale(ctx context.Context, offset int64) error {
	for {
		e, ok, err := r.baseline.stale(offset)
		if err != nil || !ok {
			return err
		}
		next := pieces.Get().(*piece)
		next.extent, next.origin = e, fromHole
		if err := r.hand(ctx, next); err != nil {
			return err
		}
	}
}

// hand encodes a piece on the way to the sender.
func (r *reader) hand(ctx context.Context, p *piece) error {
	p.encoded.Go(func() { p.encode(r.disk.board.Stages()) })
	select {
	case r.out <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at offset %d: %w", len(b), off, err)
}

var zeroBlock = make([]byte, diskio.BlockBytes)

// What has to be done about a block.
const (
	leave = iota
	send
	erase
)

// encode digests the piece's blocks and makes one frame of each run of blocks that
// differ from what the target has.
func (p *piece) encode(stages *progress.Stages) {
	p.frames, p.content, p.same = p.frames[:0], 0, 0
	if p.origin == fromBase {
		last := p.extent.End() - p.blocks[len(p.blocks)-1].block*diskio.BlockBytes
		p.same = int64(len(p.blocks)-1)*diskio.BlockBytes + last
		return
	}
	p.blocks = p.blocks[:0]
	if p.origin == fromHole {
		p.frames = wire.AppendZeros(p.frames, p.extent.Start, int(p.extent.Length))
		return
	}
	stages.Digest.Begin()
	p.todo = p.todo[:0]
	for i, at := 0, 0; at < int(p.extent.Length); i, at = i+1, at+diskio.BlockBytes {
		p.todo = append(p.todo, p.compare(i, p.data[at:min(at+diskio.BlockBytes, int(p.extent.Length))]))
	}
	stages.Digest.End()
	stages.Compress.Begin()
	todo, from := leave, 0 // what the run that began at from needs
	for i, now := range p.todo {
		if now != todo {
			p.frame(todo, from, i*diskio.BlockBytes)
			todo, from = now, i*diskio.BlockBytes
		}
	}
	p.frame(todo, from, int(p.extent.Length))
	stages.Compress.End()
}

// compare digests the piece's block i and says what has to be done about it.
func (p *piece) compare(i int, block []byte) int {
	if bytes.Equal(block, zeroBlock[:len(block)]) {
		if p.base[i] == digest.ZeroBlock() {
			return leave
		}
		return erase
	}
	sum := digest.Block(block)
	p.blocks = append(p.blocks, pendingBlock{p.extent.Start/diskio.BlockBytes + int64(i), sum})
	if p.base[i] == sum {
		p.same += int64(len(block))
		return leave
	}
	return send
}

// frame appends a frame of the bytes from and to, if there is something to do.
func (p *piece) frame(todo, from, to int) {
	switch {
	case from == to:
	case todo == erase:
		p.frames = wire.AppendZeros(p.frames, p.extent.Start+int64(from), to-from)
	case todo == send:
		p.frames = wire.AppendData(p.frames, p.extent.Start+int64(from), p.data[from:to])
		p.content += int64(to - from)
	}
}
