package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// memoryDir is where disks and copies are kept if it is there, so that no tool waits for
// the machine's disks.
const memoryDir = "/dev/shm"

// wideArea lets wanrep and what is usual carry disks over the same lines in turn.
func wideArea(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("wan", flag.ContinueOnError)
	lines := flags.String("lines", "all", "lines to measure on, with commas; wan-lossy is all that begin so")
	names := flags.String("tools", "all", "tools to measure, with commas: "+strings.Join(toolNames(), ","))
	list := flags.String("work", workWhole, "what to do with the disk, with commas: whole,half,changed,cut")
	runs := flags.Int("runs", 5, "rounds, in each of which every tool has its turn")
	size := flags.Int64("size", 0, "MiB to carry; default: what the line carries in 5 s or in 25 round trips, at most 400")
	fair := flags.Bool("fair", false, "measure instead how wanrep shares a line with one TCP connection")
	wanrep := flags.String("wanrep", "", "the binary to measure; default: it is built")
	verbose := flags.Bool("v", false, "print each transfer on stderr")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	w := &wanBench{wanrep: *wanrep, runs: max(1, *runs), size: *size << 20, verbose: *verbose, out: out}
	if err := w.choose(*lines, *names, *list); err != nil {
		return usageError{err}
	}
	if err := canMeasure("wan"); err != nil {
		return err
	}
	parent := memoryDir
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	var err error
	if w.dir, err = os.MkdirTemp(parent, "wanrep-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(w.dir)
	if w.wanrep == "" {
		if w.wanrep, err = buildWanrep(ctx, w.dir); err != nil {
			return err
		}
	}
	if err := everyThread(realTime); err != nil {
		return err
	}
	if *fair {
		return w.fairness(ctx)
	}
	return w.measureAll(ctx)
}

// canMeasure reports what is missing to lay lines.
func canMeasure(command string) error {
	if os.Getuid() != 0 {
		return usageError{fmt.Errorf("%s needs root, for network namespaces and real-time priority", command)}
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return usageError{fmt.Errorf("%s needs ip, of iproute2: %w", command, err)}
	}
	return nil
}

// realTime gives a thread the lowest real-time priority. All that is measured runs with
// it, and what measures: a program that carries packets itself, as QUIC does, needs it
// where a machine is shared, while TCP is carried by the kernel with its own.
func realTime(thread int) error {
	return unix.SchedSetAttr(thread, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}, 0)
}

func buildWanrep(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "wanrep")
	if text, err := exec.CommandContext(ctx, "go", "build", "-o", path, "wanrep/cmd/wanrep").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build wanrep: %w\n%s", err, text)
	}
	return path, nil
}

// A wanBench measures tools on lines and prints a table.
type wanBench struct {
	wanrep, dir string
	runs        int
	size        int64 // 0: the line's
	verbose     bool
	out         io.Writer

	routes []route
	works  []work
	tools  []tool
	notes  []string
}

func toolNames() []string {
	var all []string
	for _, t := range tools {
		all = append(all, t.name)
	}
	return all
}

func (w *wanBench) choose(lines, names, list string) (err error) {
	if w.routes, err = chooseRoutes(lines); err != nil {
		return err
	}
	if w.works, err = chooseWorks(list); err != nil {
		return err
	}
	chosen := strings.Split(names, ",")
	if names == "all" {
		chosen = toolNames()
	}
	for _, name := range chosen {
		i := slices.IndexFunc(tools, func(t tool) bool { return t.name == name })
		if i < 0 {
			return fmt.Errorf("there is no tool %q; there are %s", name, strings.Join(toolNames(), ", "))
		}
		if why := tools[i].absent(); why != "" {
			w.notes = append(w.notes, why)
			continue
		}
		w.tools = append(w.tools, tools[i])
	}
	return nil
}

func (w *wanBench) measureAll(ctx context.Context) error {
	fmt.Fprint(w.out, wanHead)
	missed := 0
	for _, r := range w.routes {
		for _, k := range w.works {
			all, err := w.onStage(ctx, r, k)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", r.name, k.title, err)
			}
			missed += printRows(w.out, r, k, all)
		}
	}
	fmt.Fprint(w.out, wanFoot)
	for _, note := range w.notes {
		fmt.Fprintf(w.out, "%s. ", note)
	}
	fmt.Fprintln(w.out)
	if missed > 0 {
		return fmt.Errorf("%d rows missed a goal", missed)
	}
	return nil
}

// A result is all that one tool took on a stage, one transfer a round.
type result struct {
	tool  string
	taken []taken
}

// onStage measures all tools on a line.
func (w *wanBench) onStage(ctx context.Context, r route, k work) (all []result, err error) {
	s, err := w.newStage(r, k, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end()) }()
	if err := s.makeDisk(); err != nil {
		return nil, err
	}
	var carriers []carrier
	for _, t := range w.tools {
		if !t.canWork(k) {
			continue
		}
		c, err := t.setUp(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("set up %s: %w", t.name, err)
		}
		defer c.close()
		carriers, all = append(carriers, c), append(all, result{tool: t.name})
	}
	for range w.runs {
		if s.changed {
			if err := s.change(); err != nil {
				return nil, err
			}
		}
		for i, c := range carriers {
			m, err := s.transfer(ctx, c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[i].tool, err)
			}
			if w.verbose {
				fmt.Fprintf(os.Stderr, "%s, %s, %s: %+v\n", r.name, k.name, all[i].tool, m)
			}
			all[i].taken = append(all[i].taken, m)
		}
	}
	return all, nil
}

// newStage lays a line, whose TCP connections use BBR unless they choose, with buffers
// that are enough for it.
func (w *wanBench) newStage(r route, k work, queue float64) (*stage, error) {
	s := &stage{route: r, work: k, wanrep: w.wanrep, runs: w.runs}
	s.size, s.content = k.sizes(r, w.size)
	var err error
	if s.dir, err = os.MkdirTemp(w.dir, "stage-"); err != nil {
		return nil, err
	}
	s.disk = filepath.Join(s.dir, "disk.raw")
	if s.emulator, err = startEmulator(r, queue); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	settings := []string{"net.ipv4.tcp_rmem=4096 131072 67108864", "net.ipv4.tcp_wmem=4096 16384 67108864"}
	if !slices.ContainsFunc(tools, func(t tool) bool { return t.name == bbr && t.absent() != "" }) {
		settings = append(settings, "net.ipv4.tcp_congestion_control=bbr")
	}
	for _, namespace := range []string{s.Source, s.Target} {
		line := append([]string{"netns", "exec", namespace, "sysctl", "-qw"}, settings...)
		if text, err := exec.Command("ip", line...).CombinedOutput(); err != nil {
			return nil, errors.Join(fmt.Errorf("set up TCP: %w: %s", err, text), s.end())
		}
	}
	return s, nil
}

// end removes the line and the disk.
func (s *stage) end() error { return errors.Join(s.emulator.close(), os.RemoveAll(s.dir)) }
