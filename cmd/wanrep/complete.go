package main

import (
	"context"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/resume"
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

// needsQuotes tells what a shell might not take as it stands. Names of VMs come from
// peers.
func needsQuotes(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_.", r)
}

// complete completes the flags that name points, with those that there are.
func (f *pointsFlags) complete(cmd *cobra.Command, q *pointQuery) {
	names := func(pick func(resume.Point) string) cobra.CompletionFunc {
		return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			points, err := f.list(context.Background())
			if err != nil {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			named := pointQuery{source: q.source, vm: q.vm}
			found, _ := named.find(points, true)
			var all []string
			for _, p := range found {
				if name := pick(p); !strings.ContainsFunc(name, needsQuotes) {
					all = append(all, name)
				}
			}
			slices.Sort(all)
			return slices.Compact(all), cobra.ShellCompDirectiveNoFileComp
		}
	}
	for flag, pick := range map[string]func(resume.Point) string{
		"source": func(p resume.Point) string { return p.Source },
		"vm":     func(p resume.Point) string { return p.VM },
		"point":  func(p resume.Point) string { return p.Point },
	} {
		// It fails only where there is no such flag.
		_ = cmd.RegisterFlagCompletionFunc(flag, names(pick))
	}
}
