//go:build !windows

package tui

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wanrep/replicate/progress"
)

// inTmux makes this test binary the UI itself, showing the status in the file that
// it names.
const inTmux = "WANREP_TUI_SHOWS"

func TestMain(m *testing.M) {
	file := os.Getenv(inTmux)
	if file == "" {
		os.Exit(m.Run())
	}
	if err := showFile(file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func showFile(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var st progress.Status
	if err := json.Unmarshal(data, &st); err != nil {
		return err
	}
	return Run(context.Background(), Config{Source: constant{st}})
}

// TestInTmux uses the UI in a terminal that people use, which has its own ideas of
// what an escape sequence does.
func TestInTmux(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Skip("needs tmux: ", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	tmux := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("tmux", append([]string{"-u", "-S", socket, "-f", "/dev/null"}, args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TERM=xterm-256color", "TMUX=")
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("tmux %s: %v: %s", args[0], err, said.String())
		}
		return string(out)
	}
	tmux("new-session", "-d", "-x", "80", "-y", "24", "-e", inTmux+"=testdata/branch.json", "-e", "LC_ALL=C.UTF-8",
		"sh -c 'echo before; "+self+"; echo after; exec cat'")
	defer exec.Command("tmux", "-S", socket, "kill-server").Run()
	waitFor := func(text string) string {
		t.Helper()
		screen := ""
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if screen = tmux("capture-pane", "-p"); strings.Contains(screen, text) {
				return screen
			}
		}
		t.Fatalf("%q did not appear:\n%s", text, screen)
		return ""
	}
	want, err := os.ReadFile("testdata/running-80x24.golden")
	if err != nil {
		t.Fatal(err)
	}
	waitFor(string(want))
	tmux("send-keys", "?")
	waitFor("any key closes this")
	tmux("send-keys", "x", "/")
	tmux("send-keys", "-l", "log")
	tmux("send-keys", "Enter", "Enter")
	waitFor("esc back")
	tmux("resize-window", "-x", "50", "-y", "12")
	waitFor("terminal is 50x12; needs 60x16")
	tmux("send-keys", "q")
	if left := waitFor("after"); !strings.Contains(left, "before") || strings.Contains(left, "sql01") || strings.Contains(left, "needs") {
		t.Errorf("the UI left on the shell's screen:\n%s", left)
	}
}
