package vhd

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"wanrep/diskio"
)

// FuzzOpen opens whatever there is. What opens can be walked and read to its end.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	for _, s := range []Spec{
		{VirtualSize: 1 << 20, BlockSize: minBlockBytes},
		{VirtualSize: 3*minBlockBytes - sectorSize, BlockSize: minBlockBytes},
		{VirtualSize: 64 << 10, Fixed: true},
	} {
		path := filepath.Join(dir, "seed.vhd")
		file, err := os.Create(path)
		if err != nil {
			f.Fatal(err)
		}
		w, err := Create(file, s)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := w.WriteAt([]byte("content"), 1024); err != nil {
			f.Fatal(err)
		}
		if err := w.Seal(); err != nil {
			f.Fatal(err)
		}
		file.Close()
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		// The structures are what matters, and a small input is mutated faster.
		f.Add(append(b[:min(len(b), 4096)], b[len(b)-footerBytes:]...))
		f.Add(b[:min(len(b), 4096)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "disk.vhd")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		img, err := Open(path, Options{})
		if err != nil {
			return
		}
		defer img.Close()
		if size := img.Size(); size <= 0 || size > diskio.MaxVirtualSize {
			t.Fatalf("opened with %d bytes", size)
		}
		off := int64(0)
		for n := 0; n < 1000; n++ {
			m, err := img.Map(off)
			if err == io.EOF {
				break
			}
			if err != nil {
				return
			}
			if m.Start != off || m.Length <= 0 || m.End() > img.Size() {
				t.Fatalf("mapping %+v at %d of %d", m, off, img.Size())
			}
			off = m.End()
		}
		buffer := make([]byte, 4096)
		img.ReadAt(buffer, 0)
		img.ReadAt(buffer, img.Size()-1)
	})
}
