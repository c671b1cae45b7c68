package tui

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"wanrep/replicate/progress"
)

// run is what a run of one VM reports: it goes on, loses its link, and ends.
func run(t *testing.T) []progress.Status {
	var out []progress.Status
	add := func(change func(*progress.Status)) {
		st := seeding(branch(t))
		st.Time = st.Time.Add(time.Duration(len(out)) * time.Second)
		change(&st)
		out = append(out, st)
	}
	for range 7 {
		add(func(*progress.Status) {})
	}
	for range 2 {
		add(func(st *progress.Status) { *st = lost(*st) })
	}
	add(func(st *progress.Status) {
		vm := &st.VMs[0]
		vm.State = progress.Committed
		for i := range vm.Disks {
			vm.Disks[i].State = progress.Committed
		}
	})
	return out
}

func watch(ctx context.Context, out io.Writer, isTerminal bool, all []progress.Status) error {
	next := make(chan progress.Status, len(all))
	for _, st := range all {
		next <- st
	}
	close(next)
	return Watch(ctx, out, isTerminal, func() int { return 90 }, next)
}

func TestWatchLines(t *testing.T) {
	var out bytes.Buffer
	if err := watch(t.Context(), &out, false, run(t)); err != nil {
		t.Fatal(err)
	}
	golden(t, "watch-lines", out.String())
}

func TestWatchBars(t *testing.T) {
	t.Setenv("LC_ALL", "C.UTF-8")
	t.Setenv("TERM", "xterm-256color")
	all := run(t)
	for name, n := range map[string]int{"watch-bars": 1, "watch-bars-redial": 8, "watch-bars-end": len(all)} {
		var out bytes.Buffer
		if err := watch(t.Context(), &out, true, all[:n]); err != nil {
			t.Fatal(err)
		}
		golden(t, name, seen("$ wanrep run nightly\n"+out.String()+"$", 90, 12))
	}
	// More disks than lines are counted, and a second frame covers the first.
	var out bytes.Buffer
	big := many(branch(t))
	if err := watch(t.Context(), &out, true, []progress.Status{big, big, run(t)[0]}); err != nil {
		t.Fatal(err)
	}
	golden(t, "watch-bars-many", seen(out.String()+"$", 90, 30))
	out.Reset()
	if err := watch(t.Context(), &out, true, []progress.Status{big, big}); err != nil {
		t.Fatal(err)
	}
	if screen := seen(out.String(), 90, 30); strings.Count(screen, "lake01") != 1 || !strings.Contains(screen, "and 27 more") {
		t.Errorf("two frames of a large run:\n%s", screen)
	}
	// Disks that are complete are left out before one that is not.
	for i := range big.VMs[0].Disks[:39] {
		big.VMs[0].Disks[i].State = progress.Complete
	}
	out.Reset()
	if err := watch(t.Context(), &out, true, []progress.Status{big}); err != nil {
		t.Fatal(err)
	}
	if screen := seen(out.String(), 90, 30); !strings.Contains(screen, "volume-39") {
		t.Errorf("the one disk that goes on is left out:\n%s", screen)
	}
}

type broken struct{}

var errPipe = errors.New("broken pipe")

func (broken) Write([]byte) (int, error) { return 0, errPipe }

func TestWatchEnds(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("interrupted")
	cancel(cause)
	if err := Watch(ctx, io.Discard, true, func() int { return 0 }, nil); !errors.Is(err, cause) {
		t.Errorf("with ctx ended: %v", err)
	}
	if err := watch(t.Context(), broken{}, true, run(t)); !errors.Is(err, errPipe) {
		t.Errorf("with a broken pipe: %v", err)
	}
	if err := watch(t.Context(), broken{}, false, run(t)); !errors.Is(err, errPipe) {
		t.Errorf("with a broken pipe and no terminal: %v", err)
	}
}
