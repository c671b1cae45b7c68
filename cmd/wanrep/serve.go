package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/quicx"
	"wanrep/replicate/control"
	"wanrep/replicate/metrics"
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
			book := newLogbook(cmd.ErrOrStderr(), slog.Level(level))
			return serve(cmd.Context(), cfg, book, func() { fmt.Fprintln(cmd.ErrOrStderr(), "ready") })
		},
	}
	at.addConfig(cmd)
	cmd.Flags().Var(&level, "log-level", "how much to log: debug, info, warn or error")
	return cmd
}

// serve runs an appliance until ctx ends. ready is called once it serves.
func serve(ctx context.Context, cfg *configs.Config, book *logbook, ready func()) (err error) {
	lock, err := lockState(cfg)
	if err != nil {
		return err
	}
	defer lock.Close()
	app, err := openAppliance(cfg, book.log)
	if err != nil {
		return err
	}
	defer func() {
		if closing := app.Close(); err == nil {
			err = closing
		}
	}()
	services, err := servicesOf(ctx, cfg, served{app, book})
	if err != nil {
		return err
	}
	err = runAll(ctx, services, func() {
		book.log.Info("appliance serves", "role", cfg.Role, "name", cfg.Name, "socket", cfg.Control.Socket)
		ready()
	})
	book.log.Info("appliance stopped", "name", cfg.Name)
	return err
}

// A service does something until its context ends.
type service func(context.Context) error

// servicesOf returns what an appliance's process does: its work, and answering on
// what it listens on, which is opened here.
func servicesOf(ctx context.Context, cfg *configs.Config, app served) (services []service, err error) {
	var open []io.Closer
	defer func() {
		if err != nil {
			closers(open).Close()
		}
	}()
	socket, err := control.Listen(ctx, cfg.Control.Socket)
	if err != nil {
		return nil, err
	}
	open = append(open, socket)
	services = []service{
		app.Serve,
		func(ctx context.Context) error { return control.Serve(ctx, socket, app, app.log) },
	}
	if cfg.Control.ReadOnlySocket != "" {
		readOnly, err := control.Listen(ctx, cfg.Control.ReadOnlySocket)
		if err != nil {
			return nil, err
		}
		open = append(open, readOnly)
		services = append(services, func(ctx context.Context) error {
			return control.ServeReadOnly(ctx, readOnly, app.appliance, app.log)
		})
	}
	if cfg.Metrics.Listen != "" {
		var lc net.ListenConfig
		scraped, err := lc.Listen(ctx, "tcp", cfg.Metrics.Listen)
		if err != nil {
			return nil, fail(exitFailed, "set [metrics] listen to an address of this machine and a free port", "listen for metrics: %w", err)
		}
		version := readVersion()
		facts := metrics.Facts{Version: version.Version, Go: version.Go, ConfigRead: time.Now(), CertificateEnds: quicx.CertificateEnds()}
		services = append(services, func(ctx context.Context) error {
			return metrics.Serve(ctx, scraped, app.Board(), facts, app.log)
		})
	}
	return services, nil
}

// runAll runs services side by side; when one ends, so do the others. It calls
// ready once all have begun.
func runAll(ctx context.Context, services []service, ready func()) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, len(services))
	for _, run := range services {
		go func() { ended <- run(ctx) }()
	}
	ready()
	var errs []error
	for range services {
		errs = append(errs, <-ended)
		stop()
	}
	return errors.Join(errs...)
}

// warn prints what is odd in a config that can be used.
func warn(out io.Writer, cfg *configs.Config) {
	for _, p := range cfg.Warnings {
		fmt.Fprintf(out, "wanrep: warning: %s\n", p)
	}
}
