package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
)

// awayForLong is the row that nobody would wait for: it is measured in fake time.
const awayForLong = "both35min"

var longAway = regexp.MustCompile(`measured: parked after ([0-9.]+) min and (\d+) attempts; the next run sent (\d+) bytes twice`)

// fakeTime runs the test of the ladder that takes the line away for 35 minutes, and
// puts what it measured into the table. The test fails if the replica differs.
func (b *bench) fakeTime(ctx context.Context) (met bool, err error) {
	text, err := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run", "^TestParkAndComplete$", "wanrep/test/ladder").CombinedOutput()
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	found := longAway.FindSubmatch(text)
	if err != nil || found == nil {
		return false, errors.Join(errors.New("the test of the ladder failed"), err, errors.New(string(text)))
	}
	twice, err := strconv.ParseFloat(string(found[3]), 64)
	if err != nil {
		return false, err
	}
	met = twice <= longAwayTwice
	_, err = fmt.Fprintf(b.out, "| the line away for 35 min (in fake time) | parked after %s min | the next run | %.2f | 0 | 0 | %s | — | — | the next run completes the same point, ≤ 64 MiB sent twice | %s |\n",
		found[1], twice/(1<<20), found[2], yes(met))
	return met, err
}

// longAwayTwice is what the target may have received and not yet acknowledged, in
// bytes. The line of that test has no rate, so a second of its traffic means nothing.
const longAwayTwice = 64 << 20
