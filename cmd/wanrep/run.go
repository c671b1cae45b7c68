package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/replicate"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
	"wanrep/tui"
)

// A runDocument is what "wanrep run --json" prints.
type runDocument struct {
	replicate.Report
	Hint string `json:"hint,omitempty"`
}

func newRunCommand() *cobra.Command {
	var at addressed
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "run JOB",
		Short: "Run one job once, and wait for its restore points",
		Long: `Run one job once and return when the points of all its VMs are committed. Where
"wanrep serve" runs, it does the work; otherwise this process does, and "wanrep
top" can watch it. Interrupting parks the points, and the next run completes
them; what reached the target is not sent again.`,
		Example: `  wanrep run nightly
  wanrep run nightly --json >report.json`,
		Args:        cobra.ExactArgs(1),
		Annotations: withSchema(replicate.ReportSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := at.load()
			if err != nil {
				return err
			}
			if cfg.Role != configs.RoleSource {
				return fail(exitUsage, "run the job at its source; a target only receives", "%s is the config of a %s", cfg.File, cfg.Role)
			}
			report, err := runJob(cmd, cfg, args[0])
			if report == nil {
				return answered(err)
			}
			return printRun(cmd, report, answered(err), asJSON)
		},
	}
	cmd.ValidArgsFunction = completeJobs(&at)
	at.addConfig(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// runJob lets the running appliance run the job, or else does it in this process.
func runJob(cmd *cobra.Command, cfg *configs.Config, job string) (json.RawMessage, error) {
	ctx := cmd.Context()
	client := &control.Client{Socket: cfg.Control.Socket}
	_, err := client.Status(ctx)
	unreachable, down := errors.AsType[*control.UnreachableError](err)
	if err != nil && (!down || unreachable.Forbidden()) {
		return nil, err
	}
	screen := watch(cmd.ErrOrStderr())
	defer screen.close()
	if !down {
		return client.Run(ctx, job, screen.show)
	}
	return runHere(ctx, cfg, job, cmd.ErrOrStderr(), screen)
}

// runHere runs a job in this process, which answers on the control socket
// meanwhile.
func runHere(ctx context.Context, cfg *configs.Config, job string, stderr io.Writer, screen *screen) (report json.RawMessage, err error) {
	lock, err := lockState(cfg)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	warn(stderr, cfg)
	out := stderr
	if screen.terminal {
		out = io.Discard // the bars tell it
	}
	book := newLogbook(out, slog.LevelInfo)
	source, err := openSource(cfg, book.log, nil)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	var others sync.WaitGroup
	defer others.Wait()
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	others.Go(func() { source.board.Run(beside) })
	ln, err := control.Listen(ctx, cfg.Control.Socket)
	if _, taken := errors.AsType[*control.InUseError](err); taken {
		return nil, err
	}
	if err != nil {
		fmt.Fprintf(stderr, "wanrep: warning: wanrep top cannot watch this run: %v\n", err)
	} else {
		others.Go(func() { control.Serve(beside, ln, served{source, book}, book.log) })
	}
	others.Go(func() { follow(beside, source.board, screen.show) })
	return source.Run(ctx, job)
}

// follow shows the board once a second until ctx ends, and then its last state.
func follow(ctx context.Context, board *progress.Board, show func(progress.Status)) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		show(board.Status())
		select {
		case <-tick.C:
		case <-ctx.Done():
			show(board.Status())
			return
		}
	}
}

// A screen shows a run's progress on stderr from a goroutine of its own, so that a
// terminal that stands still does not stop the run.
type screen struct {
	terminal bool
	next     chan progress.Status
	done     sync.WaitGroup
}

func watch(out io.Writer) *screen {
	s := &screen{next: make(chan progress.Status, 1)}
	width := func() int { return 0 }
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.terminal = true
		width = func() int { w, _, _ := term.GetSize(int(f.Fd())); return w }
	}
	// A screen that cannot be written to is no reason to stop the run.
	s.done.Go(func() { _ = tui.Watch(context.Background(), out, s.terminal, width, s.next) })
	return s
}

// show gives the newest status, in place of one that was not drawn yet.
func (s *screen) show(status progress.Status) {
	select {
	case <-s.next:
	default:
	}
	select {
	case s.next <- status:
	default:
	}
}

// close draws what is left. Nobody may call show any more.
func (s *screen) close() {
	close(s.next)
	s.done.Wait()
}

// printRun prints what a run did and returns err as the command's.
func printRun(cmd *cobra.Command, raw json.RawMessage, err error, asJSON bool) error {
	var doc runDocument
	if bad := json.Unmarshal(raw, &doc.Report); bad != nil {
		return fmt.Errorf("read the run's report: %w", bad)
	}
	for _, v := range doc.VMs {
		for _, w := range v.Warnings {
			fmt.Fprintf(cmd.ErrOrStderr(), "wanrep: warning: %s\n", diskio.Printable(w))
		}
	}
	if asJSON {
		code := exitOK
		if err != nil {
			code, _, doc.Hint = describe(cmd, err, true)
		}
		if bad := printJSON(cmd, doc); bad != nil || err == nil {
			return bad
		}
		return documented(code, err)
	}
	for _, v := range doc.VMs {
		var sent, size int64
		for _, d := range v.Disks {
			sent += d.Wire
			size += d.VirtualSize
		}
		what := v.Outcome
		if v.Point != "" {
			what = "point " + v.Point + " " + what
		}
		if _, bad := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s, %d disks of %s, %s sent, %s\n",
			v.VM, diskio.Printable(what), len(v.Disks), tui.Bytes(size), tui.Bytes(sent), tui.Seconds(doc.Duration)); bad != nil {
			return bad
		}
		if bad := printNotes(cmd.OutOrStdout(), v); bad != nil {
			return bad
		}
	}
	return err
}

// printNotes prints in what a VM and its disks differ from the point before.
func printNotes(out io.Writer, v replicate.VMReport) error {
	notes := slices.Clone(v.Notes)
	for _, d := range v.Disks {
		if d.Note != "" {
			notes = append(notes, "disk "+d.Disk+": "+d.Note)
		}
	}
	for _, n := range notes {
		if _, err := fmt.Fprintf(out, "  %s\n", diskio.Printable(n)); err != nil {
			return err
		}
	}
	return nil
}
