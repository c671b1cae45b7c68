package configs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestUnit lets systemd look at the service that is shipped.
func TestUnit(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here")
	}
	text, err := os.ReadFile(filepath.Join("systemd", "wanrep.service"))
	if err != nil {
		t.Fatal(err)
	}
	// It looks whether the program is there.
	text = regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAll(text, []byte("ExecStart=/bin/true"))
	unit := filepath.Join(t.TempDir(), "wanrep.service")
	if err := os.WriteFile(unit, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"verify", "--man=no", unit},
		// 2 of 10 and below is what systemd calls OK.
		{"security", "--offline=true", "--no-pager", "--threshold=20", unit},
	} {
		if out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze %v: %v\n%s", args, err, out)
		}
	}
}
