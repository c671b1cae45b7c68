package vhd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"wanrep/diskio"

	"pgregory.net/rapid"
)

func TestWriterIsReadBack(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		size := int64(rapid.IntRange(1, 3*smallBlock/sectorSize+2).Draw(rt, "sectors")) * sectorSize
		s := Spec{VirtualSize: size, BlockSize: smallBlock, DiskID: baseID, Fixed: rapid.Bool().Draw(rt, "fixed")}
		var writes []write
		for i := range rapid.IntRange(0, 5).Draw(rt, "writes") {
			off := rapid.Int64Range(0, size-1).Draw(rt, "offset")
			n := rapid.Int64Range(1, min(size-off, smallBlock+100)).Draw(rt, "length")
			writes = append(writes, write{off, noise(uint64(i), int(n))})
		}
		path := filepath.Join(dir, "disk.vhd")
		makeDisk(t, path, s, writes...)
		img, err := Open(path, Options{})
		if err != nil {
			rt.Fatal(err)
		}
		defer img.Close()
		checkContent(t, img, apply(nil, size, writes...))
	})
}

func TestGeometry(t *testing.T) {
	tests := []struct {
		name string
		size int64
		want geometry
	}{
		{name: "one sector", size: 512, want: geometry{0, 4, 17}},
		{name: "qemu's 4 MiB", size: 4212736, want: geometry{121, 4, 17}},
		{name: "Windows' 10 MiB", size: 10485760, want: geometry{301, 4, 17}},
		{name: "Hyper-V's 127 GiB", size: 136365211648, want: geometry{65278, 16, 255}},
		{name: "2040 GiB", size: MaxVirtualSize, want: geometry{65535, 16, 255}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := geometryOf(tt.size / sectorSize)
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
			if got.bytes() > tt.size {
				t.Errorf("the geometry says %d bytes, more than %d", got.bytes(), tt.size)
			}
		})
	}
}

func TestFooterIsFound(t *testing.T) {
	tests := []struct {
		name   string
		damage func(b []byte) []byte
	}{
		{name: "where it belongs", damage: func(b []byte) []byte { return b }},
		{name: "of 511 bytes", damage: func(b []byte) []byte { return b[:len(b)-1] }},
		{name: "lost", damage: func(b []byte) []byte { return b[:len(b)-footerBytes] }},
		{name: "half overwritten", damage: func(b []byte) []byte { clear(b[len(b)-200:]); b[len(b)-450] ^= 1; return b }},
		{name: "copy lost", damage: func(b []byte) []byte { clear(b[:footerBytes]); return b }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := inDir(t, "disk.vhd")[0]
			want := smallDisk(t, path)
			rewrite(t, path, tt.damage)
			checkContent(t, openDisk(t, path), want)
		})
	}
	t.Run("of 511 bytes, fixed", func(t *testing.T) {
		path := inDir(t, "disk.vhd")[0]
		data := noise(1, 4096)
		makeDisk(t, path, Spec{VirtualSize: 4096, Fixed: true}, write{0, data})
		rewrite(t, path, func(b []byte) []byte { return b[:len(b)-1] })
		checkContent(t, openDisk(t, path), data)
	})
}

func rewrite(t testing.TB, path string, f func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The size in the footer is believed, whoever wrote it and whatever geometry is
// beside it.
func TestSizeIsNotTheGeometry(t *testing.T) {
	for _, creator := range []string{"vpc ", "qemu", "d2v\x00", "win ", "tap\x00"} {
		for _, g := range []geometry{{65535, 16, 255}, {1, 4, 17}} {
			path := inDir(t, "disk.vhd")[0]
			want := smallDisk(t, path)
			rewrite(t, path, func(b []byte) []byte {
				for _, f := range [][]byte{b[:footerBytes], b[len(b)-footerBytes:]} {
					copy(f[28:], creator)
					binary.BigEndian.PutUint16(f[56:], g.cylinders)
					f[58], f[59] = g.heads, g.sectors
					reseal(f, footerChecksum)
				}
				return b
			})
			checkContent(t, openDisk(t, path), want)
		}
	}
}

func reseal(b []byte, at int) { binary.BigEndian.PutUint32(b[at:], checksum(b, at)) }

func TestBrokenDisksAreRefused(t *testing.T) {
	const (
		header = footerBytes
		table  = footerBytes + headerBytes
	)
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte {
			binary.BigEndian.PutUint32(b[at:], v)
			if at < table {
				reseal(b[header:table], headerChecksum)
			}
			return b
		}
	}
	tests := []struct {
		name    string
		section string
		offset  int64
		reason  string
		damage  func(b []byte) []byte
	}{
		{name: "empty", section: "footer", reason: "no footer", damage: func([]byte) []byte { return nil }},
		{name: "a piece of a footer", section: "footer", reason: "no footer", damage: func(b []byte) []byte { return b[:300] }},
		{name: "only the copy, no header", section: "dynamic disk header", offset: header, reason: "end of the file", damage: func(b []byte) []byte { return b[:footerBytes] }},
		{name: "both checksums", section: "footer", reason: "checksum", offset: -1, damage: func(b []byte) []byte { b[60] ^= 1; b[len(b)-footerBytes+60] ^= 1; return b }},
		{name: "header cookie", section: "dynamic disk header", offset: header, reason: "cxsparse", damage: func(b []byte) []byte { b[header] = 'x'; return b }},
		{name: "header checksum", section: "dynamic disk header", offset: header + headerChecksum, reason: "checksum", damage: func(b []byte) []byte { b[header+100] = 1; return b }},
		{name: "header version", section: "dynamic disk header", offset: header + 24, reason: "version", damage: put32(header+24, 0x20000)},
		{name: "block size 0", section: "dynamic disk header", offset: header + 32, reason: "0 bytes", damage: put32(header+32, 0)},
		{name: "block size 3", section: "dynamic disk header", offset: header + 32, reason: "power of two", damage: put32(header+32, 3*512)},
		{name: "block size 2 GiB", section: "dynamic disk header", offset: header + 32, reason: "256 MiB", damage: put32(header+32, 1<<31)},
		{name: "too few entries", section: "dynamic disk header", offset: header + 28, reason: "table entries", damage: put32(header+28, 10)},
		{name: "table far away", section: "dynamic disk header", offset: header + 16, reason: "end of the file", damage: put32(header+16, 0x7fffffff)},
		{name: "table at the end", section: "dynamic disk header", offset: header + 16, reason: "end of the file", damage: func(b []byte) []byte { return put32(header+20, uint32(len(b)-8))(b) }},
		{name: "block behind the end", section: "block allocation table", offset: table + 2*4, reason: "reaches behind", damage: put32(table+2*4, 0x1000000)},
		{name: "block in the footer", section: "block allocation table", offset: table + 2*4, reason: "reaches behind", damage: func(b []byte) []byte { return put32(table+2*4, uint32(len(b)/512-3))(b) }},
		{name: "block over the header", section: "block allocation table", offset: table + 2*4, reason: "shares space with the dynamic disk header", damage: put32(table+2*4, 1)},
		{name: "block over the table", section: "block allocation table", offset: table + 2*4, reason: "shares space with the block allocation table", damage: put32(table+2*4, 3)},
		{name: "block over the copy", section: "block allocation table", offset: table + 2*4, reason: "shares space with the copy", damage: put32(table+2*4, 0)},
		{name: "two blocks in one place", section: "block allocation table", offset: table + 2*4, reason: "shares space with the one before", damage: put32(table+2*4, 4)},
		{name: "blocks that overlap", section: "block allocation table", offset: table + 2*4, reason: "shares space with the one before", damage: put32(table+2*4, 500)},
		{name: "cut in the middle", section: "block allocation table", offset: -1, reason: "reaches behind", damage: func(b []byte) []byte { return b[:len(b)/2] }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := inDir(t, "disk.vhd")[0]
			smallDisk(t, path)
			rewrite(t, path, tt.damage)
			img, err := Open(path, Options{})
			var broken *diskio.FormatError
			if !errors.As(err, &broken) {
				if img != nil {
					img.Close()
				}
				t.Fatalf("got %v, want a FormatError", err)
			}
			if broken.Path != path || broken.Section != tt.section || !strings.Contains(broken.Reason, tt.reason) {
				t.Errorf("got %q, want section %q, reason %q", broken, tt.section, tt.reason)
			}
			if tt.offset >= 0 && broken.Offset != tt.offset {
				t.Errorf("%v: at offset %d, want %d", broken, broken.Offset, tt.offset)
			}
		})
	}
}

func TestBrokenFootersAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		reason string
		damage func(f []byte)
	}{
		{name: "type", reason: "type 7", damage: func(f []byte) { f[63] = 7 }},
		{name: "version", reason: "version", damage: func(f []byte) { f[13] = 2 }},
		{name: "size 0", reason: "0 bytes", damage: func(f []byte) { clear(f[48:56]) }},
		{name: "size of no whole sectors", reason: "whole sectors", damage: func(f []byte) { f[55] = 1 }},
		{name: "size of 2^60", reason: "at most", damage: func(f []byte) { f[48] = 0x10 }},
		{name: "size larger than the file", reason: "a fixed disk", damage: func(f []byte) { f[53] = 0x10 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := inDir(t, "disk.vhd")[0]
			makeDisk(t, path, Spec{VirtualSize: 8192, Fixed: true}, write{0, noise(1, 8192)})
			rewrite(t, path, func(b []byte) []byte {
				f := b[len(b)-footerBytes:]
				tt.damage(f)
				reseal(f, footerChecksum)
				return b
			})
			_, err := Open(path, Options{})
			var broken *diskio.FormatError
			if !errors.As(err, &broken) || !strings.Contains(broken.Reason, tt.reason) {
				t.Errorf("got %v, want a FormatError with %q", err, tt.reason)
			}
		})
	}
}

// A disk of the largest size costs little to open and to map, wherever its data
// is.
func TestLargestDisk(t *testing.T) {
	path := inDir(t, "large.vhd")[0]
	const size = MaxVirtualSize
	writes := []write{{0, noise(1, 512)}, {size / 2, noise(2, 512)}, {size - 512, noise(3, 512)}}
	makeDisk(t, path, Spec{VirtualSize: size}, writes...)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	img := openDisk(t, path)
	var off, data int64
	for {
		start, length, err := img.NextData(off)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		off, data = start+length, data+length
	}
	took := time.Since(began)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if data != 3*defaultBlockBytes {
		t.Errorf("%d bytes of data, want 3 blocks", data)
	}
	if took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > mib {
		t.Errorf("it keeps %d bytes of memory", grown)
	}
	for _, w := range writes {
		p := make([]byte, 512)
		if _, err := img.ReadAt(p, w.off); err != nil || string(p) != string(w.data) {
			t.Errorf("at %d: other content (%v)", w.off, err)
		}
	}
}

func TestCheckNoticesAWriter(t *testing.T) {
	for _, what := range []string{"", "size", "modification time", "footer"} {
		t.Run(what, func(t *testing.T) {
			paths := inDir(t, "base.vhd", "child.vhd")
			smallDisk(t, paths[0])
			makeChild(t, paths[1], child{id: childID, parentID: baseID, size: smallSize, relative: `.\base.vhd`})
			img := openDisk(t, paths[1])
			before, err := img.Identity()
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(paths[0])
			if err != nil {
				t.Fatal(err)
			}
			switch what {
			case "size":
				rewrite(t, paths[0], func(b []byte) []byte { return append(b, 0) })
			case "modification time":
				err = os.Chtimes(paths[0], time.Time{}, info.ModTime().Add(time.Second))
			case "footer":
				rewrite(t, paths[0], func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
				err = os.Chtimes(paths[0], time.Time{}, info.ModTime())
			}
			if err != nil {
				t.Fatal(err)
			}
			after, err := img.Identity()
			if err != nil {
				t.Fatal(err)
			}
			if (before != after) != (what != "") {
				t.Errorf("identity before %q, after %q", before, after)
			}
			err = img.Check()
			var changed *diskio.ChangedError
			if what == "" {
				if err != nil {
					t.Errorf("got %v, want nil", err)
				}
			} else if !errors.As(err, &changed) || changed.What != what || changed.Path != paths[0] {
				t.Errorf("got %v, want a change of the %s of the parent", err, what)
			}
		})
	}
}

func TestCreateRefuses(t *testing.T) {
	for _, s := range []Spec{
		{VirtualSize: 0}, {VirtualSize: -512}, {VirtualSize: 513}, {VirtualSize: MaxVirtualSize + 512},
		{VirtualSize: 512, BlockSize: 1 << 12}, {VirtualSize: 512, BlockSize: 3 << 20}, {VirtualSize: 512, BlockSize: 512 << 20},
	} {
		t.Run(fmt.Sprint(s.VirtualSize, s.BlockSize), func(t *testing.T) {
			if _, err := Create(nil, s); err == nil {
				t.Error("it is made")
			}
		})
	}
}
