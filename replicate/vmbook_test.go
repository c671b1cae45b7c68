package replicate

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"wanrep/diskio/durable"
)

func TestVMBookIsRead(t *testing.T) {
	path := t.TempDir()
	dir, err := durable.OS(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	quiet := slog.New(slog.DiscardHandler)
	sql, web := vmKey{"branch", "sql01"}, vmKey{"branch", "web"}

	b := openVMBook(dir, quiet)
	first := b.heard(sql, time.Hour)
	b.heard(web, 0)
	if again := b.heard(sql, 2*time.Hour); again.RPO != 7200 || !again.Since.Equal(first.Since) {
		t.Errorf("a new RPO: %+v, want 7200 s, known since %v", again, first.Since)
	}

	b = openVMBook(dir, quiet)
	b.keepOnly(func(k vmKey) bool { return k == sql })
	got := map[vmKey]vmEntry{}
	b.each(func(k vmKey, e vmEntry) { got[k] = e })
	if e := got[sql]; len(got) != 1 || e.RPO != 7200 || !e.Since.Equal(first.Since) {
		t.Errorf("after a restart: %+v", got)
	}

	known, err := KnownVMs(dir)
	if err != nil || len(known) == 0 || known[0].Source != "branch" {
		t.Errorf("while the target does not run: %+v, %v", known, err)
	}

	// A book that is broken is begun anew.
	if err := os.WriteFile(filepath.Join(path, vmBookFile), []byte(`{"schema":"wanrep.vms/9"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := KnownVMs(dir); err == nil {
		t.Error("a broken book is read")
	}
	b = openVMBook(dir, quiet)
	b.heard(sql, time.Minute)
	if b = openVMBook(dir, quiet); b.vms[sql].RPO != 60 {
		t.Errorf("a book written over a broken one has %+v", b.vms)
	}
}
