package replicate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
	"wanrep/resume"
)

// firstWord is how long a peer may take until it says what it wants on a new link
// or stream. Longer means that something is wrong with it.
const firstWord = 10 * time.Second

// A targetLink is one link at the target. Its goroutine owns the conversation on
// the control stream and the open point.
type targetLink struct {
	target  *Target
	link    Link
	control Stream
	log     *slog.Logger

	// process of the source, once it is let in; under the target's admission.
	process [16]byte

	mu   sync.Mutex
	open *openPoint // what the streams belong to; nil between two VMs
}

// serveLink serves one link until it ends. When the target stops, the link is
// closed before any of its streams is given up, so that the source sees a target
// that goes away, and not a disk that was refused.
func (t *Target) serveLink(stop context.Context, link Link) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(stop))
	defer context.AfterFunc(stop, func() {
		link.Close(CloseShutdown, "the target stops")
		cancel()
	})()
	l := &targetLink{target: t, link: link, log: t.cfg.Log.With("peer", link.Peer())}
	var streams sync.WaitGroup
	err := l.converse(ctx, &streams)
	code, reason := uint64(CloseDone), ""
	var protocol *wire.ProtocolError
	if errors.As(err, &protocol) {
		code, reason = CloseProtocol, err.Error()
	}
	cancel()
	l.closePoint(progress.Stalled, "the link ended")
	link.Close(code, reason)
	streams.Wait()
	if err != nil && !errors.Is(err, io.EOF) {
		l.log.Debug("link ended", "err", err)
	}
}

// converse answers the source's messages until the link ends.
func (l *targetLink) converse(ctx context.Context, streams *sync.WaitGroup) error {
	silence := time.AfterFunc(firstWord, func() { l.link.Close(CloseProtocol, "the source said nothing") })
	defer silence.Stop()
	control, err := l.link.AcceptStream(ctx)
	if err != nil {
		return err
	}
	l.control = control
	defer context.AfterFunc(ctx, control.Abort)()
	hello, err := l.hello()
	if looks, ok := errors.AsType[onlyLooksError](err); ok {
		silence.Stop()
		return l.converseAboutStatus(ctx, looks.first)
	}
	var no *RefusedError
	if errors.As(err, &no) {
		return l.turnAway(ctx, no)
	}
	if err != nil {
		return err
	}
	if err := l.link.Confirmed(ctx); err != nil {
		return err
	}
	if err := l.target.admit(l, hello); err != nil {
		return l.turnAway(ctx, l.refusal("let the source in", err))
	}
	defer l.target.dismiss(l)
	silence.Stop()
	l.log.Info("source attached", "start", hello.Starts)
	streams.Go(func() { l.acceptDisks(ctx, streams) })
	for {
		message, err := wire.Read(control)
		if err != nil {
			return err
		}
		switch m := message.(type) {
		case *wire.Open:
			err = l.answer(l.openPoint(ctx, m))
		case *wire.Commit:
			err = l.answer(l.commit(m))
		case *wire.Unknown:
		default:
			err = &wire.ProtocolError{What: "control stream", Reason: fmt.Sprintf("%T is not allowed now", m)}
		}
		if err != nil {
			return err
		}
	}
}

// answer sends what a request came to. A RefusedError is an answer too.
func (l *targetLink) answer(message any, err error) error {
	var no *RefusedError
	if errors.As(err, &no) {
		l.log.Warn("request refused", "err", no.Text)
		return wire.Write(l.control, &wire.Refused{Code: no.Code, Text: no.Text})
	}
	if err != nil {
		return err
	}
	return wire.Write(l.control, message)
}

// hello answers where the source's VMs are. The handshake may not be complete: it
// only reads. A source that must not attach is refused, which is the error too.
func (l *targetLink) hello() (*wire.Hello, error) {
	message, err := wire.Read(l.control)
	if _, asked := message.(*wire.Clock); asked {
		if err := wire.Write(l.control, &wire.Clock{Time: time.Now().UnixMilli()}); err != nil {
			return nil, err
		}
		message, err = wire.Read(l.control)
	}
	if err != nil {
		return nil, err
	}
	if first, looks := message.(*wire.StatusRequest); looks {
		return nil, onlyLooksError{first}
	}
	hello, ok := message.(*wire.Hello)
	if !ok {
		return nil, &wire.ProtocolError{What: "control stream", Reason: fmt.Sprintf("begins with %T", message)}
	}
	welcome, err := l.welcome(hello)
	if err != nil {
		no := l.refusal("look up the source", err)
		return nil, errors.Join(no, wire.Write(l.control, &wire.Refused{Code: no.Code, Text: no.Text}))
	}
	return hello, wire.Write(l.control, welcome)
}

func (l *targetLink) welcome(hello *wire.Hello) (*wire.Welcome, error) {
	if hello.MinVersion > wire.Version || hello.MaxVersion < wire.Version {
		text := fmt.Sprintf("the source speaks versions %d to %d of the protocol, the target %d", hello.MinVersion, hello.MaxVersion, wire.Version)
		return nil, &RefusedError{Code: wire.CodeVersion, Text: text}
	}
	if err := l.target.examine(l.link.Peer(), hello); err != nil {
		return nil, err
	}
	positions, err := l.positions(hello.VMs)
	if err != nil {
		return nil, err
	}
	return &wire.Welcome{
		Version: wire.Version, Features: wire.Features, Software: l.target.cfg.Software, Positions: positions,
		Store: l.target.cfg.Store.ID(),
	}, nil
}

// refusal makes any error the answer for the source.
func (l *targetLink) refusal(doing string, err error) *RefusedError {
	var no *RefusedError
	if !errors.As(err, &no) {
		errors.As(l.storeError(doing, err), &no)
	}
	return no
}

// turnAway answers whatever the source still asks with the same refusal, until it
// goes or has had time to. The target's operator is told once it is known who asked.
func (l *targetLink) turnAway(ctx context.Context, no *RefusedError) error {
	if err := l.link.Confirmed(ctx); err != nil {
		return err
	}
	l.log.Warn("source refused", "err", no.Text)
	l.target.cfg.Board.Event(progress.Event{Level: progress.Error, Peer: l.link.Peer(), Text: "refused: " + diskio.Printable(no.Text)})
	for {
		if _, err := wire.Read(l.control); err != nil {
			return err
		}
		if err := wire.Write(l.control, &wire.Refused{Code: no.Code, Text: no.Text}); err != nil {
			return err
		}
	}
}

func (l *targetLink) positions(vms []string) ([]wire.Position, error) {
	var positions []wire.Position
	for _, vm := range vms {
		p := wire.Position{VM: vm}
		if k := l.target.known(vmKey{l.link.Peer(), vm}); k.points > 0 {
			p.Points, p.Newest, p.Last = k.points, k.newest.Unix(), k.last
		}
		part, err := l.target.cfg.Store.Position(l.link.Peer(), vm)
		if err != nil && !errors.Is(err, resume.ErrNoPart) {
			return nil, err
		}
		if err == nil {
			p.Point = part.Point
			for _, d := range part.Disks {
				p.Disks = append(p.Disks, wire.DiskPosition{Disk: d.Name, Durable: d.Durable})
			}
		}
		positions = append(positions, p)
	}
	return positions, nil
}

// storeError logs an error of the store, which the operator of the target must
// see, and makes it the answer for the source.
func (l *targetLink) storeError(doing string, err error) error {
	l.log.Error(doing, "err", err)
	l.target.cfg.Board.Event(progress.Event{Level: progress.Error, Peer: l.link.Peer(), Text: diskio.Printable(doing + ": " + err.Error())})
	return &RefusedError{Code: codeOf(err), Text: doing + ": " + err.Error()}
}

// openPoint makes this link the writer of a VM's part.
func (l *targetLink) openPoint(ctx context.Context, m *wire.Open) (any, error) {
	l.closePoint(progress.Parked, "its source went on to another VM")
	peer := l.link.Peer()
	if done, err := l.committed(m); done != nil || err != nil {
		return done, err
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &openPoint{vm: m.VM, ctx: ctx, cancel: cancel}
	release, err := l.target.take(ctx, vmKey{peer, m.VM}, func() {
		l.link.Close(CloseSuperseded, "a newer link has taken over "+m.VM)
		cancel()
	})
	if err != nil {
		cancel()
		return nil, err
	}
	p.release = release
	if p.part, err = l.target.cfg.Store.Begin(peer, m.VM, specs(m.Disks)); err != nil {
		cancel()
		release()
		return nil, l.storeError("begin a point of "+m.VM, err)
	}
	l.mu.Lock()
	l.open = p
	l.mu.Unlock()
	l.target.showEntry(vmKey{peer, m.VM}, l.target.book.heard(vmKey{peer, m.VM}, time.Duration(m.RPO)*time.Second))
	return l.opened(p), nil
}

// opened tells where the disks continue, the source and the board alike.
func (l *targetLink) opened(p *openPoint) *wire.Opened {
	answer := &wire.Opened{Point: p.part.Point(), Base: p.part.Base(), Generation: p.part.Generation()}
	var notes []string
	notes, answer.Notes = l.compared(p)
	for i, d := range p.part.Disks() {
		_, complete := d.Root()
		answer.Disks = append(answer.Disks, wire.Offset{
			Durable: d.Durable(), Complete: complete, Based: d.Based(), BaseIdentity: d.BaseIdentity(), Note: notes[i],
		})
		l.target.cfg.Board.Disk(l.link.Peer(), p.vm, d.Spec().Name, func(b *progress.Disk) {
			b.State, b.Because, b.VirtualSize = progress.Waiting, "", d.Spec().Size
			b.Offset, b.Durable = d.Durable(), d.Durable()
			b.DiskTotals = progress.DiskTotals{}
			if complete {
				b.State = progress.Complete
			}
		})
	}
	l.target.cfg.Board.VM(l.link.Peer(), p.vm, func(b *progress.VM) {
		b.State, b.Because, b.Point = progress.Receiving, "", answer.Point
	})
	l.log.Info("point opened", "vm", p.vm, "point", answer.Point, "generation", answer.Generation)
	return answer
}

// committed answers an Open for a point that the source has under way but that is
// committed: the answer to its Commit got lost. It returns nil for any other.
func (l *targetLink) committed(m *wire.Open) (any, error) {
	if m.Point == "" {
		return nil, nil
	}
	point, err := l.target.cfg.Store.Point(l.link.Peer(), m.VM, m.Point)
	if errors.Is(err, resume.ErrNoPoint) {
		return nil, nil
	}
	if err != nil {
		return nil, l.storeError("look up "+m.VM, err)
	}
	manifest, err := l.target.cfg.Store.Manifest(point)
	if err != nil {
		return nil, l.storeError("look up "+m.VM, err)
	}
	answer := &wire.Opened{Point: point.Point, Base: point.Base, Committed: true}
	for _, d := range m.Disks {
		var root digest.Sum
		for _, stored := range manifest.Disks {
			if stored.Name == d.Name {
				root = stored.Root
			}
		}
		answer.Disks = append(answer.Disks, wire.Offset{Durable: d.Size, Complete: true})
		answer.Roots = append(answer.Roots, root)
	}
	return answer, nil
}

// commit makes the open point visible.
func (l *targetLink) commit(m *wire.Commit) (any, error) {
	p := l.open
	if p == nil {
		return nil, &wire.ProtocolError{What: "commit", Reason: "no point is open"}
	}
	l.mu.Lock()
	p.sealed = true
	l.mu.Unlock()
	p.streams.Wait()
	disks := p.part.Disks()
	if len(m.Roots) != len(disks) {
		return nil, &wire.ProtocolError{What: "commit", Reason: fmt.Sprintf("%d roots for %d disks", len(m.Roots), len(disks))}
	}
	for i, d := range disks {
		root, complete := d.Root()
		if complete && root != m.Roots[i] {
			err := d.Drop()
			l.closePoint(progress.Parked, "a disk is not what the source has")
			return nil, l.storeError("commit the point of "+p.vm, err)
		}
		if !complete {
			return nil, &RefusedError{Code: wire.CodeDigest, Text: fmt.Sprintf("disk %s is not complete", d.Spec().Name)}
		}
	}
	manifest, err := p.part.Commit()
	if err != nil {
		l.closePoint(progress.Failed, "the commit failed")
		return nil, l.storeError("commit the point of "+p.vm, err)
	}
	l.closePoint(progress.Committed, "")
	l.target.keep(vmKey{l.link.Peer(), p.vm}, manifest.Point, manifest.Committed)
	l.target.showSpace()
	l.target.cfg.Board.Event(progress.Event{Level: progress.Info, Peer: l.link.Peer(), VM: p.vm, Text: "point " + manifest.Point + " committed"})
	l.target.keeper.committed(vmKey{l.link.Peer(), p.vm})
	return &wire.Committed{}, nil
}

// closePoint ends the open point, if there is one: its streams end, what was
// received is made durable, and the part waits for the next link.
func (l *targetLink) closePoint(state, because string) {
	l.mu.Lock()
	p := l.open
	l.open = nil
	l.mu.Unlock()
	if p == nil {
		return
	}
	p.cancel()
	p.streams.Wait()
	if err := p.part.Close(); err != nil {
		l.log.Error("close the part", "vm", p.vm, "err", err)
	}
	p.release()
	l.target.cfg.Board.VM(l.link.Peer(), p.vm, func(b *progress.VM) {
		b.State, b.Because = state, because
		for i := range b.Disks {
			if state == progress.Committed || b.Disks[i].State != progress.Complete {
				b.Disks[i].State, b.Disks[i].Because = state, because
			}
		}
	})
}

func specs(disks []wire.Disk) []resume.DiskSpec {
	var s []resume.DiskSpec
	for _, d := range disks {
		s = append(s, resume.DiskSpec{
			Name: d.Name, ID: d.ID, Size: d.Size,
			LogicalSectorSize: d.LogicalSectorSize, PhysicalSectorSize: d.PhysicalSectorSize,
			Identity: d.Identity,
		})
	}
	return s
}
