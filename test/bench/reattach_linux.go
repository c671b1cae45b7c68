package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// reattach lets things happen to the line between two real appliances, each in a
// network namespace, and measures what a transfer loses by it.
func reattach(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("reattach", flag.ContinueOnError)
	runs := flags.Int("runs", 3, "measurements of each row")
	only := flags.String("only", "", "names of rows, with commas: "+strings.Join(names(), ","))
	wanrep := flags.String("wanrep", "", "the binary to measure; default: it is built")
	verbose := flags.Bool("v", false, "print what each run measured, and the source's events")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	chosen, err := choose(*only)
	if err != nil {
		return usageError{err}
	}
	if os.Getuid() != 0 {
		return usageError{errors.New("reattach needs root, for network namespaces")}
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return usageError{fmt.Errorf("reattach needs ip, of iproute2: %w", err)}
	}
	if err := preferUs(); err != nil {
		return err
	}
	if *wanrep == "" {
		dir, err := os.MkdirTemp("", "wanrep-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if *wanrep, err = buildWanrep(ctx, dir); err != nil {
			return err
		}
	}
	b := &bench{wanrep: *wanrep, runs: max(1, *runs), verbose: *verbose, out: out}
	return b.measureAll(ctx, chosen)
}

// preferUs raises the priority of this process and those it will start, because this
// process is the line: what else the machine does is not what is measured.
func preferUs() error {
	return everyThread(func(id int) error { return unix.Setpriority(unix.PRIO_PROCESS, id, -10) })
}

// everyThread changes something of all threads of this process, from which those to
// come and the processes that it starts have it.
func everyThread(change func(id int) error) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		// A thread that has ended meanwhile is no matter.
		if err := change(id); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("raise the priority: %w", err)
		}
	}
	return nil
}

func names() []string {
	var all []string
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return append(all, awayForLong)
}

func choose(only string) ([]string, error) {
	all := names()
	if only == "" {
		return all, nil
	}
	chosen := strings.Split(only, ",")
	for _, name := range chosen {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("there is no row %q; the rows are %s", name, strings.Join(all, ", "))
		}
	}
	return chosen, nil
}

// A bench measures rows of the table and prints each when it is done.
type bench struct {
	wanrep  string
	runs    int
	verbose bool
	out     io.Writer
}

func (b *bench) measureAll(ctx context.Context, chosen []string) error {
	fmt.Fprint(b.out, tableHead)
	missed := 0
	for _, name := range chosen {
		var met bool
		var err error
		if name == awayForLong {
			met, err = b.fakeTime(ctx)
		} else {
			i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == name })
			met, err = b.row(ctx, scenarios[i])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !met {
			missed++
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d rows missed a goal", missed)
	}
	return nil
}

// row measures one scenario and reports whether its goals were met.
func (b *bench) row(ctx context.Context, s scenario) (met bool, err error) {
	var all []measure
	for range b.runs {
		m, err := b.once(ctx, s)
		if err != nil {
			return false, err
		}
		all = append(all, m)
	}
	line, met := tableRow(s, all)
	_, err = fmt.Fprintln(b.out, line)
	return met, err
}

func (b *bench) once(ctx context.Context, s scenario) (m measure, err error) {
	t, err := newTrial(ctx, b.wanrep, s)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	if err := t.moving(ctx); err != nil {
		return m, err
	}
	if err := s.happen(ctx, t); err != nil {
		return m, err
	}
	m, err = t.finish(ctx)
	if b.verbose {
		fmt.Fprintf(os.Stderr, "%s: %+v\n", s.name, m)
		for _, e := range t.atSource.happened(t.event) {
			fmt.Fprintf(os.Stderr, "  %+7.2f s  %s\n", e.Time.Sub(t.event).Seconds(), e.Text)
		}
	}
	return m, err
}
