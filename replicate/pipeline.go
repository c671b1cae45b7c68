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
	"wanrep/replicate/wire"
)

// readAhead is how many pieces of one disk may be read, digested and compressed
// before they are sent: 2 MiB of content, enough to keep two processors and a
// disk busy, and 4 MiB of memory at the most.
const readAhead = 8

// A piece is a run of blocks on its way from the snapshot to the stream.
type piece struct {
	extent diskio.Extent
	data   []byte
	// frames are the encoded frames, blocks the digests of what they carry.
	frames []byte
	blocks []pendingBlock
	// content is how many bytes the frames carry; the rest were zeros.
	content int64
	encoded sync.WaitGroup
}

var pieces = sync.Pool{New: func() any {
	return &piece{data: make([]byte, wire.MaxFrameBytes), frames: make([]byte, 0, wire.MaxFrameBytes+4*wire.FrameHeaderBytes)}
}}

// readPieces reads what the plan says and passes it on in order, while other
// goroutines encode it. It closes out when the plan is done.
func readPieces(ctx context.Context, p *plan, out chan<- *piece) error {
	defer close(out)
	for {
		e, err := p.piece()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		next := pieces.Get().(*piece)
		next.extent = e
		if err := readFull(p.snapshot, next.data[:e.Length], e.Start); err != nil {
			return err
		}
		next.encoded.Go(next.encode)
		select {
		case out <- next:
		case <-ctx.Done():
			return ctx.Err()
		}
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

// encode digests the piece's blocks and makes one frame of each run of blocks that
// are not zeros.
func (p *piece) encode() {
	p.frames, p.blocks, p.content = p.frames[:0], p.blocks[:0], 0
	run := -1 // where the run of blocks with content begins
	for at := 0; at < int(p.extent.Length); at += diskio.BlockBytes {
		block := p.data[at:min(at+diskio.BlockBytes, int(p.extent.Length))]
		if bytes.Equal(block, zeroBlock[:len(block)]) {
			p.frame(run, at)
			run = -1
			continue
		}
		if run < 0 {
			run = at
		}
		number := (p.extent.Start + int64(at)) / diskio.BlockBytes
		p.blocks = append(p.blocks, pendingBlock{number, digest.Block(block)})
	}
	p.frame(run, int(p.extent.Length))
}

func (p *piece) frame(from, to int) {
	if from < 0 {
		return
	}
	p.frames = wire.AppendData(p.frames, p.extent.Start+int64(from), p.data[from:to])
	p.content += int64(to - from)
}
