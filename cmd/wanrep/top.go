package main

import (
	"errors"

	"github.com/spf13/cobra"

	"wanrep/tui"
)

func newTopCommand() *cobra.Command {
	var at addressed
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch a running appliance in a terminal UI",
		Long: `Watch a running appliance: VMs and disks, the link, throughput, events. Quitting
ends nothing. Without a terminal it prints what "wanrep status" prints.`,
		Example: `  wanrep top
  wanrep top --socket /run/wanrep/wanrep.sock`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := at.client()
			if err != nil {
				return err
			}
			// The UI keeps asking an appliance that went away; one that was never
			// there is more likely a wrong socket.
			status, err := client.Status(cmd.Context())
			if err != nil {
				return answered(err)
			}
			err = tui.Run(cmd.Context(), tui.Config{Source: client, Points: client.Points})
			if errors.Is(err, tui.ErrNoTerminal) {
				return printStatus(cmd, status)
			}
			return err
		},
	}
	at.addSocket(cmd)
	return cmd
}
