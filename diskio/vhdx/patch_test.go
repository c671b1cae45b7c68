package vhdx

import (
	"bytes"
	"errors"
	"testing"

	"wanrep/diskio"
)

// TestPatch puts back what has rotted in the files of a chain, and leaves the rest alone.
func TestPatch(t *testing.T) {
	files, _, want := mergeCase(t, 4, mergeSpecs["dynamic"])
	patched := 0
	for _, name := range []string{"base", "one", "two"} {
		f := files[name]
		own := ownRuns(t, files, name)
		if len(own) == 0 {
			continue
		}
		patched++
		w, err := Patch(name, f)
		if err != nil {
			t.Fatal(err)
		}
		before := files.content(t, name)
		for _, e := range own {
			if n, err := w.WriteAt(bytes.Repeat([]byte{0xaa}, int(e.Length)), e.Start); n != int(e.Length) || err != nil {
				t.Fatalf("%s: wrote %d bytes at %d: %v", name, n, e.Start, err)
			}
		}
		if bytes.Equal(files.content(t, name), before) {
			t.Errorf("%s: nothing was written", name)
		}
		for _, e := range own {
			if _, err := w.WriteAt(before[e.Start:e.End()], e.Start); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(files.content(t, name), before) {
			t.Errorf("%s is not what it was", name)
		}
	}
	if patched < 2 || !bytes.Equal(files.content(t, "two"), want) {
		t.Errorf("%d files were patched, and the chain is not what it was", patched)
	}
}

// ownRuns returns what the named file of a chain has bytes for.
func ownRuns(t *testing.T, files memoryFiles, name string) (own []diskio.Extent) {
	t.Helper()
	l, err := openLayer(name, unowned{files[name]}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l.pages = newPages(l.src, pageSlots)
	for off := int64(0); off < l.size; {
		r, err := l.run(off, l.size-off)
		if err != nil {
			t.Fatal(err)
		}
		if r.kind == stored {
			own = append(own, diskio.Extent{Start: off, Length: r.length})
		}
		off += r.length
	}
	return own
}

// TestPatchWritesOnlyWhatIsThere has space that the file holds nothing for.
func TestPatchWritesOnlyWhatIsThere(t *testing.T) {
	f := newCrashFile()
	w, err := Create(f, Spec{VirtualSize: 4 * mib, BlockSize: mib})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteAt(make([]byte, 512), 2*mib); err != nil {
		t.Fatal(err)
	}
	if err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	p, err := Patch("disk", f)
	if err != nil {
		t.Fatal(err)
	}
	var format *diskio.FormatError
	if n, err := p.WriteAt(make([]byte, mib+512), 2*mib); n != 0 || !errors.As(err, &format) || format.Section != "BAT" {
		t.Errorf("wrote %d bytes where the file holds nothing: %v", n, err)
	}
	if n, err := p.WriteAt(make([]byte, 512), 4*mib); n != 0 || err == nil {
		t.Errorf("wrote %d bytes behind the end: %v", n, err)
	}
}
