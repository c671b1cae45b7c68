package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"wanrep/configs"
	"wanrep/quicx"
	"wanrep/replicate/control"
)

// maxCodeBytes is how much of a file is read for a code, which has 51 characters.
const maxCodeBytes = 4096

// A joinDocument is what "wanrep pair join --json" prints.
type joinDocument struct {
	Schema string       `json:"schema"`
	Peer   control.Peer `json:"peer"`
}

func newPairJoinCommand() *cobra.Command {
	var at addressed
	var asJSON bool
	var codeFile string
	cmd := &cobra.Command{
		Use:   "join ADDRESS",
		Short: "Pair this source with the target that offered a code",
		Long: `Pair this source with the target at ADDRESS (host:port) that offered a code. The
code is asked for on the terminal, or read from a file, or from stdin with "-".
The pairing is written to the config; a running appliance uses it at once.`,
		Example: `  wanrep pair join dr.example.net:7443
  wanrep pair join dr.example.net:7443 --code-file code.txt
  ssh dr wanrep pair offer --json | jq -r .code | wanrep pair join dr.example.net:7443 --code-file -`,
		Args:        cobra.ExactArgs(1),
		Annotations: withSchema(pairJoinSchema),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := at.load()
			if err != nil {
				return err
			}
			if cfg.Role != configs.RoleSource {
				return fail(exitUsage, "run wanrep pair offer here, and wanrep pair join at the source", "%s is the config of a target, which does not join", cfg.File)
			}
			code, err := readCode(cmd, codeFile)
			if err != nil {
				return err
			}
			peer, err := join(cmd, cfg, args[0], code)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, joinDocument{pairJoinSchema, peer})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "paired: %s and %s know each other now\nwrote [[peer]] %s to %s\n", cfg.Name, peer.Name, peer.Name, cfg.File)
			return err
		},
	}
	at.addConfig(cmd)
	addJSONFlag(cmd, &asJSON)
	cmd.Flags().StringVar(&codeFile, "code-file", "", "read the code from `FILE`, or from stdin with \"-\"")
	return cmd
}

// join pairs with the target and keeps the pairing.
func join(cmd *cobra.Command, cfg *configs.Config, address, code string) (control.Peer, error) {
	identity, err := loadIdentity(cfg)
	if err != nil {
		return control.Peer{}, err
	}
	// A running appliance keeps the tickets; this process needs none.
	endpoint, err := quicx.NewEndpoint(quicx.Config{Identity: identity, Uplinks: uplinksOf(cfg), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return control.Peer{}, err
	}
	defer endpoint.Close()
	got, err := endpoint.Join(cmd.Context(), withPort(address), code)
	if err != nil {
		return control.Peer{}, joinError(cmd, err)
	}
	if err := initState(cfg.StateDir); err != nil {
		return control.Peer{}, fmt.Errorf("the target knows this source now, but what it is to remember could not be written here: %w", err)
	}
	peer := configs.Peer{Name: got.Name, Addresses: got.Addresses, Pin: got.Pin}
	book := peerBook{file: cfg.File}
	if err := book.add(peer); err != nil {
		return control.Peer{}, fmt.Errorf("the target knows this source now, but the pairing could not be kept here: %w", err)
	}
	return controlPeers([]configs.Peer{peer})[0], nil
}

// withPort adds the usual port to an address without one.
func withPort(address string) string {
	if _, _, err := net.SplitHostPort(address); err == nil {
		return address
	}
	_, port, _ := net.SplitHostPort(quicx.DefaultListen)
	return net.JoinHostPort(strings.Trim(address, "[]"), port)
}

// joinError gives a failed pairing its exit code.
func joinError(cmd *cobra.Command, err error) error {
	if cmd.Context().Err() != nil {
		return cmd.Context().Err()
	}
	e, ok := errors.AsType[*quicx.Error](err)
	if !ok {
		return err
	}
	code := exitFailed
	switch {
	case e.Dropped():
		code = exitPeerUnreachable
	case e.Class == quicx.Refused, e.Class == quicx.Auth:
		code = exitRefused
	case e.Class == quicx.Local:
		code = exitUsage // the code has a typing mistake
	}
	return &cliError{code: code, err: err}
}

// readCode reads a pairing code from the terminal, without showing it, or from a
// file.
func readCode(cmd *cobra.Command, file string) (string, error) {
	in := cmd.InOrStdin()
	switch file {
	case "":
		return askCode(cmd)
	case "-":
	default:
		f, err := os.Open(file)
		if err != nil {
			return "", fail(exitUsage, "", "read the code: %w", err)
		}
		defer f.Close()
		in = f
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxCodeBytes)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the code: %w", err)
	}
	if line = strings.TrimSpace(line); line == "" {
		return "", fail(exitUsage, "wanrep pair offer at the target prints one", "read the code: there is none")
	}
	return line, nil
}

// askCode asks on the terminal, whose echo is off before the question is there.
func askCode(cmd *cobra.Command) (string, error) {
	f, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", fail(exitUsage, `write it to a file and name that with --code-file, or pipe it in with --code-file -`, "there is no terminal to ask for the code on")
	}
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("ask for the code: %w", err)
	}
	defer term.Restore(int(f.Fd()), before)
	screen := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{f, cmd.ErrOrStderr()}, "")
	type answer struct {
		code string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		code, err := screen.ReadPassword("code: ")
		answers <- answer{code, err}
	}()
	select {
	case a := <-answers:
		if a.err == io.EOF { // ctrl-c, which is only a character now, or ctrl-d
			fmt.Fprint(cmd.ErrOrStderr(), "\r\n")
			return "", context.Canceled
		}
		if a.err != nil {
			return "", fmt.Errorf("read the code: %w", a.err)
		}
		return strings.TrimSpace(a.code), nil
	case <-cmd.Context().Done():
		// The read goes on until the process ends.
		fmt.Fprint(cmd.ErrOrStderr(), "\r\n")
		return "", cmd.Context().Err()
	}
}
