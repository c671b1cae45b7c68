package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestReadingTellsOncePerSecond, in one line that can be taken away.
func TestReadingTellsOncePerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		r := &reading{out: &out, every: time.Second}
		for at := range int64(25) {
			r.tell("sql01/os\x1b.vhdx", at<<20, 25<<20)
			time.Sleep(100 * time.Millisecond)
		}
		r.clear()
		r.clear()
		const want = "\rsql01/os�.vhdx: 0 B of 25 MiB\x1b[K\rsql01/os�.vhdx: 10 MiB of 25 MiB\x1b[K\rsql01/os�.vhdx: 20 MiB of 25 MiB\x1b[K\r\x1b[K"
		if out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
	})
}

// TestReadingIsForTerminals: a log is not filled with it.
func TestReadingIsForTerminals(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := newReading(f)
	r.tell("os", 0, 1)
	r.clear()
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("a file got %d bytes: %v", info.Size(), err)
	}
}
