// Command wanrep replicates the disks of virtual machines over a WAN and does
// not lose work when the line drops.
//
// This package connects the others: a command parses its flags, loads the
// config, builds concrete types and prints what they return. It holds no
// replication logic. Start with newRootCommand, which lists every command, and
// exit.go, which says how commands fail.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	// quic-go would print its warning about small socket buffers into the
	// terminal UI; wanrep doctor tells of them, with the command that helps.
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	// The first signal asks the command to end; after it the signals have their
	// usual effect again, so that a second one ends a command that hangs.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(execute(ctx, os.Args[1:]))
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string) int {
	root := newRootCommand()
	root.SetArgs(args)
	started := false
	noteStart(root, &started)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	return report(cmd, args, err, started, os.Stdout, os.Stderr)
}

// noteStart makes every command below cmd set *started when it begins: what
// fails before that is the command line.
func noteStart(cmd *cobra.Command, started *bool) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*started = true
			return run(cmd, args)
		}
	}
	for _, sub := range cmd.Commands() {
		noteStart(sub, started)
	}
}

func newRootCommand() *cobra.Command {
	root := newGroup("wanrep", "Replicate the disks of virtual machines over a WAN",
		`wanrep keeps copies of virtual machines' disks at a second site. It runs as the
source appliance next to the VMs and as the target appliance at the other site,
and goes on where it was when the line between them drops.`,
		`  wanrep init target --dir /etc/wanrep --name dr-paris --store /srv/wanrep
  wanrep serve --config /etc/wanrep/wanrep.toml
  wanrep disk info disk.vhdx`,
		newDemoCommand(),
		newInitCommand(),
		newPairCommand(),
		newServeCommand(),
		newRunCommand(),
		newStatusCommand(),
		newTopCommand(),
		newPauseCommand(),
		newResumeCommand(),
		newLimitCommand(),
		newLogsCommand(),
		newLogLevelCommand(),
		newConfigCommand(),
		newDiskCommand(),
		newPointsCommand(),
		newDoctorCommand(),
		newBugreportCommand(),
		newVersionCommand(),
	)
	root.SilenceErrors = true
	root.SilenceUsage = true
	return root
}

// newGroup returns a command that only has other commands below it. Without one
// of them it prints its help.
func newGroup(use, short, long, example string, commands ...*cobra.Command) *cobra.Command {
	group := &cobra.Command{
		Use:     use,
		Short:   short,
		Long:    long,
		Example: example,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
			if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
				text += fmt.Sprintf(", did you mean %q?", like[0])
			}
			return fmt.Errorf("%s", text)
		},
		RunE: func(cmd *cobra.Command, args []string) error { return cmd.Help() },
	}
	// Cobra looks for similar names only within this distance.
	group.SuggestionsMinimumDistance = 2
	group.DisableFlagsInUseLine = true
	group.AddCommand(commands...)
	return group
}
