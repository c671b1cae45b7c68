package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

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
ends nothing; the one thing that it can do is to hold a source's jobs, one or all,
and let them go on. With --peer show what that target tells of this source's VMs. Without a
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
			config := tui.Config{Source: client, Points: pointsOf(client), Actions: topActions(client)}
			if peer != "" {
				config = tui.Config{Source: peerOf{client, peer}, Points: peerOf{client, peer}.points}
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

// points lets the source ask its target.
func (p peerOf) points(ctx context.Context, vm progress.VM) (json.RawMessage, error) {
	return p.client.PeerPoints(ctx, p.name, vm.VM)
}

// pointsOf asks for a VM's points where they are: at this target, or at the one that
// this source's job sends the VM to.
func pointsOf(client *control.Client) func(context.Context, progress.VM) (json.RawMessage, error) {
	return func(ctx context.Context, vm progress.VM) (json.RawMessage, error) {
		s, err := client.Status(ctx)
		if err != nil {
			return nil, err
		}
		if s.Role != configs.RoleSource {
			return client.Points(ctx)
		}
		i := slices.IndexFunc(s.Jobs, func(j progress.Job) bool { return j.Job == vm.Job })
		if i < 0 {
			return client.Points(ctx) // which says that there are none here
		}
		return peerOf{client, s.Jobs[i].Peer}.points(ctx, vm)
	}
}

// topActions are what an operator may do to a running source in the UI: hold the
// selected VM's job, or all, and let them go on.
func topActions(client *control.Client) func(progress.Status, progress.VM) []tui.Action {
	pause := func(job string) func(context.Context) error {
		return func(ctx context.Context) error { return client.Pause(ctx, job, "") }
	}
	resume := func(job string) func(context.Context) error {
		return func(ctx context.Context) error { return client.Resume(ctx, job) }
	}
	return func(s progress.Status, vm progress.VM) []tui.Action {
		if s.Role != configs.RoleSource {
			return nil
		}
		if s.Paused {
			return []tui.Action{{Key: "p", Label: "resume all", Ask: "All jobs are held. Let all go on?", Do: resume("")}}
		}
		actions := []tui.Action{{Key: "P", Label: "pause all", Ask: "Hold all jobs, also those that run?", Do: pause(""), Rare: true}}
		i := slices.IndexFunc(s.Jobs, func(j progress.Job) bool { return j.Job == vm.Job })
		switch {
		case i < 0:
		case s.Jobs[i].Paused:
			actions = append(actions, tui.Action{Key: "p", Label: "resume", Ask: fmt.Sprintf("Let job %s go on?", vm.Job), Do: resume(vm.Job)})
		default:
			actions = append(actions, tui.Action{Key: "p", Label: "pause", Ask: fmt.Sprintf("Hold job %s, also if it runs?", vm.Job), Do: pause(vm.Job)})
		}
		return actions
	}
}
