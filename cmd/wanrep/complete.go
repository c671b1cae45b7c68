package main

import (
	"github.com/spf13/cobra"

	"wanrep/configs"
)

// completeJobs completes an argument that is the name of a job.
func completeJobs(at *addressed) cobra.CompletionFunc {
	return completeNames(at, func(cfg *configs.Config) (names []string) {
		for _, j := range cfg.Jobs {
			names = append(names, j.Name)
		}
		return names
	})
}

// completePeers completes an argument or a flag that is the name of a peer.
func completePeers(at *addressed) cobra.CompletionFunc {
	return completeNames(at, func(cfg *configs.Config) (names []string) {
		for _, p := range cfg.Peers {
			names = append(names, p.Name)
		}
		return names
	})
}

// completeNames completes with names from the config, which is there when the
// appliance is not.
func completeNames(at *addressed, names func(*configs.Config) []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		cfg, err := at.load()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names(cfg), cobra.ShellCompDirectiveNoFileComp
	}
}
