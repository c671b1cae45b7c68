package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"

	"github.com/spf13/cobra"

	"wanrep/configs"
	"wanrep/diskio/durable"
	"wanrep/replicate/control"
	"wanrep/replicate/progress"
)

// An appliance is a source or a target with all that it owns. A process has one.
type appliance interface {
	control.Appliance
	// Board is where it writes what it does.
	Board() *progress.Board
	// Serve does the appliance's work until ctx ends, and returns when nothing
	// of it runs any more.
	Serve(ctx context.Context) error
	// Close gives everything back. Serve must have returned.
	Close() error
}

// openAppliance builds the appliance that the config describes. The caller has
// the lock on its state directory.
func openAppliance(cfg *configs.Config, log *slog.Logger) (appliance, error) {
	if cfg.Role == configs.RoleTarget {
		return openTarget(cfg, log)
	}
	return openSource(cfg, log, nil)
}

// stateLock is the name of the lock in the state directory.
const stateLock = "lock"

// lockState makes sure that no other process works with the same identity,
// tickets and store. The error names the one that does.
func lockState(cfg *configs.Config) (io.Closer, error) {
	dir, err := durable.OS(cfg.StateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(exitFailed, "wanrep init makes it with an identity in it; or set state_dir in "+cfg.File,
			"state directory %s does not exist", cfg.StateDir)
	}
	if err != nil {
		return nil, fmt.Errorf("open the state directory: %w", err)
	}
	lock, err := dir.Lock(stateLock)
	if err != nil {
		dir.Close()
		if _, ok := errors.AsType[*durable.LockedError](err); ok {
			return nil, fail(exitFailed, "wanrep status asks the one that runs; stop it first, or give this one a state_dir of its own", "%w", err)
		}
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	return closers{lock, dir}, nil
}

// closers close in order.
type closers []io.Closer

func (cs closers) Close() error {
	var errs []error
	for _, c := range cs {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// addressed are the flags that name an appliance.
type addressed struct {
	config string
	socket string
}

// addConfig adds --config.
func (a *addressed) addConfig(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.config, "config", configs.DefaultPath(), "the appliance's config `file`")
}

// addSocket adds --config and --socket.
func (a *addressed) addSocket(cmd *cobra.Command) {
	a.addConfig(cmd)
	cmd.Flags().StringVar(&a.socket, "socket", "", "control `socket` of the running appliance (default: what the config says)")
	cmd.MarkFlagsMutuallyExclusive("config", "socket")
}

// load reads the config.
func (a *addressed) load() (*configs.Config, error) {
	cfg, err := configs.Load(a.config)
	if err == nil {
		return cfg, nil
	}
	hint := `"wanrep config show --defaults source" (or target) prints every key with its default`
	if errors.Is(err, fs.ErrNotExist) {
		hint = "name the file with --config, or make one with wanrep init"
	}
	return nil, fail(exitUsage, hint, "%w", err)
}

// client returns a client of the appliance, and its config unless only the socket
// was named.
func (a *addressed) client() (*control.Client, *configs.Config, error) {
	if a.socket != "" {
		return &control.Client{Socket: a.socket}, nil, nil
	}
	cfg, err := a.load()
	if err != nil {
		return nil, nil, err
	}
	return &control.Client{Socket: cfg.Control.Socket}, cfg, nil
}

// Codes of a control.Error besides those of package control: what a run tells of
// its peer.
const (
	codeNotPaired   = "not paired"
	codeRefused     = "refused"
	codeUnreachable = "peer unreachable"
)

// answered turns what a client of the control socket returned into the error of
// a command, with the exit code that the appliance's code stands for.
func answered(err error) error {
	if _, ok := errors.AsType[*control.UnreachableError](err); ok {
		return &cliError{code: exitUnreachable, err: err}
	}
	e, ok := errors.AsType[*control.Error](err)
	if !ok {
		return err
	}
	code := exitFailed
	switch e.Code {
	case control.NotFound, control.BadRequest, control.WrongRole:
		code = exitUsage
	case control.Interrupted:
		code = exitInterrupted
	case codeNotPaired:
		code = exitNotPaired
	case codeRefused:
		code = exitRefused
	case codeUnreachable:
		code = exitPeerUnreachable
	}
	return &cliError{code: code, err: err}
}
