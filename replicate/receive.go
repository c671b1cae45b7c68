package replicate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
	"wanrep/resume"
)

// What arrives is made durable, and acknowledged, when it is syncBytes or the
// first of it is syncAfter old. That bounds what a lost link or a crash costs: with
// what is under way, less than 64 MiB of a disk are sent again.
const (
	syncBytes = 48 << 20
	syncAfter = time.Second
)

// An openPoint is the part that a link writes to. Its context ends when a newer
// link takes the VM.
type openPoint struct {
	vm      string
	part    *resume.Part
	ctx     context.Context
	cancel  context.CancelFunc
	release func()
	// streams counts the disk streams that write, taken has the disks that have
	// one or had one, and sealed ends that. All three are under the link's mutex.
	streams sync.WaitGroup
	taken   map[int]bool
	sealed  bool
}

// acceptDisks accepts disk streams until the link ends.
func (l *targetLink) acceptDisks(ctx context.Context, streams *sync.WaitGroup) {
	places := make(chan struct{}, MaxStreams)
	for {
		stream, err := l.link.AcceptStream(ctx)
		if err != nil {
			return
		}
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			stream.Abort()
			return
		}
		streams.Go(func() {
			defer func() { <-places }()
			l.serveDisk(stream)
		})
	}
}

// serveDisk serves a stream about one disk: it receives its content, or tells the
// digests of what is there.
func (l *targetLink) serveDisk(stream Stream) {
	timer := time.AfterFunc(firstWord, stream.Abort)
	message, err := wire.Read(stream)
	timer.Stop()
	switch m := message.(type) {
	case *wire.Begin:
		err = l.receiveDisk(stream, m)
	case *wire.Digests:
		err = l.tellDigests(stream, m)
	case *wire.StatusRequest:
		if err = l.tell(stream, m); err == nil {
			stream.Close()
		}
	default:
		if err == nil {
			err = fmt.Errorf("it begins with %T", message)
		}
	}
	if err != nil {
		l.log.Warn("disk stream refused", "err", err)
		stream.Abort()
	}
}

// receiveDisk receives one disk. It returns an error if the stream is not to be.
func (l *targetLink) receiveDisk(stream Stream, begin *wire.Begin) error {
	p, d, err := l.claim(begin)
	if err != nil {
		return err
	}
	defer p.streams.Done()
	defer context.AfterFunc(p.ctx, stream.Abort)()
	r := &receiver{link: l, point: p, disk: d, stream: stream, position: begin.Offset}
	ctx, cancel := context.WithCancel(p.ctx)
	if err := r.receive(ctx); err != nil {
		r.refuse(err)
	}
	cancel()
	stream.Close()
	r.reading.Wait()
	return nil
}

// tellDigests tells what a based disk holds below what this part writes.
func (l *targetLink) tellDigests(stream Stream, m *wire.Digests) error {
	l.mu.Lock()
	p, d, err := l.find(m.Generation, m.Disk)
	if err == nil {
		p.streams.Add(1)
	}
	l.mu.Unlock()
	if err != nil {
		return err
	}
	defer p.streams.Done()
	defer context.AfterFunc(p.ctx, stream.Abort)()
	defer stream.Close()
	next, end, err := d.BaseDigests(m.Offset / diskio.BlockBytes)
	if err == nil {
		err = wire.WriteDigests(stream, func() (int64, digest.Sum, error) {
			block, sum, err := next()
			if err != nil && err != io.EOF {
				err = &storeError{err}
			}
			return block, sum, err
		})
		end()
	} else {
		err = &storeError{err}
	}
	var store *storeError
	if errors.As(err, &store) {
		var no *RefusedError
		errors.As(l.storeError("read the digests of disk "+d.Spec().Name+" of "+p.vm, err), &no)
		// A write error means that the link went down meanwhile.
		_ = wire.Write(stream, &wire.Refused{Code: no.Code, Text: no.Text})
	}
	return nil
}

// find returns a disk of the open point. It is called with the link's mutex.
func (l *targetLink) find(generation uint64, disk int) (*openPoint, *resume.PartDisk, error) {
	p := l.open
	if p == nil || p.sealed || p.part.Generation() != generation {
		return nil, nil, fmt.Errorf("generation %d is not the current one", generation)
	}
	disks := p.part.Disks()
	if disk < 0 || disk >= len(disks) {
		return nil, nil, fmt.Errorf("there is no disk %d", disk)
	}
	return p, disks[disk], nil
}

// claim finds the disk that a stream is for. A stream of an older generation, or a
// second one for the same disk, gets nothing.
func (l *targetLink) claim(begin *wire.Begin) (*openPoint, *resume.PartDisk, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, d, err := l.find(begin.Generation, begin.Disk)
	if err != nil {
		return nil, nil, err
	}
	if p.taken[begin.Disk] {
		return nil, nil, fmt.Errorf("disk %s is being sent already", d.Spec().Name)
	}
	if _, complete := d.Root(); complete || d.Durable() != begin.Offset {
		return nil, nil, fmt.Errorf("disk %s continues at %d, not at %d", d.Spec().Name, d.Durable(), begin.Offset)
	}
	if p.taken == nil {
		p.taken = map[int]bool{}
	}
	p.taken[begin.Disk] = true
	p.streams.Add(1)
	return p, d, nil
}

// A receiver writes one disk's frames to the store.
type receiver struct {
	link   *targetLink
	point  *openPoint
	disk   *resume.PartDisk
	stream Stream
	// position is the offset below which everything has arrived.
	position int64
	// reading is the goroutine that reads frames; it ends when the stream does.
	reading sync.WaitGroup
}

// arrival is a frame, or the error that ended the stream.
type arrival struct {
	frame wire.Frame
	err   error
}

// receive writes frames until the disk is complete. Whatever ends it, what has
// arrived before is made durable.
func (r *receiver) receive(ctx context.Context) error {
	r.show(func(b *progress.Disk) { b.State, b.Because = progress.Receiving, "" })
	arrivals := make(chan arrival, wire.FramesInFlight-1)
	r.reading.Go(func() { r.read(ctx, arrivals) })
	timer := time.NewTimer(syncAfter)
	timer.Stop()
	defer timer.Stop()
	for {
		select {
		case a := <-arrivals:
			if a.err != nil {
				return errors.Join(a.err, r.sync())
			}
			if a.frame.End {
				return r.finish(a.frame)
			}
			if r.position == r.disk.Durable() {
				timer.Reset(syncAfter)
			}
			if err := r.write(a.frame); err != nil {
				return err
			}
			if r.disk.Unsynced() < syncBytes {
				continue
			}
		case <-timer.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), r.sync())
		}
		if err := r.acknowledge(); err != nil {
			return err
		}
	}
}

// read passes frames on. At most wire.FramesInFlight of them are in use at a time:
// one waits here while another is written.
func (r *receiver) read(ctx context.Context, arrivals chan<- arrival) {
	frames := wire.NewFrameReader(r.stream, r.disk.Spec().Size)
	for {
		f, err := frames.Next()
		select {
		case arrivals <- arrival{f, err}:
		case <-ctx.Done():
			return
		}
		if err != nil || f.End {
			return
		}
	}
}

// write takes one frame with content, or a mark.
func (r *receiver) write(f wire.Frame) error {
	if r.disk.Merges(f.Offset + int64(len(f.Data))) {
		defer r.tellBusy(r.disk.Durable())()
	}
	var err error
	r.writing().Begin()
	if len(f.Data) == 0 {
		err = r.disk.SkipTo(f.Offset)
	} else {
		err = r.disk.Write(f.Offset, f.Data)
	}
	r.writing().End()
	if err != nil {
		return &storeError{err}
	}
	r.position = f.Offset + int64(len(f.Data))
	r.show(func(b *progress.Disk) {
		b.Offset = r.position
		b.Data += int64(len(f.Data))
		b.Read = b.Data
		b.Wire += int64(f.WireBytes)
	})
	return nil
}

// sync makes durable what was written.
func (r *receiver) sync() error {
	if r.position == r.disk.Durable() {
		return nil
	}
	r.writing().Begin()
	durable, err := r.disk.Sync()
	r.writing().End()
	if err != nil {
		return &storeError{err}
	}
	r.show(func(b *progress.Disk) { b.Durable = durable })
	return nil
}

// acknowledge syncs, and then tells the source.
func (r *receiver) acknowledge() error {
	stop := r.tellBusy(r.disk.Durable())
	err := r.sync()
	stop()
	if err != nil {
		return err
	}
	return r.tell(r.disk.Durable())
}

// tell tells the source how far the disk is durable, and how busy this end is.
func (r *receiver) tell(durable int64) error {
	busy := r.link.target.cfg.Board.WriteShare()
	return wire.Write(r.stream, &wire.Durable{Offset: durable, Busy: int(busy * 100)})
}

func (r *receiver) writing() *progress.Stage { return &r.link.target.cfg.Board.Stages().Write }

// tellBusy tells the source again and again, until it is stopped, how far the disk
// was before a sync that takes long.
func (r *receiver) tellBusy(durable int64) (stop func()) {
	ctx, cancel := context.WithCancel(r.point.ctx)
	var telling sync.WaitGroup
	telling.Go(func() {
		tick := time.NewTicker(busyEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if r.tell(durable) != nil {
				return
			}
		}
	})
	return func() {
		cancel()
		telling.Wait()
	}
}

// finish makes the disk complete, if it has the source's root, and tells the source.
func (r *receiver) finish(end wire.Frame) error {
	stop := r.tellBusy(r.disk.Durable())
	r.writing().Begin()
	err := r.disk.Finish(end.Root)
	r.writing().End()
	stop()
	if err != nil {
		return &storeError{err}
	}
	size := r.disk.Spec().Size
	r.show(func(b *progress.Disk) {
		b.State, b.Offset, b.Durable = progress.Complete, size, size
		b.Wire += int64(end.WireBytes)
	})
	return wire.Write(r.stream, &wire.Done{})
}

// refuse tells the source why its disk can't be received, unless the link is gone
// and nobody is there to be told.
func (r *receiver) refuse(err error) {
	name := r.disk.Spec().Name
	r.show(func(b *progress.Disk) { b.State, b.Because = progress.Stalled, diskio.Printable(err.Error()) })
	var store *storeError
	var protocol *wire.ProtocolError
	switch {
	case errors.As(err, &store):
		err = r.link.storeError("receive disk "+name+" of "+r.point.vm, err)
	case errors.As(err, &protocol):
		r.link.log.Warn("disk stream is broken", "disk", name, "err", err)
		err = &RefusedError{Code: wire.CodeProtocol, Text: "disk " + name + ": " + err.Error()}
	default:
		r.link.log.Info("disk stream ended", "disk", name, "offset", r.disk.Durable(), "err", err)
		return
	}
	var no *RefusedError
	if errors.As(err, &no) {
		// A write error means that the link went down meanwhile.
		_ = wire.Write(r.stream, &wire.Refused{Code: no.Code, Text: no.Text})
	}
}

func (r *receiver) show(change func(*progress.Disk)) {
	r.link.target.cfg.Board.Disk(r.link.link.Peer(), r.point.vm, r.disk.Spec().Name, change)
}

// A storeError is trouble at this end of the line.
type storeError struct{ err error }

func (e *storeError) Error() string { return e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }
