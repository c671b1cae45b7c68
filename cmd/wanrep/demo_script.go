package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"wanrep/replicate"
)

// What the demo does when, as shares of what has to be sent.
const (
	demoCutAt   = 0.15
	demoBlackAt = 0.45
)

const (
	// demoBlackout is long enough that the link is lost and a dial fails.
	demoBlackout = 10 * time.Second
	// demoPatience is how long any one thing may take. It only ends a demo that
	// hangs.
	demoPatience = 3 * time.Minute
	// demoMoved is how many bytes have to pass on the other path before the demo
	// says that the traffic has moved: more than probes and retransmissions.
	demoMoved = 64 << 10
	demoPoll  = 5 * time.Millisecond
)

// A demoRun is the run of the demo's job while the script watches it.
type demoRun struct {
	site   *demoSite
	log    *demoLog
	ended  chan struct{}
	report replicate.Report // valid once ended is closed
	err    error
	// hands tells that a person cut or restored something meanwhile, so that the
	// script's own numbers may not be what they should.
	hands func() bool
}

// play runs the job, disturbs the line, and returns what the run reported.
func (r *demoRun) play(ctx context.Context) (replicate.Report, error) {
	ctx, stop := context.WithCancel(ctx)
	r.ended = make(chan struct{})
	go func() {
		defer close(r.ended)
		r.report, r.err = r.site.run(ctx)
	}()
	defer func() {
		stop()
		<-r.ended
	}()
	for _, act := range []func(context.Context) error{r.cut, r.blackOut, r.commit} {
		if err := act(ctx); err != nil {
			return replicate.Report{}, err
		}
	}
	return r.report, nil
}

// cut takes the path in use away and waits until the traffic is on the other.
func (r *demoRun) cut(ctx context.Context) error {
	r.log.do(fmt.Sprintf("replicating; %s is cut at %.0f %%", demoPaths[0], 100*demoCutAt))
	if err := r.until(ctx, "the first bytes", func(v demoView) bool { return v.sentShare() >= demoCutAt }); err != nil {
		return err
	}
	before := r.site.view()
	from, to := demoPaths[0], demoPaths[1]
	if before.link().Path == to {
		from, to = to, from
	}
	r.log.do(from + " is cut")
	start, carried := time.Now(), r.site.carried(to)
	r.site.line.Cut(from)
	err := r.until(ctx, "traffic on "+to, func(demoView) bool { return r.site.carried(to)-carried >= demoMoved })
	if err != nil {
		return err
	}
	moved := time.Since(start)
	err = r.until(ctx, "a migration", func(v demoView) bool { return v.link().Migrations > 0 || r.hands() })
	if err != nil {
		return err
	}
	after := r.site.view()
	if !r.hands() && (after.link().Reattaches != before.link().Reattaches || after.resent() != 0) {
		return errors.New("the link was lost, although the other path was whole")
	}
	r.log.done(demoStep{
		Step: "migrate",
		Text: fmt.Sprintf("%s cut at %.0f %%: traffic on %s after %.2f s, %s sent twice",
			from, 100*before.sentShare(), to, moved.Seconds(), formatBytes(after.resent())),
		Brief:    fmt.Sprintf("%s cut: on %s after %.2f s", from, to, moved.Seconds()),
		Measured: map[string]float64{"moved_after": moved.Seconds(), "resent": float64(after.resent())},
	})
	return nil
}

// blackOut takes all paths away for longer than the link lives, and waits until
// the target has new bytes.
func (r *demoRun) blackOut(ctx context.Context) error {
	r.log.do(fmt.Sprintf("replicating; both paths go dark at %.0f %%", 100*demoBlackAt))
	if err := r.until(ctx, "the blackout", func(v demoView) bool { return v.sentShare() >= demoBlackAt }); err != nil {
		return err
	}
	r.log.do(fmt.Sprintf("blackout for %v", demoBlackout))
	start := time.Now()
	r.site.line.CutAll()
	if err := r.until(ctx, "the loss of the link", func(v demoView) bool { return v.stalled() }); err != nil {
		return err
	}
	noticed := time.Since(start)
	if err := pauseDemo(ctx, demoBlackout-noticed); err != nil {
		return err
	}
	dark := r.site.view()
	back := time.Now()
	r.site.line.RestoreAll()
	r.log.do("the line is back, waiting for the link")
	if err := r.until(ctx, "the link", func(v demoView) bool { return !v.stalled() }); err != nil {
		return err
	}
	attached := time.Since(back)
	if err := r.until(ctx, "new durable bytes", func(v demoView) bool { return v.durable() > dark.durable() }); err != nil {
		return err
	}
	moving := time.Since(back)
	if was, is := dark.point(), r.site.view().point(); was != is {
		return fmt.Errorf("the run went on in point %s instead of %s", is, was)
	}
	r.log.done(demoStep{
		Step: "resume",
		Text: fmt.Sprintf("%.0f s blackout: link lost after %.1f s, attached again %.1f s after the line was back, "+
			"continued at %.1f %% in the same point, first new bytes durable after %.1f s",
			demoBlackout.Seconds(), noticed.Seconds(), attached.Seconds(), 100*dark.durableShare(), moving.Seconds()),
		Brief: fmt.Sprintf("%.0f s dark: resumed at %.1f %%", demoBlackout.Seconds(), 100*dark.durableShare()),
		Measured: map[string]float64{"lost_after": noticed.Seconds(), "attached_after": attached.Seconds(),
			"durable_after": moving.Seconds(), "durable": float64(dark.durable())},
	})
	return r.checkResent(ctx, dark)
}

// checkResent waits until every disk is beyond what it had sent when the line
// went dark, and compares what was sent twice with what was not durable.
func (r *demoRun) checkResent(ctx context.Context, dark demoView) error {
	var most int64
	for _, d := range dark.disks() {
		most += max(0, d.Offset-d.Durable)
	}
	caughtUp := func(v demoView) bool {
		for i, d := range v.disks() {
			if d.Durable < dark.disks()[i].Offset {
				return false
			}
		}
		return true
	}
	r.log.do("sending again what was under way")
	if err := r.until(ctx, "what was under way", caughtUp); err != nil {
		return err
	}
	twice := r.site.view().resent()
	if twice > most && !r.hands() {
		return fmt.Errorf("%d bytes were sent twice, but only %d were not durable", twice, most)
	}
	r.log.done(demoStep{
		Step:     "offsets",
		Text:     fmt.Sprintf("%s sent twice, of %s that were under way and not durable", formatBytes(twice), formatBytes(most)),
		Brief:    fmt.Sprintf("%s of %s sent twice", formatBytes(twice), formatBytes(most)),
		Measured: map[string]float64{"resent": float64(twice), "not_durable": float64(most)},
	})
	return nil
}

// commit waits for the end of the run.
func (r *demoRun) commit(ctx context.Context) error {
	r.log.do("replicating the rest")
	select {
	case <-r.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.err != nil {
		return fmt.Errorf("the run failed: %w", r.err)
	}
	link := r.report.Link
	if !r.hands() && (link.Migrations == 0 || link.Reattaches == 0) {
		return fmt.Errorf("the run reports %d migrations and %d reattaches, both should have happened", link.Migrations, link.Reattaches)
	}
	var read, wire int64
	for _, d := range r.report.VMs[0].Disks {
		read += d.Read
		wire += d.Wire
	}
	r.log.done(demoStep{
		Step: "commit",
		Text: fmt.Sprintf("point %s committed: %s read, %s on the wire, %.1f s",
			r.report.VMs[0].Point, formatBytes(read), formatBytes(wire), r.report.Duration),
		Brief:    fmt.Sprintf("point committed, %.1f s", r.report.Duration),
		Measured: map[string]float64{"read": float64(read), "wire": float64(wire), "duration": r.report.Duration},
	})
	return nil
}

// until waits for something that the run must bring about.
func (r *demoRun) until(ctx context.Context, what string, happened func(demoView) bool) error {
	limit := time.After(demoPatience)
	for !happened(r.site.view()) {
		select {
		case <-r.ended:
			if happened(r.site.view()) {
				return nil
			}
			if r.err != nil {
				return fmt.Errorf("the run failed before %s: %w", what, r.err)
			}
			return fail(exitFailed, "give it more to send, as in --size 256MiB", "the run ended before %s", what)
		case <-limit:
			return fmt.Errorf("waited %v for %s", demoPatience, what)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(demoPoll):
		}
	}
	return nil
}

func pauseDemo(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
