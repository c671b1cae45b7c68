package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// maxAgain is the most that may be sent again of one disk after a kill, in bytes: how
// much may be written before it is synced and acknowledged.
const maxAgain = 64 << 20

// kills ends one of two real appliances with SIGKILL, again and again, while the one
// sends points to the other, and compares what was acknowledged with what is left.
func kills(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("kills", flag.ContinueOnError)
	n := flags.Int("n", 200, "processes to kill")
	seed := flags.Uint64("seed", uint64(time.Now().UnixNano()), "what the random moments come from")
	size := flags.Int64("size", 256, "MiB of both disks of the VM")
	rate := flags.String("rate", "off", "the most to send a second, as max_rate in a config")
	verbose := flags.Bool("v", false, "tell of each kill")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	if *n < 1 || *size < 4 {
		return usageError{fmt.Errorf("%d kills and %d MiB: at least 1 and 4", *n, *size)}
	}
	dir, err := os.MkdirTemp("", "wanrep-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	wanrep, err := build(ctx, dir)
	if err != nil {
		return err
	}
	const most = 10 * time.Second // for one kill and what follows, on a busy machine
	ctx, cancel := context.WithTimeout(ctx, time.Minute+time.Duration(*n)*most)
	k := &killer{
		pairOfAppliances: &pairOfAppliances{wanrep: wanrep, dir: filepath.Join(dir, "pair"), random: rand.NewChaCha8([32]byte{3})},
		dice:             rand.New(rand.NewPCG(*seed, 0)), seed: *seed, left: *n, log: io.Discard,
		sizes:   map[string]int64{"os": *size * 3 / 4 << 20, "data": *size / 4 << 20},
		changed: map[string][]bool{},
	}
	if *verbose {
		k.log = out
	}
	defer k.end(cancel)
	fmt.Fprintf(out, "seed %d\n", *seed)
	if err := k.play(ctx, *rate); err != nil {
		return fmt.Errorf("seed %d, after %d kills: %w", *seed, k.ofSource+k.ofTarget, err)
	}
	fmt.Fprint(out, k.table())
	return k.judge()
}

// A tally is what came of the kills. Sizes are bytes.
type tally struct {
	ofSource, ofTarget int
	acknowledged, lost int64 // of the parts under way, summed up over the kills
	again, mostAgain   int64 // sent and not durable, of one disk: of all kills, of one
	points, verified   int   // committed; compared with the source's disks
	prunes             int   // points that are gone again by the target's rules
	took               time.Duration
}

func (t tally) table() string {
	return fmt.Sprintf("| %d kills at random moments | |\n| --- | --- |\n"+
		"| of the source, of the target | %d, %d |\n"+
		"| acknowledged before the kills, summed up, MiB | %.1f |\n"+
		"| of that lost, bytes | %d |\n"+
		"| sent again of the worst disk after a kill, on average, MiB | %.2f |\n"+
		"| most sent again of one disk after one kill, MiB | %.2f |\n"+
		"| points committed, replicas equal to their source | %d, %d |\n"+
		"| points pruned meanwhile | %d |\n"+
		"| seconds | %.0f |\n",
		t.ofSource+t.ofTarget, t.ofSource, t.ofTarget, mebi(t.acknowledged), t.lost,
		mebi(t.again)/float64(t.ofSource+t.ofTarget), mebi(t.mostAgain), t.points, t.verified, t.prunes, t.took.Seconds())
}

// judge returns an error if a promise was broken.
func (k *killer) judge() error {
	switch {
	case k.lost > 0:
		return fmt.Errorf("seed %d: %d acknowledged bytes were lost", k.seed, k.lost)
	case k.mostAgain > maxAgain:
		return fmt.Errorf("seed %d: %d bytes of one disk were sent again after one kill, more than %d", k.seed, k.mostAgain, maxAgain)
	case k.verified < k.points:
		return fmt.Errorf("seed %d: %d of %d points were compared", k.seed, k.verified, k.points)
	}
	return nil
}
