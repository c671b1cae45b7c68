package replicate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/replicate/progress"
	"wanrep/replicate/wire"
)

// A session is a run's time on one link.
type session struct {
	run     *run
	link    Link
	control Stream
	pulse   pulse
}

// session attaches the run to a link and moves VM after VM until all are settled.
// It returns the error that ended the link, or nil.
func (r *run) session(ctx context.Context, link Link) error {
	control, err := link.OpenStream(ctx)
	if err != nil {
		return err
	}
	defer control.Close()
	defer context.AfterFunc(ctx, control.Abort)()
	s := &session{run: r, link: link, control: control}
	if err := s.hello(ctx); err != nil {
		return err
	}
	r.source.holds(r, link)
	defer r.source.holds(r, nil)
	for v := r.next(); v != nil; v = r.next() {
		err := s.replicate(ctx, v)
		var disk *DiskError
		var refused *RefusedError
		switch {
		case err == nil:
			r.settle(v, outcomeCommitted, nil)
		case errors.As(err, &disk), errors.As(err, &refused):
			r.settle(v, outcomeFailed, err)
		default:
			return err
		}
	}
	return nil
}

// hello asks the target where it is. This may travel before the handshake is
// complete, because it changes nothing; what follows may not.
func (s *session) hello(ctx context.Context) error {
	welcome, err := s.greet(ctx)
	if err != nil {
		return err
	}
	s.show(welcome)
	if err := s.link.Confirmed(ctx); err != nil {
		return err
	}
	s.saw(welcome)
	return nil
}

// greet sends the hello and returns its answer.
func (s *session) greet(ctx context.Context) (*wire.Welcome, error) {
	hello := &wire.Hello{MinVersion: wire.Version, MaxVersion: wire.Version, Features: wire.Features, Software: s.run.source.cfg.Software}
	for _, v := range s.run.vms {
		hello.VMs = append(hello.VMs, v.name)
	}
	s.run.source.cfg.State.introduce(s.run.job.Peer, hello)
	answer, err := s.ask(hello)
	var no *RefusedError
	if errors.As(err, &no) {
		// The target tells its operator whom it refused when the handshake is
		// complete. Whether it is does not change the answer.
		_ = s.link.Confirmed(ctx)
	}
	if err != nil {
		return nil, err
	}
	welcome, ok := answer.(*wire.Welcome)
	if !ok || welcome.Version != wire.Version {
		return nil, &wire.ProtocolError{What: "answer to hello", Reason: fmt.Sprintf("%T", answer)}
	}
	return welcome, nil
}

// show tells the board what the target holds.
func (s *session) show(welcome *wire.Welcome) {
	board := s.run.source.cfg.Board
	for _, p := range welcome.Positions {
		v := s.run.vm(p.VM)
		if v == nil {
			continue
		}
		board.VM("", v.name, func(b *progress.VM) {
			b.Points = p.Points
			if p.Newest > 0 {
				b.Newest = time.Unix(p.Newest, 0).UTC()
			}
		})
	}
}

// ask sends a message on the control stream and returns the answer.
func (s *session) ask(message any) (any, error) {
	if err := wire.Write(s.control, message); err != nil {
		return nil, err
	}
	for {
		answer, err := wire.Read(s.control)
		if errors.Is(err, io.EOF) {
			return nil, errStreamEnded
		}
		if err != nil {
			return nil, err
		}
		switch m := answer.(type) {
		case *wire.Unknown:
		case *wire.Refused:
			return nil, refused(m)
		default:
			return answer, nil
		}
	}
}

// replicate opens a point for one VM, sends all its disks at once, and commits.
func (s *session) replicate(ctx context.Context, v *vmRun) error {
	opened, err := s.open(v)
	if err != nil {
		return err
	}
	if err := s.run.source.cfg.State.letIn(s.run.job.Peer); err != nil {
		s.run.remembered(v, err)
	}
	v.point, v.base = diskio.Printable(opened.Point), diskio.Printable(opened.Base)
	s.run.tell(v, opened)
	for i, d := range v.disks {
		// What the target made durable after the last acknowledgement that got
		// through is progress too.
		if d.durable.Load() < opened.Disks[i].Durable {
			s.run.proven()
		}
		if err := d.attach(s.run.ctx, opened.Disks[i]); err != nil {
			return err
		}
	}
	if opened.Committed {
		return s.compare(ctx, v, opened.Roots)
	}
	s.run.started(v)
	if err := s.send(ctx, v, opened.Generation); err != nil {
		return err
	}
	return s.commit(ctx, v)
}

// send sends what is missing of all disks, side by side, and watches that
// something moves.
func (s *session) send(ctx context.Context, v *vmRun, generation uint64) error {
	group, sending := errgroup.WithContext(ctx)
	watching, unwatch := context.WithCancel(sending)
	var disks sync.WaitGroup
	for i, d := range v.disks {
		disks.Add(1)
		group.Go(func() error {
			defer disks.Done()
			return d.prove(sending, s, i, generation)
		})
		if d.complete {
			d.show(progress.Complete, "")
			continue
		}
		disks.Add(1)
		group.Go(func() error {
			defer disks.Done()
			return d.send(sending, s, i, generation)
		})
	}
	group.Go(func() error { return s.pulse.watch(watching, v.disks) })
	disks.Wait()
	unwatch()
	return group.Wait()
}

func (s *session) open(v *vmRun) (*wire.Opened, error) {
	open := &wire.Open{VM: v.name, Point: v.point, RPO: int64(s.run.source.rpo(v.name) / time.Second)}
	for _, d := range v.disks {
		if err := d.snapshot.Check(); err != nil {
			return nil, d.fail(err)
		}
		open.Disks = append(open.Disks, d.spec())
	}
	answer, err := s.ask(open)
	if err != nil {
		return nil, err
	}
	opened, ok := answer.(*wire.Opened)
	if !ok || len(opened.Disks) != len(v.disks) {
		return nil, &wire.ProtocolError{What: "answer to open", Reason: fmt.Sprintf("%T", answer)}
	}
	return opened, nil
}

// commit makes the point visible, if every disk is still what was sent.
func (s *session) commit(ctx context.Context, v *vmRun) error {
	roots, err := v.roots(ctx)
	if err != nil {
		return err
	}
	for _, d := range v.disks {
		if err := d.snapshot.Check(); err != nil {
			return d.fail(err)
		}
	}
	answer, err := s.ask(&wire.Commit{Roots: roots})
	if err != nil {
		return err
	}
	if _, ok := answer.(*wire.Committed); !ok {
		return &wire.ProtocolError{What: "answer to commit", Reason: fmt.Sprintf("%T", answer)}
	}
	return nil
}

// compare settles a point that was committed before its answer got through.
func (s *session) compare(ctx context.Context, v *vmRun, theirs []digest.Sum) error {
	ours, err := v.roots(ctx)
	if err != nil {
		return err
	}
	for i, d := range v.disks {
		if i >= len(theirs) || theirs[i] != ours[i] {
			return d.fail(fmt.Errorf("point %s was committed with another root", v.point))
		}
	}
	return nil
}
