//go:build !windows

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/creack/pty"
)

// TestCommandsAskTheTerminalNothing runs a command on a terminal that answers no
// question, as serial consoles and scripts don't: nothing but its output may come.
func TestCommandsAskTheTerminalNothing(t *testing.T) {
	cmd := exec.Command(os.Args[0], "version")
	// TestMain runs a command by the name of the program.
	cmd.Args[0] = "wanrep"
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "CI=")
	terminal, err := pty.Start(cmd)
	if err != nil {
		t.Skip("no pseudo terminal: ", err)
	}
	defer terminal.Close()
	out, _ := io.ReadAll(terminal) // ends with EIO where the command ends
	if err := cmd.Wait(); err != nil {
		t.Errorf("wanrep version: %v", err)
	}
	if bytes.ContainsRune(out, '\x1b') || !bytes.Contains(out, []byte("wanrep ")) {
		t.Errorf("the terminal got %q, want the version and no questions", out)
	}
}
