package vhdx

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"wanrep/diskio"
)

// A blob is a Source over bytes in memory.
type blob struct{ *bytes.Reader }

func (b blob) Close() error               { return nil }
func (b blob) Stat() (fs.FileInfo, error) { return crashInfo{size: b.Size()}, nil }

// blobs is a directory of blobs.
type blobs map[string][]byte

func (b blobs) Open(name string) (Source, error) {
	if p, ok := b[name]; ok {
		return blob{bytes.NewReader(p)}, nil
	}
	return nil, fs.ErrNotExist
}

// tryRead opens the file "a" and walks through some of it. Errors are welcome;
// those of the format must be FormatErrors.
func tryRead(t testing.TB, files blobs) {
	t.Helper()
	d, err := OpenFiles(files, "a", Options{})
	if err != nil {
		var fe *diskio.FormatError
		var pe *diskio.ParentError
		if !errors.As(err, &fe) && !errors.As(err, &pe) {
			t.Fatalf("error %T: %v", err, err)
		}
		if fe != nil && (fe.Section == "" || fe.Path == "" || fe.Reason == "") {
			t.Fatalf("FormatError without facts: %+v", fe)
		}
		return
	}
	defer d.Close()
	p := make([]byte, 64*kib)
	off := int64(0)
	for range 64 {
		m, err := d.Map(off)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				return
			}
			break
		}
		if m.Start != off || m.Length <= 0 || m.End() > d.Size() {
			t.Fatalf("mapping %+v at %d of a disk of %d", m, off, d.Size())
		}
		if m.Kind == diskio.Data {
			if _, err := d.ReadAt(p[:min(m.Length, int64(len(p)))], off); err != nil {
				t.Fatalf("read at %d: %v", off, err)
			}
		}
		off = m.End()
	}
	if _, _, err := d.NextData(0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if _, err := d.Identity(); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
}

// smallFiles are a differencing disk "a" with a pending log over a dynamic disk "p".
func smallFiles(t testing.TB) blobs {
	t.Helper()
	base := newCrashFile()
	w, err := Create(base, Spec{VirtualSize: 4 * mib, BlockSize: mib})
	if err != nil {
		t.Fatal(err)
	}
	put(t, w, noise(64*kib, 1), mib)
	if err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	f := newCrashFile()
	c, err := Create(f, Spec{VirtualSize: 4 * mib, BlockSize: mib, Parent: &Parent{DataWriteGUID: w.DataWriteGUID(), RelativePath: `.\p`, AbsolutePath: `C:\x\p`}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, noise(64*kib, 2), 0)
	put(t, c, noise(mib, 3), 2*mib)
	c.header.logGUID = newID()
	if err := c.Seal(); err != nil {
		t.Fatal(err)
	}
	e := logged{sequence: 3, guid: c.header.logGUID, flushed: f.now.size, last: f.now.size, ops: []logOp{
		{off: c.batOffset + 4096, zero: 4096}, {off: c.next - mib, data: noise(4096, 4)},
	}}
	if _, err := f.WriteAt(e.bytes(), createdLogOffset); err != nil {
		t.Fatal(err)
	}
	return blobs{"a": f.bytes(), "p": base.bytes()}
}

func (f *crashFile) bytes() []byte {
	p := make([]byte, f.now.size)
	f.ReadAt(p, 0)
	return p
}

// mend puts the checksums of headers, region tables and log entries right, so that
// what a test changed gets past them.
func mend(b []byte) {
	fix := func(off, n int64) {
		if off >= 0 && n >= 8 && off <= int64(len(b))-n {
			le.PutUint32(b[off+4:], checksum(b[off:off+n]))
		}
	}
	fix(headerOffsets[0], headerBytes)
	fix(headerOffsets[1], headerBytes)
	fix(regionTable1, regionTableBytes)
	fix(regionTable2, regionTableBytes)
	for off := int64(createdLogOffset); off < createdLogOffset+createdLogBytes && off+16 < int64(len(b)); off += logSectorBytes {
		if string(b[off:off+4]) == "loge" {
			fix(off, int64(le.Uint32(b[off+8:])))
		}
	}
}

// FuzzOpen changes bytes of a whole file: each change is five bytes, an offset in
// units of one byte from one of the file's structures and a value.
func FuzzOpen(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1}, true)
	f.Add([]byte{1, 0, 0, 8, 255, 3, 0, 0, 6, 7}, true)
	f.Add([]byte{4, 0, 0, 0, 7, 4, 0, 0, 8, 6}, true)
	f.Add([]byte{5, 0, 0, 24, 200}, true)
	f.Add([]byte{2, 0, 0, 16, 1}, false)
	files := smallFiles(f)
	structures := []int64{0, headerOffsets[1], regionTable1, metaAt, batAt, createdLogOffset, metaAt + metaTableBytes, blockAt}
	f.Fuzz(func(t *testing.T, changes []byte, mended bool) {
		b := bytes.Clone(files["a"])
		for ; len(changes) >= 5; changes = changes[5:] {
			off := structures[int(changes[0])%len(structures)] + int64(changes[1])<<16 + int64(changes[2])<<8 + int64(changes[3])
			if off < int64(len(b)) {
				b[off] = changes[4]
			}
		}
		if mended {
			mend(b)
		}
		tryRead(t, blobs{"a": b, "p": files["p"]})
	})
}

func FuzzHeader(f *testing.F) {
	f.Add(header{sequence: 1, version: 1, logLength: mib, logOffset: mib}.encode())
	f.Add(header{sequence: 1<<64 - 1, version: 1, logLength: 1<<32 - mib, logOffset: 1<<64 - mib, logGUID: newID()}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append(b, make([]byte, headerBytes)...)[:headerBytes]
		le.PutUint32(b[4:], checksum(b))
		h, err := parseHeader(b, 0)
		if err != nil {
			return
		}
		if err := h.check(0, 100*mib); err == nil && (h.logOffset+uint64(h.logLength) > 100*mib || h.version != 1) {
			t.Fatalf("accepted %+v", h)
		}
	})
}

func FuzzMetadata(f *testing.F) {
	s := Spec{VirtualSize: 8 * mib, Incomplete: true, Parent: &Parent{DataWriteGUID: newID(), RelativePath: `.\p`}}.withDefaults()
	f.Add(encodeMetadata(s.values())[:512], encodeMetadata(s.values())[metaTableBytes:])
	s.Parent, s.LogicalSectorSize, s.VirtualSize = nil, 4096, diskio.MaxVirtualSize
	f.Add(encodeMetadata(s.values())[:512], encodeMetadata(s.values())[metaTableBytes:])
	f.Fuzz(func(t *testing.T, table, items []byte) {
		b := make([]byte, mib)
		copy(b, table[:min(len(table), metaTableBytes)])
		copy(b[metaTableBytes:], items)
		reg := region{id: regionMetadata, length: mib}
		m, err := readMetadata(bytes.NewReader(b), reg, strict)
		if err == nil {
			if _, err = m.geometry(region{length: 512 * mib}); err == nil && m.virtualSize > diskio.MaxVirtualSize {
				t.Fatalf("accepted %+v", m)
			}
		}
		n := 0
		_, _ = readMetadata(bytes.NewReader(b), reg, func(error) error { n++; return nil })
		if err == nil && n > 0 {
			t.Fatalf("%d findings in what strict reading accepts", n)
		}
	})
}

func FuzzLocator(f *testing.F) {
	f.Add(encodeLocator([][2]string{{keyLinkage, "{83ed0ec3-24c8-49a6-a959-5e4bd1288481}"}, {keyRelative, `..\x\p.vhdx`}}))
	f.Add(encodeLocator([][2]string{{keyAbsolute, `\\server\share\p.vhdx`}, {keyVolume, `\\?\Volume{0e}\..\p`}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseLocator(b, 0)
		if err != nil {
			return
		}
		_, _ = l.linkage()
		for _, v := range l.values {
			for _, n := range (below{}).tries("dir/a", v) {
				if !fs.ValidPath(n) {
					t.Fatalf("%q leads to %q", v, n)
				}
			}
			for _, n := range (directories{"/srv/vm"}).tries("/srv/vm/a", v) {
				if _, _, ok := (directories{"/srv/vm"}).within(n); !ok {
					t.Fatalf("%q leads to %q", v, n)
				}
			}
		}
	})
}

func FuzzLog(f *testing.F) {
	id := diskio.ID{1}
	f.Add(logged{sequence: 1, guid: id, ops: []logOp{{off: 4 * mib, data: sector(1)}, {off: 5 * mib, zero: mib}}}.bytes())
	f.Add(append(logged{sequence: 1, guid: id}.bytes(), logged{sequence: 2, tail: 4096, guid: id, ops: []logOp{{off: 192 * kib, zero: 4096}}}.bytes()...))
	f.Fuzz(func(t *testing.T, ring []byte) {
		b := make([]byte, 4*mib)
		copy(b[createdLogOffset:createdLogOffset+createdLogBytes], ring)
		mend(b)
		h := header{version: 1, logGUID: id, logOffset: createdLogOffset, logLength: createdLogBytes}
		r, length, _, err := replay(bytes.NewReader(b), int64(len(b)), h, false)
		if err != nil {
			return
		}
		p := make([]byte, 64*kib)
		for _, off := range []int64{0, regionTable1, 4*mib - 100, length - int64(len(p))} {
			if off >= 0 && off+int64(len(p)) <= length {
				if _, err := r.ReadAt(p, off); err != nil {
					t.Fatalf("read at %d of %d: %v", off, length, err)
				}
			}
		}
	})
}

func FuzzBAT(f *testing.F) {
	f.Add(le.AppendUint64(nil, uint64(makeEntry(blockFull, blockAt))), false)
	f.Add(le.AppendUint64(le.AppendUint64(nil, uint64(makeEntry(blockPartial, blockAt))), uint64(makeEntry(blockUnmapped, blockAt))), true)
	files := smallFiles(f)
	f.Fuzz(func(t *testing.T, entries []byte, parent bool) {
		name := "p"
		if parent {
			name = "a"
		}
		b := bytes.Clone(files[name])
		copy(b[batAt:batAt+mib], entries)
		tryRead(t, blobs{"a": b, "p": files["p"]})
	})
}

// Real images with random damage in their structures, checksums put right again:
// content or a clear error, no panic, no hang.
func TestMutatedCorpus(t *testing.T) {
	dir, images := corpus(t)
	for _, im := range images {
		path := unpack(t, dir, im)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// The structures are in front; the rest is content.
		areas := []int64{0, headerOffsets[0], headerOffsets[1], regionTable1, regionTable2, 1 * mib, 2 * mib, 2*mib + metaTableBytes, 3 * mib}
		r := rand.New(rand.NewPCG(11, uint64(len(whole))))
		start := time.Now()
		for range 150 {
			var undo []func()
			poke := func(off int64, p []byte) {
				if off+int64(len(p)) > int64(len(whole)) {
					return
				}
				old := bytes.Clone(whole[off : off+int64(len(p))])
				undo = append(undo, func() { copy(whole[off:], old) })
				copy(whole[off:], p)
			}
			for range 1 + r.IntN(3) {
				off := areas[r.IntN(len(areas))] + int64(r.IntN(1<<(3+r.IntN(10))))
				switch r.IntN(4) {
				case 0:
					poke(off, []byte{byte(r.Uint32())})
				case 1:
					poke(off&^7, le.AppendUint64(nil, r.Uint64()>>r.IntN(64)))
				case 2:
					poke(off&^7, bytes.Repeat([]byte{0xff}, 8))
				case 3:
					poke(off&^31, make([]byte, 32))
				}
			}
			front := bytes.Clone(whole[:min(len(whole), 4*mib)])
			if r.IntN(4) > 0 {
				mend(whole)
			}
			cut := whole
			if r.IntN(10) == 0 {
				cut = whole[:r.IntN(len(whole))]
			}
			tryRead(t, blobs{"a": cut})
			copy(whole, front)
			for i := len(undo) - 1; i >= 0; i-- {
				undo[i]()
			}
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s: took %v", im.name, took)
		}
	}
}
