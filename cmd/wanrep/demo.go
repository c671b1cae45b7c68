package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/replicate/progress"
)

// demoSchema names the document of "wanrep demo --json".
const demoSchema = "wanrep.demo/1"

// A demoDocument is what "wanrep demo --json" prints.
type demoDocument struct {
	Schema   string              `json:"schema"`
	Verified bool                `json:"verified"`
	Error    *string             `json:"error"`
	Hint     string              `json:"hint,omitempty"`
	Duration float64             `json:"duration"`
	Line     demoLine            `json:"line"`
	Link     progress.LinkTotals `json:"link"`
	VM       string              `json:"vm"`
	Point    string              `json:"point"`
	Steps    []demoStep          `json:"steps"`
	Disks    []demoDisk          `json:"disks"`
}

// A demoLine says over which line, and with which shortened times, it was shown.
type demoLine struct {
	Paths       []string `json:"paths"`
	Rate        int64    `json:"rate"` // bits a second
	RTT         float64  `json:"rtt"`
	Loss        float64  `json:"loss"`
	IdleTimeout float64  `json:"idle_timeout"`
	RedialEvery float64  `json:"redial_every"`
	Blackout    float64  `json:"blackout"`
}

type demoOptions struct {
	plain bool
	json  bool
	size  string
	disks []string
}

func newDemoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show everything on this machine: two appliances, a bad line, a resumed run",
		Long: `Start a source and a target on this machine with a shaped, lossy line of two
paths between them, replicate the disks of a VM, take one path away, then both for
longer than a link lives, and verify the replica against the source.

It needs no config and no rights, opens no port but on loopback, and leaves no file
behind. On a terminal it shows the UI of "wanrep top", with keys to disturb the
line by hand; else, or with --plain, it prints a line for each thing it did. The
exit code is 0 only if everything was as it should be.`,
		Example: `  wanrep demo
  wanrep demo --plain --size 64MiB
  wanrep demo --disk /var/lib/vms/web.vhdx --json`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(demoSchema),
		RunE:        func(cmd *cobra.Command, args []string) error { return o.run(cmd) },
	}
	cmd.Flags().BoolVar(&o.plain, "plain", false, "print lines, no terminal UI")
	cmd.Flags().StringVar(&o.size, "size", "256MiB", "virtual `size` of the disks that are made, together")
	cmd.Flags().StringArrayVar(&o.disks, "disk", nil, "replicate this disk `image` instead; may be repeated")
	addJSONFlag(cmd, &o.json)
	cmd.MarkFlagsMutuallyExclusive("size", "disk")
	return cmd
}

// A demo is one execution of the command.
type demo struct {
	opts demoOptions
	log  *demoLog
	doc  demoDocument
}

func (o demoOptions) run(cmd *cobra.Command) error {
	size, err := configs.ParseSize(o.size)
	if err != nil {
		return fail(exitUsage, "", "--size: %w", err)
	}
	if size < demoMinBytes {
		return fail(exitUsage, "", "--size %v is too small to show anything; use at least %v", size, configs.Size(demoMinBytes))
	}
	began := time.Now()
	lines := cmd.OutOrStdout()
	if o.json {
		lines = cmd.ErrOrStderr()
	}
	d := &demo{opts: o, doc: demoDocument{Schema: demoSchema, VM: demoVM, Line: demoLineFacts(), Steps: []demoStep{}, Disks: []demoDisk{}}}
	d.log = &demoLog{began: began, since: began, said: func(s demoStep) { printDemoStep(lines, s) }}

	// A terminal that is closed ends the demo as ctrl-c does: its files go too.
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGHUP)
	defer stop()
	dir, err := os.MkdirTemp("", "wanrep-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	printDemoHead(lines, dir)
	if !o.plain && !o.json && term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stdout.Fd())) {
		d.log.said = func(demoStep) {}
		err = d.show(ctx, dir, int64(size))
		for _, s := range d.log.all() {
			printDemoStep(lines, s)
		}
	} else {
		err = d.work(ctx, dir, int64(size), nil)
	}
	if removed := os.RemoveAll(dir); removed != nil && err == nil {
		err = fmt.Errorf("remove the demo's files: %w", removed)
	}
	d.doc.Duration = time.Since(began).Seconds()
	if o.json {
		return d.printJSON(cmd, err)
	}
	if err == nil {
		fmt.Fprintln(lines, " next: wanrep init --help")
	}
	return err
}

// work does the whole demo below dir. started, if not nil, is told of the site
// once there is one.
func (d *demo) work(ctx context.Context, dir string, size int64, started func(*demoSite, *demoRun)) (err error) {
	defer func() {
		if err != nil && ctx.Err() == nil {
			d.log.failed(err)
		}
	}()
	disks, err := d.makeDisks(ctx, dir, size)
	if err != nil {
		return err
	}
	d.log.do("starting two appliances and pairing them")
	site, err := openDemoSite(ctx, dir, disks)
	if err != nil {
		return err
	}
	defer site.Close()
	d.log.done(demoStep{Step: "pair", Brief: "appliances paired",
		Text: demoSource + " and " + demoTarget + " paired over the line: each has the other's key pinned"})

	run := &demoRun{site: site, log: d.log, hands: func() bool { return false }}
	if started != nil {
		started(site, run)
	}
	report, err := run.play(ctx)
	d.doc.Link = report.Link
	if err != nil {
		return err
	}
	d.doc.Point = report.VMs[0].Point
	d.log.do("reading both sides and comparing them")
	if d.doc.Disks, err = verifyDemo(ctx, site.target.store, disks, report); err != nil {
		return fmt.Errorf("the replica is not the source: %w", err)
	}
	d.doc.Verified = true
	d.log.done(demoStep{Step: "verify", Brief: "replica equals source",
		Text: fmt.Sprintf("replica equals source (%d disks, BLAKE3 root and SHA-256)", len(disks))})
	return nil
}

// makeDisks makes the disks, or takes those that were named.
func (d *demo) makeDisks(ctx context.Context, dir string, size int64) ([]configs.Disk, error) {
	if len(d.opts.disks) > 0 {
		var disks []configs.Disk
		for i, path := range d.opts.disks {
			whole, err := filepath.Abs(path)
			if err != nil {
				return nil, err
			}
			disks = append(disks, configs.Disk{Name: fmt.Sprintf("disk%d", i+1), Path: whole})
		}
		return disks, nil
	}
	d.log.do("making disks")
	disks, err := makeDemoDisks(ctx, dir, size)
	if err != nil {
		return nil, err
	}
	d.log.done(demoStep{Step: "disks", Brief: "a VHDX and a VHD made",
		Text: fmt.Sprintf("made a VHDX and a VHD, %s together: text, random, zeros, holes", formatBytes(size))})
	return disks, nil
}

func (d *demo) printJSON(cmd *cobra.Command, err error) error {
	d.doc.Steps = d.log.all()
	if err == nil {
		return printJSON(cmd, d.doc)
	}
	code, text, hint := describe(cmd, err, true)
	d.doc.Verified = false
	d.doc.Error, d.doc.Hint = &text, hint
	return errors.Join(printJSON(cmd, d.doc), documented(code, err))
}

func printDemoHead(out io.Writer, dir string) {
	f := demoLineFacts()
	fmt.Fprintf(out, " wanrep demo: two appliances on this machine, files in %s (removed at exit)\n", dir)
	fmt.Fprintf(out, " line: %s, each %d Mbit/s, %.0f ms, %.2g %% loss; idle timeout %.0f s, redial every %.0f s (a real link: 60 s, 15 s)\n",
		strings.Join(f.Paths, " and "), f.Rate/1e6, 1000*f.RTT, 100*f.Loss, f.IdleTimeout, f.RedialEvery)
}

func printDemoStep(out io.Writer, s demoStep) {
	mark := "✓"
	if !s.OK {
		mark = "✗"
	}
	fmt.Fprintf(out, " %s %s\n", mark, diskio.Printable(s.Text))
}
