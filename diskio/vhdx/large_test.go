package vhdx

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"wanrep/diskio"
)

// A disk of 64 TiB is opened and listed in under 100 ms and in a few MiB, also with
// the smallest blocks, whose BAT alone has 513 MiB.
func TestLargestDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a disk of 64 TiB")
	}
	for _, s := range []Spec{
		{VirtualSize: diskio.MaxVirtualSize},
		{VirtualSize: diskio.MaxVirtualSize, BlockSize: mib},
		{VirtualSize: diskio.MaxVirtualSize, BlockSize: 2 * mib, LogicalSectorSize: 4096},
	} {
		t.Run(s.title(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.vhdx")
			ends := []int64{0, 5 << 40, diskio.MaxVirtualSize - 64*kib}
			create(t, path, s, func(w *Writer) {
				for i, off := range ends {
					put(t, w, noise(64*kib, uint64(i)), off)
				}
			})
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := time.Now()
			d, err := Open(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			var got []diskio.Extent
			for off := int64(0); ; {
				start, length, err := d.NextData(off)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got, off = append(got, diskio.Extent{Start: start, Length: length}), start+length
			}
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			t.Logf("opened and listed in %v, %d KiB allocated", took, (after.TotalAlloc-before.TotalAlloc)/kib)
			// The promise is 100 ms; a loaded machine or a system that can't tell
			// holes gets more.
			if took > 2*time.Second {
				t.Errorf("took %v", took)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 4*mib {
				t.Errorf("allocated %d bytes", n)
			}
			if len(got) != len(ends) {
				t.Fatalf("extents are %v, want one for each of %v", got, ends)
			}
			for i, off := range ends {
				p := make([]byte, 64*kib)
				if n, err := d.ReadAt(p, off); n != len(p) || err != nil || !bytes.Equal(p, noise(64*kib, uint64(i))) {
					t.Errorf("content at %d is wrong (%v)", off, err)
				}
			}
		})
	}
}

// BenchmarkRead reads a warm disk sequentially, a raw file of the same bytes beside it.
func BenchmarkRead(b *testing.B) {
	const size = 256 * mib
	dir := b.TempDir()
	content := noise(size, 1)
	raw := filepath.Join(dir, "a.raw")
	if err := os.WriteFile(raw, content, 0o644); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, "a.vhdx")
	create(b, path, Spec{VirtualSize: size}, func(w *Writer) { put(b, w, content, 0) })
	f, err := os.Open(raw)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for _, c := range []struct {
		name string
		r    io.ReaderAt
	}{{"raw", f}, {"vhdx", open(b, path, Options{})}} {
		for _, n := range []int{64 * kib, mib} {
			b.Run(c.name+map[bool]string{true: "-64KiB", false: "-1MiB"}[n == 64*kib], func(b *testing.B) {
				b.SetBytes(size)
				p := make([]byte, n)
				for b.Loop() {
					for off := int64(0); off < size; off += int64(n) {
						if _, err := c.r.ReadAt(p, off); err != nil {
							b.Fatal(err)
						}
					}
				}
			})
		}
	}
}
