package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/replicate/control"
)

func newServeCommand() *cobra.Command {
	var at addressed
	var level logLevel
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the appliance until it is told to stop",
		Long: `Run the appliance, a source or a target as its config says, until SIGTERM or
SIGINT. It prints "ready" on stderr once it serves. What is under way when it
stops is parked, and completed by the next run.`,
		Example: `  wanrep serve
  wanrep serve --config /etc/wanrep/wanrep.toml --log-level debug`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := at.load()
			if err != nil {
				return err
			}
			warn(cmd.ErrOrStderr(), cfg)
			log := newLog(cmd.ErrOrStderr(), slog.Level(level))
			return serve(cmd.Context(), cfg, log, func() { fmt.Fprintln(cmd.ErrOrStderr(), "ready") })
		},
	}
	at.addConfig(cmd)
	cmd.Flags().Var(&level, "log-level", "how much to log: debug, info, warn or error")
	return cmd
}

// serve runs an appliance until ctx ends. ready is called once it serves.
func serve(ctx context.Context, cfg *configs.Config, log *slog.Logger, ready func()) (err error) {
	lock, err := lockState(cfg)
	if err != nil {
		return err
	}
	defer lock.Close()
	app, err := openAppliance(cfg, log)
	if err != nil {
		return err
	}
	defer func() {
		if closing := app.Close(); err == nil {
			err = closing
		}
	}()
	ln, err := control.Listen(ctx, cfg.Control.Socket)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 2)
	go func() { ended <- control.Serve(ctx, ln, app, log) }()
	go func() { ended <- app.Serve(ctx) }()
	log.Info("appliance serves", "role", cfg.Role, "name", cfg.Name, "socket", cfg.Control.Socket)
	ready()
	err = <-ended
	stop() // one does not serve without the other
	err = errors.Join(err, <-ended)
	log.Info("appliance stopped", "name", cfg.Name)
	return err
}

// warn prints what is odd in a config that can be used.
func warn(out io.Writer, cfg *configs.Config) {
	for _, p := range cfg.Warnings {
		fmt.Fprintf(out, "wanrep: warning: %s\n", p)
	}
}

func newLog(out io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: level}))
}

// A logLevel is a slog.Level as a flag. The zero value is info.
type logLevel slog.Level

func (l *logLevel) String() string { return slog.Level(*l).String() }
func (l *logLevel) Type() string   { return "level" }

func (l *logLevel) Set(s string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s)); err != nil {
		return fmt.Errorf("write debug, info, warn or error")
	}
	*l = logLevel(level)
	return nil
}
