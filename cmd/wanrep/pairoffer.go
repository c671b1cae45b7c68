package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/replicate/control"
)

func newPairOfferCommand() *cobra.Command {
	var at addressed
	var asJSON, wait bool
	cmd := &cobra.Command{
		Use:   "offer",
		Short: "Ask the running target for a one-time code",
		Long: `Ask the running target for a code that pairs one source. It is valid once, for
ten minutes and three tries, and voids the code before it. With --wait the command
ends when a source has used the code; interrupting it voids the code.`,
		Example: `  wanrep pair offer --wait
  wanrep pair offer --json`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(pairOfferSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, cfg, err := at.client()
			if err != nil {
				return err
			}
			if cfg != nil && cfg.Role != configs.RoleTarget {
				return fail(exitUsage, "run it at the target, and wanrep pair join here", "a source makes no pairing codes")
			}
			show := func(o control.Offer) { printOffer(cmd, o, cfg, asJSON, wait) }
			if !wait {
				offer, err := client.Offer(cmd.Context())
				if err != nil {
					return answered(err)
				}
				show(offer)
				return nil
			}
			peer, err := client.OfferAndWait(cmd.Context(), show)
			if err != nil {
				return answered(err)
			}
			if asJSON {
				return nil // the document was the offer
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "paired with %s (%s)\n", peer.Name, peer.Pin)
			return err
		},
	}
	at.addSocket(cmd)
	addJSONFlag(cmd, &asJSON)
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until a source has joined")
	return cmd
}

// An offerDocument is what "wanrep pair offer --json" prints.
type offerDocument struct {
	Schema string `json:"schema"`
	control.Offer
}

func printOffer(cmd *cobra.Command, o control.Offer, cfg *configs.Config, asJSON, wait bool) {
	if asJSON {
		_ = printJSON(cmd, offerDocument{pairOfferSchema, o})
		return
	}
	port := ":7443"
	if cfg != nil {
		if i := strings.LastIndex(cfg.Listen.Address, ":"); i >= 0 {
			port = cfg.Listen.Address[i:]
		}
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "On the source, within %s, run this and paste the code when asked:\n\n", time.Until(o.Expires).Round(time.Minute))
	fmt.Fprintf(out, "  wanrep pair join ADDRESS%s        (ADDRESS: this machine, as the source reaches it)\n", port)
	fmt.Fprintf(out, "  code: %s\n", o.Code)
	if wait {
		fmt.Fprint(out, "\nwaiting (one use, three tries; ctrl-c voids the code)\n")
	}
}
