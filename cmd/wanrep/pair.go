package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"wanrep/replicate/control"
)

// Schemas of the pair commands' documents.
const (
	pairOfferSchema  = "wanrep.pair-offer/1"
	pairJoinSchema   = "wanrep.pair-join/1"
	pairListSchema   = "wanrep.pair-list/1"
	pairRemoveSchema = "wanrep.pair-remove/1"
)

func newPairCommand() *cobra.Command {
	return newGroup("pair", "Make two appliances known to each other",
		`Make two appliances known to each other. The target offers a one-time code, and
the source joins with it; then each knows the other's key, and nobody else is let
in. The code is a secret: it is never taken from the command line.`,
		`  wanrep pair offer --wait
  wanrep pair join dr.example.net:7443
  wanrep pair list`,
		newPairOfferCommand(), newPairJoinCommand(), newPairListCommand(), newPairRemoveCommand())
}

// A peersDocument is what "wanrep pair list --json" prints.
type peersDocument struct {
	Schema string         `json:"schema"`
	Peers  []control.Peer `json:"peers"`
}

func newPairListCommand() *cobra.Command {
	var at addressed
	var asJSON bool
	cmd := &cobra.Command{
		Use:         "list",
		Short:       "Print which appliances this one is paired with",
		Example:     "  wanrep pair list --json",
		Args:        cobra.NoArgs,
		Annotations: withSchema(pairListSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, cfg, err := at.client()
			if err != nil {
				return err
			}
			var peers []control.Peer
			if cfg != nil {
				peers = controlPeers(cfg.Peers)
			} else if peers, err = client.Peers(cmd.Context()); err != nil {
				return answered(err)
			}
			if asJSON {
				return printJSON(cmd, peersDocument{pairListSchema, peers})
			}
			if len(peers) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "not paired with anybody")
				return err
			}
			var rows [][]string
			for _, p := range peers {
				pin := p.Pin
				if pin == "" {
					pin = "not paired yet"
				}
				rows = append(rows, []string{p.Name, strings.Join(p.Addresses, ", "), pin})
			}
			return printTable(cmd.OutOrStdout(), []string{"NAME", "ADDRESSES", "PIN"}, rows)
		},
	}
	at.addSocket(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// A removedDocument is what "wanrep pair remove --json" prints.
type removedDocument struct {
	Schema  string `json:"schema"`
	Removed string `json:"removed"`
}

func newPairRemoveCommand() *cobra.Command {
	var at addressed
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "remove NAME",
		Short: "Forget a paired appliance",
		Long: `Forget a paired appliance: it may attach no more, and a running appliance ends
its links. Restore points are not touched. The other side keeps its half of the
pairing until it is removed there too.`,
		Example:     "  wanrep pair remove branch-lyon",
		Args:        cobra.ExactArgs(1),
		Annotations: withSchema(pairRemoveSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, cfg, err := at.client()
			if err != nil {
				return err
			}
			err = client.Remove(cmd.Context(), args[0])
			if u, down := errors.AsType[*control.UnreachableError](err); down && cfg != nil && !u.Forbidden() {
				err = (&peerBook{file: cfg.File}).remove(args[0])
			}
			if err != nil {
				return answered(err)
			}
			if asJSON {
				return printJSON(cmd, removedDocument{pairRemoveSchema, args[0]})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "removed %s\n", args[0])
			return err
		},
	}
	at.addSocket(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}
