package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// A hintedError is an error of another package that knows what to do.
type hintedError struct{ error }

func (hintedError) Hint() string { return "do this" }

func TestReport(t *testing.T) {
	plain := errors.New("it broke")
	tests := []struct {
		name    string
		err     error
		args    []string
		started bool
		code    int
		stderr  string
		stdout  string
	}{
		{name: "plain", err: plain, started: true, code: 1, stderr: "wanrep: error: it broke\n"},
		{name: "before it began", err: plain, code: 2,
			stderr: "wanrep: error: it broke\nwanrep: hint: \"x --help\" explains the command\n"},
		{name: "with code and hint", err: fail(exitRefused, "ask them", "refused: %w", plain), started: true, code: 12,
			stderr: "wanrep: error: refused: it broke\nwanrep: hint: ask them\n"},
		{name: "that knows a hint", err: fmt.Errorf("run: %w", hintedError{plain}), started: true, code: 1,
			stderr: "wanrep: error: run: it broke\nwanrep: hint: do this\n"},
		{name: "the command's hint wins", err: fail(exitFailed, "do that", "%w", hintedError{plain}), started: true, code: 1,
			stderr: "wanrep: error: it broke\nwanrep: hint: do that\n"},
		{name: "interrupted", err: fmt.Errorf("read: %w", context.Canceled), started: true, code: 130,
			stderr: "wanrep: error: interrupted\n"},
		{name: "nothing left to say", err: quietly(exitWarnings), args: []string{"--json"}, started: true, code: 3},
		{name: "lines that belong to the one above", err: errors.New("f:1: a\n  1 | a\nf:2: b"), started: true, code: 1,
			stderr: "wanrep: error: f:1: a\n  1 | a\nwanrep: error: f:2: b\n"},
		{name: "as a document", err: fail(exitFailed, "try", "it broke"), args: []string{"--json"}, started: true, code: 1,
			stderr: "wanrep: error: it broke\nwanrep: hint: try\n",
			stdout: `{"schema":"wanrep.x/1","error":"it broke","hint":"try"}` + "\n"},
		{name: "documented already", err: documented(exitFailed, plain), args: []string{"--json"}, started: true, code: 1,
			stderr: "wanrep: error: it broke\n"},
		{name: "json as an argument", err: plain, args: []string{"--", "--json"}, started: true, code: 1, stderr: "wanrep: error: it broke\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asJSON bool
			cmd := &cobra.Command{Use: "x", Annotations: withSchema("wanrep.x/1")}
			addJSONFlag(cmd, &asJSON)
			var stdout, stderr bytes.Buffer
			if code := report(cmd, tt.args, tt.err, tt.started, &stdout, &stderr); code != tt.code {
				t.Errorf("got code %d, want %d", code, tt.code)
			}
			if stderr.String() != tt.stderr {
				t.Errorf("stderr is %q, want %q", stderr.String(), tt.stderr)
			}
			if stdout.String() != tt.stdout {
				t.Errorf("stdout is %q, want %q", stdout.String(), tt.stdout)
			}
		})
	}
}

// Every command has a short text and an example, and few enough flags to read.
func TestEveryCommandExplainsItself(t *testing.T) {
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		cmd.InitDefaultHelpFlag()
		// One line is one flag.
		flags := strings.Count(cmd.Flags().FlagUsages(), "\n")
		if cmd.Short == "" || cmd.Example == "" {
			t.Errorf("%s has no short text or no example", cmd.CommandPath())
		}
		if flags > 12 {
			t.Errorf("%s has %d flags, more than 12", cmd.CommandPath(), flags)
		}
		if cmd.Flags().Lookup("json") != nil && cmd.Annotations[schemaKey] == "" {
			t.Errorf("%s has --json and names no schema", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			look(sub)
		}
	}
	look(newRootCommand())
}

func TestFormatBytes(t *testing.T) {
	tests := map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1 KiB", 1536: "1.5 KiB", 100 << 20: "100 MiB", 123_456_789: "118 MiB",
		64 << 40: "64 TiB", 4096 << 40: "4096 TiB",
	}
	for n, want := range tests {
		if got := formatBytes(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
}
