package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"wanrep/replicate/progress"
	"wanrep/test/wan"
)

// The line of every trial: what an uplink carries, and how long it takes one way.
const (
	lineRate  = 40_000_000 // bits a second
	lineDelay = 20 * time.Millisecond
)

// settled is how long a transfer runs before anything happens to it: slow start is
// over, and something is durable.
const settled = 2 * time.Second

// A trial is one run of a job that something happens to.
type trial struct {
	*world
	dir            string
	source, target *site
	serving, run   *process
	// atSource is the source's board, and received tells when content arrived at the
	// target, which nobody asks meanwhile.
	atSource *board
	received *meter

	// event is when it happened, back when the line or the appliance was there
	// again; zero where nothing was away.
	event, back time.Time
	// lost is what was sent before an event that the run's report knows nothing
	// of, and has to be sent again.
	lost int64
}

// A measure is what a trial shows. Durations are seconds, sizes bytes.
type measure struct {
	stall   float64 // longest time without new content at the target, after the event
	revival float64 // from the return to the first new content; 0 if nothing was away
	resent  int64
	progress.LinkTotals
}

// diskNames are the disks of the VM that every trial sends.
var diskNames = []string{"os", "data"}

// newTrial makes two paired appliances and starts a run that takes about as long as
// told on a whole line.
func newTrial(ctx context.Context, wanrep string, s scenario) (t *trial, err error) {
	t = &trial{}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if t.dir, err = os.MkdirTemp("", "wanrep-bench-"); err != nil {
		return t, err
	}
	shape := wan.Shape{Rate: lineRate, Delay: lineDelay}
	if t.world, err = newWorld(ctx, shape, s.uplinks...); err != nil {
		return t, err
	}
	if err := t.makeSites(ctx, wanrep, s); err != nil {
		return t, err
	}
	t.received = newMeter(ctx)
	if err := t.serve(ctx); err != nil {
		return t, err
	}
	if err := t.source.pair(ctx, t.target, targetAddress+":7443"); err != nil {
		return t, err
	}
	t.atSource = watchBoard(ctx, t.source.socket())
	return t, t.startRun(ctx)
}

func (t *trial) makeSites(ctx context.Context, wanrep string, s scenario) error {
	var err error
	t.target, err = newSite(ctx, wanrep, t.world.target, t.dir, "target", "paris", []string{"--listen", targetAddress + ":7443"}, "")
	if err != nil {
		return err
	}
	var disks, uplinks []string
	for i, name := range diskNames {
		path := filepath.Join(t.dir, name+".raw")
		size := int64(s.traffic.Seconds()*lineRate/8) / int64(len(diskNames)) >> 20 << 20
		if err := randomFile(path, size, uint64(i)); err != nil {
			return err
		}
		disks = append(disks, fmt.Sprintf("{ name = %q, path = %q }", name, path))
	}
	for _, u := range s.uplinks {
		uplinks = append(uplinks, fmt.Sprintf("[[uplink]]\nname = %q\nbind = %q\n", u, u))
	}
	t.source, err = newSite(ctx, wanrep, t.world.source, t.dir, "source", "lyon", nil, strings.Join(uplinks, "")+
		"[link]\nreturn_after = \"5s\"\n"+ // all else is the default
		"[[job]]\nname = \"now\"\npeer = \"paris\"\nvms = [\"sql01\"]\n"+
		"[[vm]]\nname = \"sql01\"\ndisks = ["+strings.Join(disks, ", ")+"]\n")
	return err
}

// randomFile writes a file that cannot be compressed.
func randomFile(path string, size int64, seed uint64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var key [32]byte
	key[0] = byte(seed)
	_, err = io.CopyN(f, rand.NewChaCha8(key), size)
	return errors.Join(err, f.Close())
}

// serve starts the target and waits until it serves.
func (t *trial) serve(ctx context.Context) error {
	var err error
	if t.serving, err = t.target.serve(ctx); err == nil {
		t.received.follow(t.serving.cmd.Process.Pid)
	}
	return err
}

func (t *trial) startRun(ctx context.Context) error {
	var err error
	t.run, err = t.source.start(ctx, "run", "now", "--config", t.source.config, "--json")
	return err
}

// close ends whatever runs and removes what was made.
func (t *trial) close() error {
	for _, p := range []*process{t.run, t.serving} {
		if p != nil {
			p.kill()
		}
	}
	if t.atSource != nil {
		t.atSource.close()
	}
	if t.received != nil {
		t.received.close()
	}
	var err error
	if t.world != nil {
		err = t.world.close()
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}

// until waits for something that must happen while the run goes on.
func (t *trial) until(ctx context.Context, what string, happened func() bool) error {
	limit := time.After(patience)
	for !happened() {
		select {
		case <-time.After(askEvery):
		case <-t.run.ended:
			return fmt.Errorf("the run ended before %s\n%s%s", what, &t.run.stdout, t.run.said())
		case <-limit:
			return fmt.Errorf("waited %v for %s", patience, what)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// moving waits until the transfer is under way.
func (t *trial) moving(ctx context.Context) error {
	err := t.until(ctx, "anything was durable", func() bool {
		return durable(t.atSource.status()) > 0
	})
	if err != nil {
		return err
	}
	return pause(ctx, settled)
}

func durable(s progress.Status) (sum int64) {
	for _, d := range disksOf(s) {
		sum += d.Durable
	}
	return sum
}

// watched is for how long after the event, or the return, gaps are looked at.
const watched = 3 * time.Second

// finish waits for the end of the run, compares the replica with the source, and
// returns what was measured.
func (t *trial) finish(ctx context.Context) (measure, error) {
	out, err := t.run.wait(ctx)
	if err != nil {
		return measure{}, err
	}
	var report struct {
		Link progress.LinkTotals
		VMs  []struct{ Disks []progress.DiskTotals }
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return measure{}, fmt.Errorf("read the report: %w", err)
	}
	m := measure{resent: t.lost, LinkTotals: report.Link}
	for _, v := range report.VMs {
		for _, d := range v.Disks {
			m.resent += d.Resent
		}
	}
	last := t.event
	if t.received.firstAfter(last) == 0 {
		return m, errors.New("the transfer was over before anything happened to it")
	}
	if !t.back.IsZero() {
		last = t.back
		if m.revival = t.received.firstAfter(last).Seconds(); m.revival == 0 {
			return m, errors.New("the transfer was over before what was away came back")
		}
	}
	m.stall = t.received.longestGap(t.event, last.Add(watched)).Seconds()
	return m, t.verify(ctx)
}

var errDiffers = errors.New("the replica differs from the source")

// verify compares the committed point with the source's disks.
func (t *trial) verify(ctx context.Context) error {
	store, out := filepath.Join(t.target.dir, "store"), filepath.Join(t.dir, "export")
	if _, err := t.target.output(ctx, "", "points", "verify", "--store", store); err != nil {
		return errors.Join(errDiffers, err)
	}
	if _, err := t.target.output(ctx, "", "points", "export", "--store", store, "--source", "lyon", "--vm", "sql01", "--point", "latest", "--to", out, "--format", "raw"); err != nil {
		return err
	}
	for _, name := range diskNames {
		var sums [2][]byte
		for i, path := range []string{filepath.Join(t.dir, name+".raw"), filepath.Join(out, name+".raw")} {
			var err error
			if sums[i], err = sum(path); err != nil {
				return err
			}
		}
		if !bytes.Equal(sums[0], sums[1]) {
			return fmt.Errorf("%w: disk %s", errDiffers, name)
		}
	}
	return nil
}

func sum(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return h.Sum(nil), err
}
