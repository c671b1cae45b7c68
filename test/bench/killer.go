package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"time"

	"wanrep/diskio"
	"wanrep/replicate/progress"
	"wanrep/resume"
)

// A killer kills appliances while the source sends point after point.
type killer struct {
	*pairOfAppliances
	tally
	dice  *rand.Rand
	seed  uint64
	left  int // kills to come
	log   io.Writer
	sizes map[string]int64 // of the disks, in bytes

	source *exec.Cmd
	ended  chan error // of the source
	stdout bytes.Buffer
	stderr bytes.Buffer
	// newest is the newest point whose commit is known.
	newest string
	// changed are the blocks of each disk that differ from that point.
	changed map[string][]bool
}

// play sends points until there were kills enough, and then one to its end.
func (k *killer) play(ctx context.Context, rate string) error {
	began := time.Now()
	if err := os.MkdirAll(k.dir, 0o755); err != nil {
		return err
	}
	for _, name := range k.names() {
		if err := k.rewrite(name, 1); err != nil {
			return err
		}
	}
	link := "[link]\nidle_timeout = \"3s\"\nkeepalive = \"500ms\"\n"
	err := k.pair(ctx,
		link+fmt.Sprintf("max_rate = %q\n", rate)+"[reattach]\nredial_every = \"1s\"\nredial_for = \"2m\"\n"+jobOf(k.names()...),
		link+"[retention]\nlast = 2\nmin_age = \"0s\"\n")
	for err == nil && k.left > 0 {
		if err = k.point(ctx); err == nil {
			err = k.verify(ctx)
		}
		for _, name := range k.names() {
			err = errors.Join(err, k.rewrite(name, 2))
		}
	}
	k.took = time.Since(began)
	if err != nil {
		return err
	}
	return k.verifyAll(ctx)
}

// verifyAll proves the store as anybody can, once the target has ended in its own way: it
// may be pruning.
func (k *killer) verifyAll(ctx context.Context) error {
	if err := k.target.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	k.target.Wait()
	_, err := k.output(ctx, "", "points", "verify", "--offline", "--store", k.store())
	return err
}

// end ends what runs.
func (k *killer) end(cancel func()) {
	cancel()
	if k.source != nil {
		<-k.ended
	}
	if k.target != nil {
		k.target.Wait()
	}
}

func (k *killer) names() []string { return slices.Sorted(maps.Keys(k.sizes)) }

func (k *killer) store() string { return k.dir + "/target/store" }

// rewrite gives one of so many blocks of a disk, at random, another content, which is all
// that the next point has to send.
func (k *killer) rewrite(name string, oneOf int) error {
	f, err := os.OpenFile(k.disk(name), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, diskio.BlockBytes)
	changed := make([]bool, k.sizes[name]/diskio.BlockBytes)
	k.changed[name] = changed
	for off := int64(0); off < k.sizes[name]; off += diskio.BlockBytes {
		if k.dice.IntN(oneOf) > 0 {
			continue
		}
		changed[off/diskio.BlockBytes] = true
		k.random.Read(b)
		if _, err := f.WriteAt(b, off); err != nil {
			return err
		}
	}
	return nil
}

// point sends one point, through as many kills as it takes.
func (k *killer) point(ctx context.Context) error {
	if err := k.run(ctx); err != nil {
		return err
	}
	for {
		ended, err := k.waitForAMoment(ctx)
		if err != nil {
			return err
		}
		if ended {
			break
		}
		if k.left--; k.dice.IntN(2) == 0 {
			err = k.killSource(ctx)
		} else {
			err = k.killTarget(ctx)
		}
		if err != nil {
			return err
		}
		if k.source == nil { // it was killed
			if committed, err := k.committed(); err != nil || committed {
				return err
			}
			if err := k.run(ctx); err != nil {
				return err
			}
		}
	}
	committed, err := k.committed()
	if err == nil && !committed {
		err = errors.New("the run ended well, and there is no new point")
	}
	return err
}

// run starts a run.
func (k *killer) run(ctx context.Context) error {
	k.stdout.Reset()
	k.stderr.Reset()
	k.source = exec.CommandContext(ctx, k.wanrep, "run", "j", "--config", k.config("source"), "--json")
	k.source.Stdout, k.source.Stderr = &k.stdout, &k.stderr
	if err := k.source.Start(); err != nil {
		return err
	}
	k.ended = make(chan error, 1)
	go func() { k.ended <- k.source.Wait() }()
	return nil
}

// waitForAMoment waits until the next kill is due. That is at any moment, but mostly not
// before the run has moved on. It reports whether the run ended before, which it has to
// do well; where no kill is left it always does.
func (k *killer) waitForAMoment(ctx context.Context) (ended bool, err error) {
	const spread = 600 // milliseconds
	after := time.Duration(k.dice.IntN(spread)) * time.Millisecond
	hold := k.left == 0 || k.dice.IntN(4) > 0 // until the run moves on, or for good
	due := time.NewTimer(after)
	defer due.Stop()
	if hold {
		due.Stop()
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for from := int64(-1); ; {
		select {
		case err := <-k.ended:
			k.source = nil
			if err != nil {
				return true, fmt.Errorf("the run ended: %w\n%s%s", err, &k.stdout, &k.stderr)
			}
			return true, nil
		case <-due.C:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		case <-tick.C:
		}
		if !hold || k.left == 0 {
			continue
		}
		durable := k.known(ctx).durable()
		if from < 0 {
			from = durable
		}
		if durable > from {
			hold = false
			due.Reset(after)
		}
	}
}

// A standing is how far the disks of a part are, as the source knows it.
type standing struct {
	point string
	disks []progress.Disk
}

// known asks the source; nothing is known while that does not answer.
func (k *killer) known(ctx context.Context) standing {
	s, err := k.status(ctx, "source")
	if err != nil || len(s.VMs) != 1 {
		return standing{}
	}
	return standing{s.VMs[0].Point, s.VMs[0].Disks}
}

func (s standing) durable() (sum int64) {
	for _, d := range s.disks {
		sum += d.Durable
	}
	return sum
}

func (k *killer) killSource(ctx context.Context) error {
	known := k.known(ctx)
	if err := k.source.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := <-k.ended; err == nil { // it had ended by itself
		k.left++
	} else {
		k.ofSource++
	}
	k.source = nil
	return k.compare("source", known)
}

// killTarget asks the source afterwards, when no acknowledgement can come any more.
func (k *killer) killTarget(ctx context.Context) error {
	if err := k.target.Process.Kill(); err != nil {
		return err
	}
	k.target.Wait()
	k.ofTarget++
	if err := k.compare("target", k.known(ctx)); err != nil {
		return err
	}
	return k.serve(ctx)
}

// compare compares what the source knew with what the store has, and counts.
func (k *killer) compare(who string, known standing) error {
	points, err := k.list()
	if err != nil {
		return err
	}
	var lost, acknowledged, again int64
	for _, d := range known.disks {
		have := durableOf(points, known.point, d.Disk)
		acknowledged += d.Durable
		lost += max(0, d.Durable-have)
		again = max(again, k.content(d.Disk, have, d.Offset))
	}
	k.again += again
	k.mostAgain = max(k.mostAgain, again)
	k.acknowledged += acknowledged
	k.lost += lost
	fmt.Fprintf(k.log, "killed the %s at point %q: %d bytes acknowledged, %d lost, %d of one disk sent and not durable\n", who, known.point, acknowledged, lost, again)
	return nil
}

// content returns how many bytes between two offsets have to be sent.
func (k *killer) content(disk string, from, to int64) (bytes int64) {
	for off := from / diskio.BlockBytes * diskio.BlockBytes; off < to; off += diskio.BlockBytes {
		if k.changed[disk][off/diskio.BlockBytes] {
			bytes += diskio.BlockBytes
		}
	}
	return bytes
}

// durableOf returns how much of a disk the store has, committed or not; 0 if it has
// nothing of the point.
func durableOf(points []resume.Point, point, disk string) int64 {
	for _, p := range points {
		if p.Point != point {
			continue
		}
		for _, d := range p.Disks {
			if d.Disk == disk {
				return d.Durable
			}
		}
	}
	return 0
}
