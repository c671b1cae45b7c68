package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"wanrep/diskio"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
)

// Names of the lines that "wanrep logs --json" prints.
const (
	logSchema   = "wanrep.log/1"
	eventSchema = "wanrep.event/1"
)

func newLogsCommand() *cobra.Command {
	var at addressed
	var asJSON, follow, events bool
	cmd := &cobra.Command{
		Use:   "logs",
		Short: "Print the last log lines or events of the running appliance",
		Long: `Print the last lines of the running appliance's log, oldest first, or with --events
what happened in the operator's words: attach, loss, commit, give up. With --follow
go on with what comes, until interrupted. With --json every line is a document of
its own. The whole log is where the appliance's stderr goes, usually the journal.`,
		Example: `  wanrep logs
  wanrep logs --events --follow
  wanrep logs --json | jq .text`,
		Args:        cobra.NoArgs,
		Annotations: withSchema(logSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := at.client()
			if err != nil {
				return err
			}
			ctx, stop := context.WithCancelCause(cmd.Context())
			defer stop(nil)
			print := func(text string, document any) {
				if err := printLine(cmd, text, document, asJSON); err != nil {
					stop(err) // nobody reads
				}
			}
			if events {
				err = client.Events(ctx, follow, func(e progress.Event) {
					print(eventLine(e), struct {
						Schema string `json:"schema"`
						progress.Event
					}{eventSchema, e})
				})
			} else {
				err = client.Logs(ctx, follow, func(l control.LogLine) {
					print(logLine(l), struct {
						Schema string `json:"schema"`
						control.LogLine
					}{logSchema, l})
				})
			}
			switch {
			case follow && cmd.Context().Err() != nil:
				return nil // the usual way to end it
			case context.Cause(ctx) != nil && !errors.Is(context.Cause(ctx), context.Canceled):
				return context.Cause(ctx)
			}
			return answered(err)
		},
	}
	at.addSocket(cmd)
	addJSONFlag(cmd, &asJSON)
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what comes")
	cmd.Flags().BoolVar(&events, "events", false, "print events in place of log lines")
	return cmd
}

func printLine(cmd *cobra.Command, text string, document any, asJSON bool) error {
	if asJSON {
		return printJSON(cmd, document)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), diskio.Printable(text))
	return err
}

// logTime is how a line begins.
const logTime = "2006-01-02 15:04:05"

func eventLine(e progress.Event) string {
	var line strings.Builder
	fmt.Fprintf(&line, "%s %-7s %s", e.Time.Local().Format(logTime), e.Level, e.Text)
	for _, about := range []struct{ key, name string }{{"peer", e.Peer}, {"vm", e.VM}, {"disk", e.Disk}} {
		if about.name != "" {
			line.WriteString(" " + about.key + "=" + quoteIfNeeded(about.name))
		}
	}
	return line.String()
}

func logLine(l control.LogLine) string {
	var line strings.Builder
	fmt.Fprintf(&line, "%s %-5s %s", l.Time.Local().Format(logTime), l.Level, l.Text)
	for _, key := range slices.Sorted(maps.Keys(l.Attrs)) {
		line.WriteString(" " + key + "=" + quoteIfNeeded(l.Attrs[key]))
	}
	return line.String()
}

func quoteIfNeeded(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\n\"=") {
		return strconv.Quote(s)
	}
	return s
}
