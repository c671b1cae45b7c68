package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// alone is how long the TCP connection has the line for itself, and warmUp how
	// long both share it before it is looked at who gets how much, for sharing.
	alone, warmUp, sharing = 3 * time.Second, 5 * time.Second, 15 * time.Second
	// fairShare is the part of what both get that each should have at least.
	fairShare = 0.25
)

// fairness measures how wanrep and one TCP connection share lines. The transfers are
// ended without being compared.
func (w *wanBench) fairness(ctx context.Context) error {
	fmt.Fprint(w.out, "| line | beside | queue, round trips | both, Mbit/s | wanrep's share, % | goal | met |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	missed := 0
	for _, r := range w.routes {
		for _, congestion := range []string{"cubic", "bbr"} {
			for _, queue := range []float64{0.25, 1} {
				met, err := w.shareOn(ctx, r, congestion, queue)
				if err != nil {
					return fmt.Errorf("%s beside %s: %w", r.name, congestion, err)
				}
				if !met {
					missed++
				}
			}
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d rows missed a goal", missed)
	}
	return nil
}

// shareOn measures one row.
func (w *wanBench) shareOn(ctx context.Context, r route, congestion string, queue float64) (met bool, err error) {
	s, err := w.newStage(r, works[0], queue)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	// More than the line carries meanwhile.
	s.size = int64((alone+warmUp+sharing+5*time.Second).Seconds()*float64(r.line.Forth.Rate)/8) >> 20 << 20
	s.content = s.size
	if err := s.makeDisk(); err != nil {
		return false, err
	}
	ours, err := setUpWanrep("auto")(ctx, s)
	if err != nil {
		return false, err
	}
	defer ours.close()
	theirs, err := setUpIperf(5201, congestion)(ctx, s)
	if err != nil {
		return false, err
	}
	defer theirs.close()
	var sums, shares []float64
	for range w.runs {
		sum, share, err := s.share(ctx, ours, theirs)
		if err != nil {
			return false, err
		}
		sums, shares = append(sums, sum), append(shares, 100*share)
	}
	share := spreadOf(shares)
	met = share.median >= 100*fairShare && share.median <= 100*(1-fairShare)
	_, err = fmt.Fprintf(w.out, "| %s | %s | %g | %.0f | %.0f (%.0f to %.0f) | %.0f to %.0f | %s |\n", r.title, congestion, queue,
		spreadOf(sums).median, share.median, share.least, share.most, 100*fairShare, 100*(1-fairShare), yes(met))
	return met, err
}

// share lets both use the line, them first, and returns what they got together, in
// Mbit/s, and our part of it.
func (s *stage) share(ctx context.Context, ours, theirs carrier) (sum, share float64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	for i, c := range []carrier{theirs, ours} {
		if err := pause(ctx, time.Duration(i)*alone); err != nil {
			return 0, 0, err
		}
		cmd, err := c.next(ctx)
		if err != nil {
			return 0, 0, err
		}
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			return 0, 0, err
		}
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			ended <- fmt.Errorf("%v ended before its time: %w\n%s", cmd.Args, cmd.Wait(), &said)
		}()
		defer func() {
			cancel()
			<-gone
		}()
	}
	if err := pause(ctx, warmUp); err != nil {
		return 0, 0, err
	}
	before, err := s.ask("counters")
	if err != nil {
		return 0, 0, err
	}
	select {
	case err := <-ended:
		return 0, 0, errors.Join(ctx.Err(), err)
	case <-time.After(sharing):
	}
	after, err := s.ask("counters")
	if err != nil {
		return 0, 0, err
	}
	udp, tcp := float64(after.Forth.UDPBytes-before.Forth.UDPBytes), float64(after.Forth.TCPBytes-before.Forth.TCPBytes)
	return (udp + tcp) * 8 / sharing.Seconds() / 1e6, udp / (udp + tcp), nil
}
