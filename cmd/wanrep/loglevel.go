package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
)

const logLevelSchema = "wanrep.log-level/1"

// A logLevel is a slog.Level as a flag. The zero value is info.
type logLevel slog.Level

func (l *logLevel) String() string { return strings.ToLower(slog.Level(*l).String()) }
func (l *logLevel) Type() string   { return "level" }

func (l *logLevel) Set(s string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s)); err != nil {
		return errors.New("write debug, info, warn or error")
	}
	*l = logLevel(level)
	return nil
}

// A logLevelDocument tells how much is logged.
type logLevelDocument struct {
	Schema string `json:"schema"`
	Level  string `json:"level"`
}

func newLogLevelCommand() *cobra.Command {
	var at addressed
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "log-level LEVEL",
		Short: "Change how much the running appliance logs",
		Long: `Change how much the running appliance logs: debug, info, warn or error. It holds
until it is changed or the appliance is stopped.`,
		Example:     `  wanrep log-level debug`,
		Args:        cobra.ExactArgs(1),
		ValidArgs:   []string{"debug", "info", "warn", "error"},
		Annotations: withSchema(logLevelSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := at.client()
			if err != nil {
				return err
			}
			var level logLevel
			if err := level.Set(args[0]); err != nil {
				return fail(exitUsage, "", "%q is no level: %w", args[0], err)
			}
			if err := client.SetLogLevel(cmd.Context(), slog.Level(level)); err != nil {
				return answered(err)
			}
			if asJSON {
				return printJSON(cmd, logLevelDocument{logLevelSchema, level.String()})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "log level: %v\n", &level)
			return err
		},
	}
	at.addSocket(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}
