package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
	"wanrep/tui"
)

func newTopCommand() *cobra.Command {
	var at addressed
	var peer string
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a running appliance in a terminal UI",
		Long: `Watch a running appliance: VMs and disks, the link, throughput, events. Quitting
ends nothing; the one thing that it can do is to hold a source's jobs and let them
go on. With --peer show what that target tells of this source's VMs. Without a
terminal it prints what "wanrep status" prints.`,
		Example: `  wanrep top
  wanrep top --peer dr-paris
  wanrep top --socket /run/wanrep/wanrep.sock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := at.client()
			if err != nil {
				return err
			}
			// The UI keeps asking an appliance that went away; one that was never
			// there is more likely a wrong socket.
			status, err := statusOf(cmd.Context(), client, peer)
			if err != nil {
				return answered(err)
			}
			config := tui.Config{Source: client, Points: client.Points, Actions: topActions(client)}
			if peer != "" {
				config = tui.Config{Source: peerOf{client, peer}}
			}
			err = tui.Run(cmd.Context(), config)
			if errors.Is(err, tui.ErrNoTerminal) {
				return printStatus(cmd, status)
			}
			return err
		},
	}
	at.addSocket(cmd)
	cmd.Flags().StringVar(&peer, "peer", "", "show this `target`, asked over the link, and not this appliance")
	// It fails only where there is no such flag.
	_ = cmd.RegisterFlagCompletionFunc("peer", completePeers(&at))
	return cmd
}

// A peerOf is a target as the source on a socket sees it.
type peerOf struct {
	client *control.Client
	name   string
}

// Status lets the source ask its target.
func (p peerOf) Status(ctx context.Context) (progress.Status, error) {
	return p.client.PeerStatus(ctx, p.name)
}

// topActions are what an operator may do to a running source in the UI.
func topActions(client *control.Client) []tui.Action {
	isSource := func(s progress.Status) bool { return s.Role == configs.RoleSource }
	return []tui.Action{
		{
			Key: "p", Label: "pause", Ask: "Hold all jobs, also the one that runs?",
			When: func(s progress.Status) bool { return isSource(s) && !s.Paused },
			Do:   func(ctx context.Context) error { return client.Pause(ctx, "", "") },
		},
		{
			Key: "p", Label: "resume", Ask: "Let all jobs go on?",
			When: func(s progress.Status) bool { return isSource(s) && s.Paused },
			Do:   func(ctx context.Context) error { return client.Resume(ctx, "") },
		},
	}
}
