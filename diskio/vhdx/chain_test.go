package vhdx

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wanrep/diskio"
)

// child makes a differencing disk over the disk whose Writer is parent.
func child(t testing.TB, path string, parent *Writer, parentPath string, s Spec, fill func(w *Writer)) *Writer {
	t.Helper()
	s.Parent = &Parent{DataWriteGUID: parent.DataWriteGUID(), RelativePath: parentPath}
	if s.LogicalSectorSize == 0 {
		s.LogicalSectorSize = int(parent.sector)
	}
	return create(t, path, s, fill)
}

// A chain of three disks reads as their layers say, here and in 7-Zip.
func TestChain(t *testing.T) {
	const size = 21 * mib
	for _, c := range []struct {
		name   string
		sector int
		blocks [3]int64
	}{
		{"equal blocks", 512, [3]int64{2 * mib, 2 * mib, 2 * mib}},
		{"small on large", 512, [3]int64{32 * mib, 4 * mib, mib}},
		{"large on small", 512, [3]int64{mib, 2 * mib, 256 * mib}},
		{"4096-byte sectors", 4096, [3]int64{2 * mib, mib, 2 * mib}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			r := rand.New(rand.NewPCG(5, uint64(c.sector)))
			model := make([]byte, size)
			fill := func(w *Writer) { scribble(t, w, model, r, 40) }
			names := []string{"base.vhdx", "one.avhdx", "two.avhdx"}
			spec := func(i int) Spec {
				return Spec{VirtualSize: size, BlockSize: c.blocks[i], LogicalSectorSize: c.sector}
			}
			w := create(t, filepath.Join(dir, names[0]), spec(0), fill)
			models := [][]byte{bytes.Clone(model)}
			for i := 1; i < 3; i++ {
				w = child(t, filepath.Join(dir, names[i]), w, `.\`+names[i-1], spec(i), fill)
				models = append(models, bytes.Clone(model))
			}
			path := filepath.Join(dir, names[2])
			d := open(t, path, Options{})
			got := readAll(t, d)
			if !bytes.Equal(got, model) {
				t.Fatal(firstDiff(got, model))
			}
			checkMap(t, d, model)
			if got, want := d.Info().Parent, filepath.Join(dir, names[1]); got != want {
				t.Errorf("parent is %s, want %s", got, want)
			}
			id, err := d.Identity()
			if err != nil || strings.Count(id, " on ") != 2 || id != diskio.Printable(id) {
				t.Errorf("identity is %q, %v", id, err)
			}
			for i, name := range names {
				checkChanged(t, d, filepath.Join(dir, name), models[i], model)
			}
			sevenZipReads(t, path, model)
		})
	}
}

// checkChanged checks that what NextChanged tells makes the disk of its ancestor, and
// that ChangedSince tells the same by the ancestor's identity.
func checkChanged(t *testing.T, d diskio.Image, ancestor string, was, is []byte) {
	t.Helper()
	checkPatch(t, d, ancestor, was, is, func(off int64) (int64, int64, error) { return d.NextChanged(ancestor, off) })
	id, err := open(t, ancestor, Options{}).Identity()
	if err != nil {
		t.Fatal(err)
	}
	next, ok := d.ChangedSince(func(identity string) bool { return identity == id })
	if ancestor != d.Files()[0] {
		if !ok {
			t.Fatalf("no ancestor is %s, that of %s", id, filepath.Base(ancestor))
		}
		checkPatch(t, d, ancestor, was, is, next)
		return
	}
	if ok {
		t.Error("the disk is its own ancestor")
	}
	if start, _, err := d.NextChanged(ancestor, 0); err != io.EOF {
		t.Errorf("the disk differs from itself at %d (%v)", start, err)
	}
}

func checkPatch(t *testing.T, d diskio.Image, ancestor string, was, is []byte, next func(off int64) (start, length int64, err error)) {
	t.Helper()
	patched := bytes.Clone(was)
	for off := int64(0); ; {
		start, length, err := next(off)
		if err == io.EOF {
			break
		}
		if err != nil || start < off || length <= 0 || start+length > d.Size() {
			t.Fatalf("next changed after %d: %d bytes at %d, %v", off, length, start, err)
		}
		copy(patched[start:start+length], is[start:])
		off = start + length
	}
	if !bytes.Equal(patched, is) {
		t.Errorf("since %s: %s", filepath.Base(ancestor), firstDiff(patched, is))
	}
}

// Behind the end of a smaller parent a child reads as zeros.
func TestChildLargerThanParent(t *testing.T) {
	dir := t.TempDir()
	base := noise(3*mib+512, 1)
	w := create(t, filepath.Join(dir, "base.vhdx"), Spec{VirtualSize: int64(len(base)), BlockSize: 2 * mib}, func(w *Writer) { put(t, w, base, 0) })
	path := filepath.Join(dir, "child.vhdx")
	child(t, path, w, "base.vhdx", Spec{VirtualSize: 9 * mib, BlockSize: mib}, func(w *Writer) { put(t, w, noise(512, 2), 8*mib) })
	want := make([]byte, 9*mib)
	copy(want, base)
	copy(want[8*mib:], noise(512, 2))
	d := open(t, path, Options{})
	if got := readAll(t, d); !bytes.Equal(got, want) {
		t.Error(firstDiff(got, want))
	}
	checkMap(t, d, want)
}

// Where a parent may be, and what is never opened.
func TestParentPaths(t *testing.T) {
	root := t.TempDir()
	vm, other := filepath.Join(root, "vm"), filepath.Join(root, "other", "deep")
	for _, d := range []string{vm, filepath.Join(vm, "sub"), other} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var parent *Writer
	for _, p := range []string{filepath.Join(vm, "base.vhdx"), filepath.Join(vm, "sub", "sub.vhdx"), filepath.Join(other, "far.vhdx"), filepath.Join(root, "outside.vhdx")} {
		if parent == nil {
			parent = create(t, p, Spec{VirtualSize: mib}, nil)
			continue
		}
		b, err := os.ReadFile(filepath.Join(vm, "base.vhdx"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"link.vhdx": "../outside.vhdx", "abs.vhdx": filepath.Join(root, "outside.vhdx")} {
		if err := os.Symlink(target, filepath.Join(vm, name)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	in := func(dirs ...string) string { return filepath.Join(append([]string{root}, dirs...)...) }
	for _, c := range []struct {
		name   string
		parent Parent
		dirs   []string
		want   string // "" is a ParentError
	}{
		{name: "relative", parent: Parent{RelativePath: `.\base.vhdx`}, want: in("vm", "base.vhdx")},
		{name: "relative, slashes", parent: Parent{RelativePath: `sub/sub.vhdx`}, want: in("vm", "sub", "sub.vhdx")},
		{name: "drive", parent: Parent{AbsolutePath: `C:\VMs\x\base.vhdx`}, want: in("vm", "base.vhdx")},
		{name: "drive, last directory", parent: Parent{AbsolutePath: `C:\VMs\sub\sub.vhdx`}, want: in("vm", "sub", "sub.vhdx")},
		{name: "long drive", parent: Parent{AbsolutePath: `\\?\C:\VMs\base.vhdx`}, want: in("vm", "base.vhdx")},
		{name: "volume", parent: Parent{VolumePath: `\\?\Volume{0e0f0e0f-0000-0000-0000-100000000000}\VMs\base.vhdx`}, want: in("vm", "base.vhdx")},
		{name: "relative is wrong, absolute is right", parent: Parent{RelativePath: `.\gone.vhdx`, AbsolutePath: `D:\base.vhdx`}, want: in("vm", "base.vhdx")},
		{name: "outside", parent: Parent{RelativePath: `..\outside.vhdx`}},
		{name: "outside, absolute", parent: Parent{AbsolutePath: in("outside.vhdx")}},
		{name: "outside, allowed", parent: Parent{RelativePath: `..\outside.vhdx`}, dirs: []string{root}, want: in("outside.vhdx")},
		{name: "other directory", parent: Parent{AbsolutePath: `E:\deep\far.vhdx`}, dirs: []string{in("other")}, want: in("other", "deep", "far.vhdx")},
		{name: "other directory, not allowed", parent: Parent{AbsolutePath: `E:\deep\far.vhdx`}},
		{name: "link that leads out", parent: Parent{RelativePath: `.\link.vhdx`}},
		{name: "absolute link that leads out", parent: Parent{RelativePath: `.\abs.vhdx`}},
		{name: "share", parent: Parent{AbsolutePath: `\\server\share\base.vhdx`}},
		{name: "long share", parent: Parent{AbsolutePath: `\\?\UNC\server\share\base.vhdx`}},
		{name: "share with slashes", parent: Parent{RelativePath: `//server/share/base.vhdx`}},
		{name: "device", parent: Parent{AbsolutePath: `\\.\PhysicalDrive0`}},
		{name: "device as relative path", parent: Parent{RelativePath: `\\.\pipe\base.vhdx`}},
		{name: "stream", parent: Parent{RelativePath: `.\base.vhdx:x`}},
		{name: "directory", parent: Parent{RelativePath: `.\sub`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.parent.DataWriteGUID = parent.DataWriteGUID()
			path := filepath.Join(vm, "child.vhdx")
			create(t, path, Spec{VirtualSize: mib, Parent: &c.parent}, nil)
			d, err := Open(path, Options{ParentDirs: c.dirs})
			if err == nil {
				defer d.Close()
			}
			var pe *diskio.ParentError
			switch {
			case c.want == "" && !errors.As(err, &pe):
				t.Errorf("got %v, want a ParentError", err)
			case c.want != "" && err != nil:
				t.Error(err)
			case c.want != "" && d.Info().Parent != c.want:
				t.Errorf("opened %s, want %s", d.Info().Parent, c.want)
			}
		})
	}
}

func TestParentRefused(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	base := create(t, at("base.vhdx"), Spec{VirtualSize: mib}, nil)
	create(t, at("big.vhdx"), Spec{VirtualSize: mib, LogicalSectorSize: 4096}, nil)
	var big *layer
	if f, err := os.Open(at("big.vhdx")); err != nil {
		t.Fatal(err)
	} else if big, err = openLayer("big.vhdx", f, Options{}); err != nil {
		t.Fatal(err)
	}
	big.file.Close()
	for _, c := range []struct {
		name   string
		parent Parent
		want   string
	}{
		{"wrong parent", Parent{DataWriteGUID: newID(), RelativePath: "base.vhdx"}, "has the data write GUID " + base.DataWriteGUID().String()},
		{"other sectors", Parent{DataWriteGUID: big.header.dataWriteGUID, RelativePath: "big.vhdx"}, "has sectors of 4096 bytes"},
		{"itself", Parent{DataWriteGUID: newID(), RelativePath: "child.vhdx"}, "own ancestor"},
		{"missing", Parent{DataWriteGUID: newID(), RelativePath: "gone.vhdx"}, "not found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			create(t, at("child.vhdx"), Spec{VirtualSize: mib, Parent: &c.parent}, nil)
			_, err := Open(at("child.vhdx"), Options{})
			var pe *diskio.ParentError
			if !errors.As(err, &pe) || !strings.Contains(pe.Reason, c.want) || pe.Wanted != c.parent.RelativePath {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A zero GUID in the locator, which Windows writes, matches no parent, not even
// one whose own GUID is zero.
func TestZeroLinkageNeverMatches(t *testing.T) {
	l := locator{values: map[string]string{
		keyLinkage:  "{00000000-0000-0000-0000-000000000000}",
		keyLinkage2: "{00000000-0000-0000-0000-000000000000}",
	}}
	if ids, err := l.linkage(); err == nil {
		t.Errorf("got %v, want an error", ids)
	}
	id := newID()
	l.values[keyLinkage2] = "{" + id.String() + "}"
	if ids, err := l.linkage(); err != nil || !slices.Equal(ids, []diskio.ID{id}) {
		t.Errorf("got %v, %v, want the second linkage", ids, err)
	}
}

// Two files that name each other are a loop, whatever their GUIDs say.
func TestParentLoop(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	a := create(t, at("a.vhdx"), Spec{VirtualSize: mib, Parent: &Parent{DataWriteGUID: newID(), RelativePath: "b.vhdx"}}, nil)
	b := child(t, at("b.vhdx"), a, "a.vhdx", Spec{VirtualSize: mib}, nil)
	// Make a the child of b without changing a's own GUID.
	f, err := os.OpenFile(at("a.vhdx"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := Create(f, Spec{VirtualSize: mib, Parent: &Parent{DataWriteGUID: b.DataWriteGUID(), RelativePath: "b.vhdx"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	w.header.dataWriteGUID = a.DataWriteGUID()
	if err := w.writeHeaders(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(at("a.vhdx"), Options{}); err == nil || !strings.Contains(err.Error(), "own ancestor") {
		t.Errorf("got %v, want that it is its own ancestor", err)
	}
}

// A chain may have maxChain files and no more.
func TestLongChain(t *testing.T) {
	dir := t.TempDir()
	name := func(i int) string { return fmt.Sprintf("%03d.vhdx", i) }
	w := create(t, filepath.Join(dir, name(0)), Spec{VirtualSize: mib, BlockSize: mib}, func(w *Writer) { put(t, w, noise(512, 1), 512) })
	for i := 1; i <= maxChain; i++ {
		w = child(t, filepath.Join(dir, name(i)), w, name(i-1), Spec{VirtualSize: mib, BlockSize: mib}, nil)
	}
	d := open(t, filepath.Join(dir, name(maxChain-1)), Options{})
	p := make([]byte, 512)
	if _, err := d.ReadAt(p, 512); err != nil || !bytes.Equal(p, noise(512, 1)) {
		t.Errorf("the deepest disk's data is not read: %v", err)
	}
	if _, err := Open(filepath.Join(dir, name(maxChain)), Options{}); err == nil || !strings.Contains(err.Error(), "more than 256 files") {
		t.Errorf("got %v, want that the chain is too long", err)
	}
}
