package vhd

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"wanrep/diskio"
)

// chain makes a base and two differencing disks and returns their paths and
// contents.
func chain(t testing.TB) (paths []string, contents [][]byte) {
	t.Helper()
	paths = inDir(t, "base.vhd", "one.vhd", "two.vhd")
	base := smallDisk(t, paths[0])
	one := []write{
		{sectorSize, noise(11, sectorSize)},                // inside the parent's data
		{7*smallBlock + 20*512, noise(12, 40*sectorSize)},  // over its end
		{3 * smallBlock, noise(13, smallBlock)},            // a whole block
		{2*smallBlock + 9*sectorSize, make([]byte, 5*512)}, // zeros, as data
		{smallSize - 2*sectorSize, noise(14, sectorSize)},  // in the block that is not whole
	}
	two := []write{
		{0, make([]byte, sectorSize)}, // zeros over the base's data
		{3*smallBlock + 8*sectorSize, noise(21, 8*sectorSize)},
		{9 * smallBlock, noise(22, 17*sectorSize)},
	}
	id := childID
	makeChild(t, paths[1], child{id: id, parentID: baseID, size: smallSize, parentName: "base.vhd", relative: `.\base.vhd`, writes: one})
	makeChild(t, paths[2], child{id: diskio.ID{2}, parentID: id, size: smallSize, parentName: "one.vhd", absolute: `C:\VMs\one.vhd`, writes: two})
	c1 := apply(base, smallSize, one...)
	return paths, [][]byte{base, c1, apply(c1, smallSize, two...)}
}

func TestChain(t *testing.T) {
	paths, contents := chain(t)
	for i, path := range paths {
		img := openDisk(t, path)
		checkContent(t, img, contents[i])
		info := img.Info()
		wantParent := ""
		if i > 0 {
			wantParent = paths[i-1]
		}
		if info.Parent != wantParent || (info.Subformat == "differencing") != (i > 0) {
			t.Errorf("%s: %+v, want parent %q", path, info, wantParent)
		}
	}
}

func TestReadersDoNotDisturbEachOther(t *testing.T) {
	paths, contents := chain(t)
	img, want := openDisk(t, paths[2]), contents[2]
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(g, 0))
			p := make([]byte, 10_000)
			for range 300 {
				off := r.IntN(len(want) - len(p))
				if _, err := img.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, want[off:off+len(p)]) {
					t.Errorf("at %d: other content (%v)", off, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// 7zz reads differencing VHDs rightly; qemu ignores their parents.
func TestChainAsSevenZipReadsIt(t *testing.T) {
	seven, err := exec.LookPath("7zz")
	if err != nil {
		t.Skip("7zz is not installed")
	}
	paths, contents := chain(t)
	for i, path := range paths {
		got, err := exec.Command(seven, "x", "-tVHD", "-so", path).Output()
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if at := firstDifference(got, contents[i]); at >= 0 {
			t.Errorf("%s: 7zz reads %d bytes that differ from offset %d on", filepath.Base(path), len(got), at)
		}
	}
}

func TestChildLargerThanItsParent(t *testing.T) {
	paths := inDir(t, "base.vhd", "child.vhd")
	base := smallDisk(t, paths[0])
	size := int64(smallSize + 3*smallBlock)
	w := write{smallSize + smallBlock, noise(5, 512)}
	makeChild(t, paths[1], child{id: childID, parentID: baseID, size: size, relative: "base.vhd", writes: []write{w}})
	checkContent(t, openDisk(t, paths[1]), apply(base, size, w))
}

func TestParentIsFound(t *testing.T) {
	tests := []struct {
		name  string
		at    string // of the parent below the temporary folder; the child is in vm
		child child
		allow string
	}{
		{name: "beside", at: "vm/base.vhd", child: child{relative: `.\base.vhd`}},
		{name: "below", at: "vm/disks/base.vhd", child: child{relative: `.\disks\base.vhd`}},
		{name: "by its absolute path's last element", at: "vm/base.vhd", child: child{absolute: `D:\Hyper-V\base.vhd`}},
		{name: "by a share's last element", at: "vm/base.vhd", child: child{absolute: `\\srv\vms\base.vhd`}},
		{name: "by its name", at: "vm/base.vhd", child: child{parentName: "base.vhd"}},
		{name: "above, allowed", at: "gold/base.vhd", child: child{relative: `..\gold\base.vhd`}, allow: "gold"},
		{name: "elsewhere, allowed", at: "gold/base.vhd", child: child{absolute: `D:\base.vhd`}, allow: "gold"},
		{name: "below an allowed one", at: "gold/2024/base.vhd", child: child{relative: `..\gold\2024\base.vhd`}, allow: "gold"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			parent := filepath.Join(dir, filepath.FromSlash(tt.at))
			for _, d := range []string{filepath.Dir(parent), filepath.Join(dir, "vm")} {
				if err := os.MkdirAll(d, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			want := smallDisk(t, parent)
			tt.child.id, tt.child.parentID, tt.child.size = childID, baseID, smallSize
			path := filepath.Join(dir, "vm", "child.vhd")
			makeChild(t, path, tt.child)
			var dirs []string
			if tt.allow != "" {
				dirs = []string{filepath.Join(dir, tt.allow)}
			}
			img := openDisk(t, path, dirs...)
			checkContent(t, img, want)
			if img.Info().Parent != parent {
				t.Errorf("parent %s, want %s", img.Info().Parent, parent)
			}
		})
	}
}

func TestParentIsRefused(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string)
		child   child
		reason  string
	}{
		{name: "missing", child: child{relative: `.\gone.vhd`}, reason: "not found"},
		{name: "without a name", child: child{}, reason: "not found"},
		{name: "above", child: child{relative: `..\base.vhd`}, reason: "not found", prepare: func(t *testing.T, dir string) {
			smallDisk(t, filepath.Join(dir, "..", "base.vhd"))
		}},
		{name: "another disk", child: child{relative: "base.vhd"}, reason: "has the ID", prepare: func(t *testing.T, dir string) {
			makeDisk(t, filepath.Join(dir, "base.vhd"), Spec{VirtualSize: smallSize, DiskID: diskio.ID{9}})
		}},
		{name: "a link that leads out", child: child{relative: "base.vhd"}, reason: "escapes", prepare: func(t *testing.T, dir string) {
			outside := filepath.Join(t.TempDir(), "base.vhd")
			smallDisk(t, outside)
			if err := os.Symlink(outside, filepath.Join(dir, "base.vhd")); err != nil {
				t.Skip("no symbolic links here: ", err)
			}
		}},
		{name: "no disk at all", child: child{relative: "base.vhd"}, reason: "no footer", prepare: func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "base.vhd"), noise(1, 9000), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "a directory", child: child{relative: "base.vhd"}, reason: "not a regular file", prepare: func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "base.vhd"), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "itself", child: child{relative: "child.vhd", id: baseID}, reason: "already in it"},
		{name: "its own child", child: child{relative: "other.vhd"}, reason: "already in it", prepare: func(t *testing.T, dir string) {
			makeChild(t, filepath.Join(dir, "other.vhd"), child{id: baseID, parentID: childID, size: smallSize, relative: "child.vhd"})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "vm")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if tt.prepare != nil {
				tt.prepare(t, dir)
			}
			if tt.child.id.IsZero() {
				tt.child.id = childID
			}
			tt.child.parentID, tt.child.size = baseID, smallSize
			path := filepath.Join(dir, "child.vhd")
			makeChild(t, path, tt.child)
			img, err := Open(path, Options{})
			var missing *diskio.ParentError
			if !errors.As(err, &missing) {
				if img != nil {
					img.Close()
				}
				t.Fatalf("got %v, want a ParentError", err)
			}
			if !strings.Contains(missing.Reason, tt.reason) {
				t.Errorf("got %q, want %q", missing, tt.reason)
			}
		})
	}
}

// A parent whose ID is not set matches nothing, even a child that asks for that.
func TestZeroIDIsNobodysParent(t *testing.T) {
	paths := inDir(t, "base.vhd", "child.vhd")
	makeDisk(t, paths[0], Spec{VirtualSize: smallSize})
	makeChild(t, paths[1], child{id: childID, size: smallSize, relative: "base.vhd"})
	var missing *diskio.ParentError
	if _, err := Open(paths[1], Options{}); !errors.As(err, &missing) {
		t.Errorf("got %v, want a ParentError", err)
	}
}

func TestPlaces(t *testing.T) {
	dir := t.TempDir()
	child, gold := filepath.Join(dir, "vm"), filepath.Join(dir, "gold")
	tests := []struct {
		path string
		want string // places as directory:name, separated by spaces
	}{
		{path: `.\a.vhd`, want: "vm:a.vhd gold:a.vhd"},
		{path: `x\y\a.vhd`, want: "vm:x/y/a.vhd vm:a.vhd gold:a.vhd"},
		{path: `..\gold\a.vhd`, want: "gold:a.vhd vm:a.vhd"},
		{path: `..\..\..\etc\passwd`, want: "vm:passwd gold:passwd"},
		{path: `/etc/passwd`, want: "vm:passwd gold:passwd"},
		{path: `\\evil.example\share\a.vhd`, want: "vm:a.vhd gold:a.vhd"},
		{path: `//evil.example/share/a.vhd`, want: "vm:a.vhd gold:a.vhd"},
		{path: `\\?\C:\a.vhd`, want: "vm:a.vhd gold:a.vhd"},
		{path: `\\.\PhysicalDrive0`, want: "vm:PhysicalDrive0 gold:PhysicalDrive0"},
		{path: `C:a.vhd`, want: ""},
		{path: `a.vhd:stream`, want: ""},
		{path: `..`, want: ""},
		{path: `.`, want: ""},
		{path: `C:\`, want: ""},
		{path: filepath.Join(gold, "b", "a.vhd"), want: "gold:b/a.vhd vm:a.vhd gold:a.vhd"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			var got []string
			for _, p := range places([]string{child, gold}, []string{tt.path}) {
				got = append(got, filepath.Base(p.dir)+":"+filepath.ToSlash(p.name))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %q, want %q", s, tt.want)
			}
		})
	}
}

func TestLocatorsThatAreBroken(t *testing.T) {
	const at = footerBytes + locatorsAt
	tests := []struct {
		name   string
		damage func(h []byte) // the header
	}{
		{name: "behind the end", damage: func(h []byte) { h[locatorsAt+16] = 0x7f }},
		{name: "length of 4 GiB", damage: func(h []byte) { copy(h[locatorsAt+8:], bytes.Repeat([]byte{0xff}, 4)) }},
		{name: "odd length", damage: func(h []byte) { h[locatorsAt+11] |= 1 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			paths, _ := chain(t)
			rewrite(t, paths[1], func(b []byte) []byte {
				h := b[footerBytes : footerBytes+headerBytes]
				tt.damage(h)
				reseal(h, headerChecksum)
				return b
			})
			_, err := Open(paths[1], Options{})
			var broken *diskio.FormatError
			if !errors.As(err, &broken) || broken.Section != "parent locator" {
				t.Errorf("got %v, want a FormatError of the parent locator at %d", err, at)
			}
		})
	}
}
