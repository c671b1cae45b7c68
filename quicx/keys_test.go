package quicx

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The key of stateless resets outlives the target, readable by its owner only, and is
// all that is kept: whoever had the ticket keys could pose as any source.
func TestOnlyTheResetKeyIsKept(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		src := testIdentity(t, "branch-lyon")
		var keys []string
		for range 2 {
			l := w.target(src)
			echo(l)
			cfg := w.sourceConfig(src, 1)
			cfg.TicketDir = t.TempDir()
			e := w.endpoint(cfg)
			attachOnce(t, e, w.peer())
			e.Close()
			l.Close()
			files, err := os.ReadDir(w.stateDir)
			if err != nil || len(files) != 1 || files[0].Name() != resetKeyFile {
				t.Fatalf("the target keeps %v, %v", files, err)
			}
			if info, err := files[0].Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("its mode is %v, %v", info.Mode(), err)
			}
			key, err := os.ReadFile(filepath.Join(w.stateDir, resetKeyFile))
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, string(key))
		}
		if keys[0] != keys[1] {
			t.Error("the restarted target has another key")
		}
	})
}

func TestDamagedResetKeyIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, resetKeyFile), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadResetKey(dir); err == nil {
		t.Error("a key of five bytes was taken")
	}
}

// Ticket keys change each day and are kept for as long as a ticket may live.
func TestTicketKeysRotate(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		k := newTicketKeys(serverTLS(w.identity, nil))
		first := k.keys[0]
		for day := range ticketKeysKept + 1 {
			if kept := k.keys[len(k.keys)-1] == first; kept != (day < ticketKeysKept) || len(k.keys) > ticketKeysKept {
				t.Errorf("day %d: %d keys, the first is there: %v", day, len(k.keys), kept)
			}
			k.renew() // not due yet
			time.Sleep(ticketKeyLife)
			k.renew()
		}
		k.replace()
		if len(k.keys) != 1 {
			t.Errorf("%d keys after all were replaced", len(k.keys))
		}
	})
}
