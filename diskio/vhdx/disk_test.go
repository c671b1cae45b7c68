package vhdx

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"wanrep/diskio"
)

// Many goroutines read one chain at once; run with -race.
func TestConcurrentReads(t *testing.T) {
	dir := t.TempDir()
	model := noise(24*mib, 1)
	base := create(t, filepath.Join(dir, "base.vhdx"), Spec{VirtualSize: 24 * mib}, func(w *Writer) { put(t, w, model, 0) })
	path := filepath.Join(dir, "child.vhdx")
	child(t, path, base, "base.vhdx", Spec{VirtualSize: 24 * mib, BlockSize: mib}, func(w *Writer) {
		for off := int64(0); off < 24*mib; off += 3 * mib {
			p := noise(512, uint64(off))
			put(t, w, p, off)
			copy(model[off:], p)
		}
	})
	d := open(t, path, Options{})
	var wg sync.WaitGroup
	for g := range int64(6) {
		wg.Go(func() {
			p := make([]byte, 300*kib)
			for off := g * mib; off+int64(len(p)) <= d.Size(); off += 700 * kib {
				if _, err := d.ReadAt(p, off); err != nil || !bytes.Equal(p, model[off:off+int64(len(p))]) {
					t.Errorf("at %d: %v", off, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestReadAtTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.vhdx")
	create(t, path, Spec{VirtualSize: 1024}, func(w *Writer) { put(t, w, noise(1024, 1), 0) })
	d := open(t, path, Options{})
	p := make([]byte, 1000)
	if n, err := d.ReadAt(p, 512); n != 512 || err != io.EOF || !bytes.Equal(p[:n], noise(1024, 1)[512:]) {
		t.Errorf("read %d bytes, %v, want 512 and EOF", n, err)
	}
	if n, err := d.ReadAt(p, 1024); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v, want none and EOF", n, err)
	}
	if _, err := d.ReadAt(p, -1); err == nil {
		t.Error("a negative offset is read")
	}
}

// A disk that is written to while it is open is noticed, and its identity differs.
func TestChanged(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(t *testing.T, p *patient, path string)
	}{
		{"data write GUID", func(_ *testing.T, p *patient, _ string) { p.headers(func(h *header) { h.dataWriteGUID = newID() }) }},
		{"file write GUID", func(_ *testing.T, p *patient, _ string) { p.headers(func(h *header) { h.fileWriteGUID = newID() }) }},
		{"size", func(t *testing.T, p *patient, _ string) {
			if err := p.f.Truncate(64 * mib); err != nil {
				t.Fatal(err)
			}
		}},
		{"modification time", func(t *testing.T, _ *patient, path string) {
			when := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
			if err := os.Chtimes(path, when, when); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(c.what, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.vhdx")
			create(t, path, Spec{VirtualSize: mib}, nil)
			d := open(t, path, Options{})
			was, err := d.Identity()
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Check(); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c.change(t, &patient{t: t, f: f}, path)
			var ce *diskio.ChangedError
			if err := d.Check(); !errors.As(err, &ce) || ce.What != c.what {
				t.Errorf("got %v, want that the %s changed", err, c.what)
			}
			if now, err := d.Identity(); err != nil || now == was {
				t.Errorf("the identity is still %s (%v)", now, err)
			}
		})
	}
}
