package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"wanrep/configs"
	"wanrep/diskio"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
	"wanrep/tui"
)

// A statusDocument is what "wanrep status --json" prints: the status, and, when
// the appliance does not run, why what it shows is only what its files tell.
type statusDocument struct {
	progress.Status
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}

func newStatusCommand() *cobra.Command {
	var at addressed
	var asJSON, check bool
	var limits ageLimits
	var peer string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Print how an appliance and its replicas are",
		Long: `Print how an appliance is: the link, the VMs with the age of their newest point,
the disks under way, the jobs. When the appliance does not run, print what its
files tell and exit with 11.

With --peer print what that target tells of this source's VMs, which it is asked
over the link.

With --check print one line for a monitoring system instead, and exit with its
codes: 0 ok, 1 warning, 2 critical, 3 unknown. A VM whose newest point is older
than its RPO is a warning, twice that is critical.`,
		Example: `  wanrep status
  wanrep status --json
  wanrep status --peer dr-paris
  wanrep status --check --critical-age 26h`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(progress.Schema),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, cfg, err := at.client()
			if check {
				return runCheck(cmd, client, cfg, err, limits)
			}
			if err != nil {
				return err
			}
			status, down := statusOf(cmd.Context(), client, peer)
			if down != nil {
				if cfg == nil || peer != "" {
					return answered(down)
				}
				status = offlineStatus(cfg, time.Now().UTC())
			}
			if asJSON {
				return printStatusJSON(cmd, status, down)
			}
			if down != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "The appliance does not run; this is what its files tell.\n")
			}
			if err := printStatus(cmd, status); err != nil || down == nil {
				return err
			}
			for _, e := range status.Events {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", e.Level, diskio.Printable(e.Text))
			}
			return answered(down)
		},
	}
	at.addSocket(cmd)
	addJSONFlag(cmd, &asJSON)
	cmd.Flags().BoolVar(&check, "check", false, "print one line for a monitoring system and exit with 0, 1, 2 or 3")
	cmd.Flags().DurationVar(&limits.warning, "warning-age", 0, "with --check: newest points older than this are a warning")
	cmd.Flags().DurationVar(&limits.critical, "critical-age", 0, "with --check: newest points older than this are critical")
	cmd.Flags().StringVar(&peer, "peer", "", "ask this `target` over the link, and not this appliance")
	// It fails only where there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("peer", completePeers(&at))
	cmd.MarkFlagsMutuallyExclusive("json", "check")
	cmd.MarkFlagsMutuallyExclusive("peer", "check")
	return cmd
}

// statusOf asks the appliance, or lets it ask a peer.
func statusOf(ctx context.Context, client *control.Client, peer string) (progress.Status, error) {
	if peer != "" {
		return client.PeerStatus(ctx, peer)
	}
	return client.Status(ctx)
}

// withLists writes empty lists where there is nothing, so that a script can walk
// over them.
func withLists(s progress.Status) progress.Status {
	s.Links = append([]progress.Link{}, s.Links...)
	for i := range s.Links {
		s.Links[i].Uplinks = append([]progress.Uplink{}, s.Links[i].Uplinks...)
	}
	s.Jobs = append([]progress.Job{}, s.Jobs...)
	s.Events = append([]progress.Event{}, s.Events...)
	s.Samples = append([]progress.Sample{}, s.Samples...)
	s.History.Samples = append([]progress.Sample{}, s.History.Samples...)
	s.VMs = append([]progress.VM{}, s.VMs...)
	for i := range s.VMs {
		s.VMs[i].Disks = append([]progress.Disk{}, s.VMs[i].Disks...)
	}
	return s
}

func printStatusJSON(cmd *cobra.Command, status progress.Status, down error) error {
	doc := statusDocument{Status: withLists(status)}
	if down == nil {
		return printJSON(cmd, doc)
	}
	err := answered(down)
	var code int
	code, doc.Error, doc.Hint = describe(cmd, err, true)
	if err := printJSON(cmd, doc); err != nil {
		return err
	}
	return documented(code, err)
}

// printStatus prints the tables, and what happens next where the line is lost, or
// would if it were.
func printStatus(cmd *cobra.Command, status progress.Status) error {
	out := cmd.OutOrStdout()
	width, terminal := 0, false
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		terminal = true
		width, _, _ = term.GetSize(int(f.Fd()))
	}
	color := terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	if _, err := fmt.Fprint(out, tui.Table(status, width, color)); err != nil {
		return err
	}
	for i, text := range append(expect(status), outlook(status)...) {
		if i == 0 {
			fmt.Fprintln(out)
		}
		if _, err := fmt.Fprintln(out, diskio.Printable(text)); err != nil {
			return err
		}
	}
	return nil
}

// askDoctor says who looks for the reason, which a source can do.
func askDoctor(s progress.Status, l progress.Link) string {
	if s.Role != configs.RoleSource {
		return ""
	}
	return " wanrep doctor " + quoted(l.Peer) + " looks for the reason."
}

// expect tells, for links that are lost and points that wait, what happens next
// and where each disk goes on.
func expect(s progress.Status) []string {
	var texts []string
	for _, l := range s.Links {
		switch l.State {
		case progress.LinkRedial:
			text := fmt.Sprintf("The line to %s was lost %s: attempt %d of %d", l.Peer, tui.Ago(l.Since, s.Time), l.Attempt, l.Attempts)
			if wait := l.NextDial.Sub(s.Time); wait > 0 {
				text += ", the next in " + tui.Duration(wait)
			}
			texts = append(texts, text+"."+askDoctor(s, l))
		case progress.LinkDown:
			texts = append(texts, fmt.Sprintf("The line to %s is given up; the next run tries again.%s", l.Peer, askDoctor(s, l)))
		}
	}
	for _, v := range s.VMs {
		if v.State != progress.Stalled && v.State != progress.Parked {
			continue
		}
		when := "when the line is back"
		if v.State == progress.Parked {
			when = "with the next run"
		}
		for _, d := range v.Disks {
			switch {
			case d.Durable >= d.VirtualSize:
				texts = append(texts, fmt.Sprintf("Disk %s of %s is complete in point %s.", d.Disk, v.VM, v.Point))
			case d.Durable > 0:
				texts = append(texts, fmt.Sprintf("Disk %s of %s continues at %s of %s in point %s %s.",
					d.Disk, v.VM, tui.Bytes(d.Durable), tui.Bytes(d.VirtualSize), v.Point, when))
			default:
				texts = append(texts, fmt.Sprintf("Disk %s of %s has not begun; all of its %s go into point %s %s.",
					d.Disk, v.VM, tui.Bytes(d.VirtualSize), v.Point, when))
			}
		}
	}
	return texts
}
