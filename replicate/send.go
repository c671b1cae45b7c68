package replicate

import (
	"context"
	"errors"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

	"wanrep/diskio/digest"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
)

// writeBytes is how much is handed to a stream at once: enough to need few calls, and
// on a line of 10 kbit/s not yet so much that nothing seems to move.
const writeBytes = 64 << 10

// markBytes is after how much content that does not have to be sent the target
// is told so, and can acknowledge it.
const markBytes = 64 << 20

// send moves the rest of one disk over one stream of a link: it announces the
// stream, sends what the plan says and the root, and returns when the target has
// everything. Two goroutines read ahead and take acknowledgements meanwhile.
func (d *diskRun) send(ctx context.Context, s *session, place int, generation uint64) error {
	d.pulse = &s.pulse
	stream, err := s.link.OpenStream(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, stream.Abort)()
	from := d.durable.Load()
	if err := wire.Write(stream, &wire.Begin{Generation: generation, Disk: place, Offset: from}); err != nil {
		return err
	}
	d.show(progress.Sending, "")

	ahead := make(chan *piece, readAhead)
	group.Go(func() error { return d.read(ctx, s, place, generation, ahead) })
	group.Go(func() error { return d.sendPieces(ctx, stream, from, ahead) })
	group.Go(func() error { return d.acknowledged(stream, s.run.proven) })
	return group.Wait()
}

// read reads ahead what has to be sent. It closes ahead when all of it was read, and
// only then: what is behind the last piece is taken for zeros.
func (d *diskRun) read(ctx context.Context, s *session, place int, generation uint64, ahead chan<- *piece) error {
	from := d.durable.Load()
	p, err := d.plan(from)
	if err != nil {
		return d.fail(err)
	}
	r := &reader{
		disk: d, plan: p, listed: d.changed != nil, out: ahead,
		pass: func(ctx context.Context) error { return s.run.pass(ctx, d) },
	}
	if d.based {
		base, end, err := d.askBase(ctx, s, place, generation, from)
		if err != nil {
			return err
		}
		defer end()
		r.baseline = base
	}
	if err := r.run(ctx); err != nil {
		return orRefused(err)
	}
	close(ahead)
	return nil
}

// askBase asks the target what it has of a based disk, from an offset on. The caller
// has to call end.
func (d *diskRun) askBase(ctx context.Context, s *session, place int, generation uint64, from int64) (base *baseline, end func(), err error) {
	stream, err := s.link.OpenStream(ctx)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, stream.Abort)
	end = func() {
		stop()
		stream.Close()
	}
	if err := wire.Write(stream, &wire.Digests{Generation: generation, Disk: place, Offset: from}); err != nil {
		end()
		return nil, nil, err
	}
	digests := wire.NewDigestReader(stream, digest.Blocks(from), d.size())
	return newBaseline(digests, d.size(), &d.board.Stages().Baseline), end, nil
}

// orRefused makes a refusal in place of digests an error that is fit to print.
func orRefused(err error) error {
	var no *wire.Refused
	if errors.As(err, &no) {
		return refused(no)
	}
	return err
}

// plan counts what is left, for the estimate, and returns the plan.
func (d *diskRun) plan(from int64) (*plan, error) {
	left, err := newPlan(d.search(), d.size(), from).remaining()
	if err != nil {
		return nil, err
	}
	d.board.Disk("", d.vm, d.name, func(b *progress.Disk) {
		b.Left = left
		b.Stored = max(b.Stored, left)
	})
	return newPlan(d.search(), d.size(), from), nil
}

// sendPieces is the only writer of the stream.
func (d *diskRun) sendPieces(ctx context.Context, stream Stream, from int64, ahead <-chan *piece) error {
	described := from
	marked := from // what the target has heard of
	for {
		p, err := d.next(ctx, ahead)
		if err != nil {
			return err
		}
		if p == nil {
			break
		}
		end := p.extent.End()
		if err := d.ledger.add(ctx, p.blocks, end); err != nil {
			return err
		}
		if len(p.frames) > 0 {
			marked = end
		} else if end-marked >= markBytes {
			p.frames = wire.AppendMark(p.frames, end)
			marked = end
		}
		if err := d.write(stream, p.frames); err != nil {
			return lostOnly(err)
		}
		d.written.Store(marked)
		d.count(p, described)
		described = end
		pieces.Put(p)
	}
	d.totals.zero.Add(d.size() - described)
	return d.sendEnd(ctx, stream)
}

// next returns the next piece, encoded, and nil behind the last.
func (d *diskRun) next(ctx context.Context, ahead <-chan *piece) (*piece, error) {
	stages := d.board.Stages()
	var p *piece
	stages.Starved.Begin()
	select {
	case p = <-ahead:
	case <-ctx.Done():
	}
	stages.Starved.End()
	if p == nil {
		return nil, ctx.Err()
	}
	stages.Encoding.Begin()
	p.encoded.Wait()
	stages.Encoding.End()
	return p, nil
}

// count adds a sent piece to the totals; described is where the one before ended.
func (d *diskRun) count(p *piece, described int64) {
	end := p.extent.End()
	if p.origin == fromDisk {
		d.totals.read.Add(p.extent.Length)
	}
	d.totals.zero.Add(end - described - p.content - p.same)
	d.totals.same.Add(p.same)
	d.totals.data.Add(p.content)
	d.totals.wire.Add(int64(len(p.frames)))
	if again := d.highest - p.extent.Start; again > 0 {
		d.totals.resent.Add(min(again, p.content))
	}
	d.highest = max(d.highest, end)
	d.board.Disk("", d.vm, d.name, func(b *progress.Disk) {
		b.Offset = end
		if p.origin == fromDisk {
			b.Left = max(0, b.Left-p.extent.Length)
		}
		b.DiskTotals = d.report()
	})
}

// sendEnd sends the root, after making sure that what was read is still the disk.
func (d *diskRun) sendEnd(ctx context.Context, stream Stream) error {
	root, err := d.root(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return d.fail(err)
	}
	if err := d.snapshot.Check(); err != nil {
		return d.fail(err)
	}
	d.ledger.finish()
	end := wire.AppendEnd(nil, d.size(), root)
	d.totals.wire.Add(int64(len(end)))
	if err := d.write(stream, end); err != nil {
		return lostOnly(err)
	}
	d.written.Store(d.size())
	return nil
}

// lostOnly returns the error of a write if it means that the link is lost. If the
// target just takes no more, it says why on the way back, and that is the error.
func lostOnly(err error) error {
	if retryable(err) {
		return err
	}
	return nil
}

func (d *diskRun) write(stream Stream, frames []byte) error {
	d.writing.Store(true)
	defer d.writing.Store(false)
	d.board.Stages().Network.Begin()
	defer d.board.Stages().Network.End()
	for chunk := range slices.Chunk(frames, writeBytes) {
		if _, err := stream.Write(chunk); err != nil {
			return err
		}
		d.pulse.beat()
	}
	return nil
}

// acknowledged takes the target's messages on the disk's stream until the disk is
// done. Each time it looks whether the disk changed, so that a run over a disk in
// use ends soon and not after hours.
func (d *diskRun) acknowledged(stream Stream, proven func()) error {
	for {
		message, err := wire.Read(stream)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return errStreamEnded
			}
			return err
		}
		d.pulse.beat()
		switch m := message.(type) {
		case *wire.Durable:
			d.board.TargetBusy(float64(m.Busy) / 100)
			if err := d.ledger.durable(m.Offset); err != nil {
				return err
			}
			if m.Offset > d.durable.Load() {
				d.durable.Store(m.Offset)
				proven()
			}
			if err := d.snapshot.Check(); err != nil {
				return d.fail(err)
			}
			d.board.Disk("", d.vm, d.name, func(b *progress.Disk) { b.Durable = m.Offset })
		case *wire.Done:
			d.complete = true
			d.durable.Store(d.size())
			proven()
			d.board.Disk("", d.vm, d.name, func(b *progress.Disk) { b.Offset, b.Left = d.size(), 0 })
			d.show(progress.Complete, "")
			return nil
		case *wire.Refused:
			return refused(m)
		case *wire.Unknown:
		default:
			return &wire.ProtocolError{What: "disk stream", Reason: "an unexpected message"}
		}
	}
}
