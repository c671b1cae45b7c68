package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes. Scripts rely on them.
const (
	exitOK              = 0
	exitFailed          = 1
	exitUsage           = 2 // or a config that can't be used
	exitWarnings        = 3 // done, but something wants a look
	exitNotPaired       = 10
	exitUnreachable     = 11 // this machine's appliance, by its control socket
	exitRefused         = 12 // by the peer
	exitPeerUnreachable = 13
	exitInterrupted     = 130
)

// A cliError is what a command returns when it knows the exit code or what the
// operator can do.
type cliError struct {
	code int
	err  error // nil: everything was said already, only the code is left to give
	hint string
	// documented tells that stdout has the command's JSON document already, with
	// the error in it, so that main must not print a second one.
	documented bool
}

func (e *cliError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *cliError) Unwrap() error { return e.err }

// fail builds a cliError. The hint may be empty.
func fail(code int, hint string, format string, args ...any) error {
	return &cliError{code: code, err: fmt.Errorf(format, args...), hint: hint}
}

// documented marks err as told on stdout already, by a command with --json whose
// own document has room for an error.
func documented(code int, err error) error {
	return &cliError{code: code, err: err, documented: true}
}

// quietly ends the command with a code and without a message, for a command that
// printed its findings as its result.
func quietly(code int) error { return &cliError{code: code} }

// A failure is what is printed when a command fails with --json.
type failure struct {
	Schema string `json:"schema"`
	Error  string `json:"error"`
	Hint   string `json:"hint"`
}

// schemaKey is the annotation under which a command with --json keeps the name
// of its document, for the case that it fails before it has one.
const schemaKey = "schema"

// withSchema names the document that a command prints with --json.
func withSchema(schema string) map[string]string {
	return map[string]string{schemaKey: schema}
}

// report prints err as the operator should see it and returns the exit code.
// started tells whether the command itself ran; an error before that is one of
// usage.
func report(cmd *cobra.Command, args []string, err error, started bool, stdout, stderr io.Writer) int {
	code, text, hint := describe(cmd, err, started)
	if text == "" {
		return code
	}
	for line := range strings.SplitSeq(text, "\n") {
		// An indented line belongs to the one above.
		if !strings.HasPrefix(line, " ") {
			line = "wanrep: error: " + line
		}
		fmt.Fprintln(stderr, line)
	}
	if hint != "" {
		fmt.Fprintf(stderr, "wanrep: hint: %s\n", hint)
	}
	var known *cliError
	if wantsJSON(cmd, args) && !(errors.As(err, &known) && known.documented) {
		doc, _ := json.Marshal(failure{Schema: cmd.Annotations[schemaKey], Error: text, Hint: hint})
		fmt.Fprintf(stdout, "%s\n", doc)
	}
	return code
}

// describe finds what an error says by itself. An empty text means that there is
// nothing left to say.
func describe(cmd *cobra.Command, err error, started bool) (code int, text, hint string) {
	code, text = exitFailed, err.Error()
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		hint = hinted.Hint()
	}
	var known *cliError
	switch {
	case errors.As(err, &known):
		code = known.code
		if known.hint != "" {
			hint = known.hint
		}
		if known.err == nil {
			text = ""
		}
	case !started:
		code, hint = exitUsage, fmt.Sprintf("%q explains the command", cmd.CommandPath()+" --help")
	case errors.Is(err, context.Canceled):
		code, text = exitInterrupted, "interrupted"
	}
	return code, text, hint
}

// wantsJSON tells whether the command has a --json flag and was given it. The
// arguments are asked too because a wrong flag before it ends the parsing.
func wantsJSON(cmd *cobra.Command, args []string) bool {
	flag := cmd.Flags().Lookup("json")
	if flag == nil {
		return false
	}
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return flag.Value.String() == "true" || slices.Contains(args, "--json")
}
