package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"wanrep/configs"
)

const limitSchema = "wanrep.limit/1"

// A limitDocument tells the most that is sent.
type limitDocument struct {
	Schema  string `json:"schema"`
	MaxRate int64  `json:"max_rate"` // bytes a second; 0 is no limit
}

func newLimitCommand() *cobra.Command {
	var at addressed
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "limit [RATE]",
		Short: "Show or change how much the running source sends a second",
		Long: `Set the most that the running source sends a second over all its links, in bits
("20Mbit") or bytes ("2500kB"), or "off". It holds until it is changed or the
appliance is stopped, and then [link] max_rate does again; limits of single uplinks
stay. Without a rate it tells what holds now.`,
		Example: `  wanrep limit 20Mbit
  wanrep limit off`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: withSchema(limitSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := at.client()
			if err != nil {
				return err
			}
			if len(args) > 0 {
				rate, err := configs.ParseRate(args[0])
				if err != nil {
					return fail(exitUsage, "", "%w", err)
				}
				if err := client.Limit(cmd.Context(), int64(rate)); err != nil {
					return answered(err)
				}
			}
			status, err := client.Status(cmd.Context())
			if err != nil {
				return answered(err)
			}
			if asJSON {
				return printJSON(cmd, limitDocument{limitSchema, status.MaxRate})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "limit: %v\n", configs.Rate(status.MaxRate))
			return err
		},
	}
	at.addSocket(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}
