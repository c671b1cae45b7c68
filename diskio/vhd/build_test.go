package vhd

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf16"

	"wanrep/diskio"
)

const (
	mib = 1 << 20
	// A small disk with a last block that is not whole.
	smallSize  = 5*mib + 3*sectorSize
	smallBlock = 512 << 10
)

var (
	baseID  = diskio.ID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	childID = diskio.ID{0xc1, 0, 0, 1}
)

// noise returns n random bytes that depend on seed alone.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(b)
	return b
}

// A write is one run of content.
type write struct {
	off  int64
	data []byte
}

// makeDisk writes a disk with Writer.
func makeDisk(t testing.TB, path string, s Spec, writes ...write) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := Create(f, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range writes {
		if _, err := w.WriteAt(run.data, run.off); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Seal(); err != nil {
		t.Fatal(err)
	}
}

// A child describes a differencing disk; the package itself writes none.
type child struct {
	id, parentID diskio.ID
	size         int64
	parentName   string
	relative     string // W2ru
	absolute     string // W2ku
	writes       []write
}

// makeChild writes a differencing disk with blocks of smallBlock bytes. Writes
// are in whole sectors.
func makeChild(t testing.TB, path string, c child) {
	t.Helper()
	blocks := (c.size + smallBlock - 1) / smallBlock
	f := footer{kind: differencing, dataOffset: footerBytes, creator: [4]byte([]byte("win ")),
		size: uint64(c.size), geometry: geometryOf(c.size / sectorSize), id: c.id}
	h := header{tableOffset: footerBytes + headerBytes, entries: uint32(blocks), blockSize: smallBlock,
		parentID: c.parentID, parentName: utf16Bytes(c.parentName, binary.BigEndian)}
	end := int64(footerBytes + headerBytes + (blocks*entryBytes+511)/512*512)
	var paths [][]byte
	for _, p := range []struct{ code, text string }{{"W2ru", c.relative}, {"W2ku", c.absolute}} {
		if p.text == "" {
			continue
		}
		b := utf16Bytes(p.text, binary.LittleEndian)
		h.locators = append(h.locators, locator{code: [4]byte([]byte(p.code)), length: uint32(len(b)), offset: uint64(end)})
		b = append(b, make([]byte, (512-len(b)%512)%512)...)
		paths = append(paths, b)
		end += int64(len(b))
	}
	table := bytes.Repeat([]byte{0xff}, int(blocks*entryBytes+511)/512*512)
	var body []byte
	starts := map[int64]int{} // block to where in body its bitmap is
	for _, w := range c.writes {
		for i := 0; i < len(w.data); i += sectorSize {
			sector := (w.off + int64(i)) / sectorSize
			block, within := sector/(smallBlock/sectorSize), int(sector%(smallBlock/sectorSize))
			at, ok := starts[block]
			if !ok {
				at = len(body)
				starts[block] = at
				binary.BigEndian.PutUint32(table[block*entryBytes:], uint32((end+int64(at))/sectorSize))
				body = append(body, make([]byte, sectorSize+smallBlock)...)
			}
			body[at+within/8] |= 0x80 >> (within % 8)
			copy(body[at+sectorSize+within*sectorSize:], w.data[i:i+sectorSize])
		}
	}
	out := append(f.encode(), h.encode()...)
	out = append(out, table...)
	for _, p := range paths {
		out = append(out, p...)
	}
	out = append(append(out, body...), f.encode()...)
	if err := os.WriteFile(path, out, 0o600); err != nil {
		t.Fatal(err)
	}
}

func utf16Bytes(s string, order binary.AppendByteOrder) []byte {
	var b []byte
	for _, c := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, c)
	}
	return b
}

// apply returns what a disk of size bytes holds after writes.
func apply(base []byte, size int64, writes ...write) []byte {
	out := make([]byte, size)
	copy(out, base)
	for _, w := range writes {
		copy(out[w.off:], w.data)
	}
	return out
}

func openDisk(t testing.TB, path string, dirs ...string) diskio.Image {
	t.Helper()
	img, err := Open(path, Options{ParentDirs: dirs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img
}

// checkContent compares all of a disk with want, and its map with its content.
func checkContent(t testing.TB, img diskio.Image, want []byte) {
	t.Helper()
	if img.Size() != int64(len(want)) {
		t.Fatalf("size %d, want %d", img.Size(), len(want))
	}
	got, err := io.ReadAll(io.NewSectionReader(img, 0, img.Size()))
	if err != nil {
		t.Fatal(err)
	}
	if i := firstDifference(got, want); i >= 0 {
		t.Fatalf("content differs from offset %d on", i)
	}
	var off int64
	for off < img.Size() {
		m, err := img.Map(off)
		if err != nil {
			t.Fatal(err)
		}
		if m.Start != off || m.Length <= 0 || m.End() > img.Size() {
			t.Fatalf("mapping at %d: %+v", off, m)
		}
		run := want[m.Start:m.End()]
		if m.Kind == diskio.Data {
			checkStored(t, m, run)
		} else if len(bytes.Trim(run, "\x00")) > 0 {
			t.Fatalf("%+v is not zeros", m)
		}
		off = m.End()
	}
	if _, err := img.Map(off); err != io.EOF {
		t.Fatalf("map of the end: %v, want EOF", err)
	}
}

// checkStored reads a mapping's bytes out of its file.
func checkStored(t testing.TB, m diskio.Mapping, want []byte) {
	t.Helper()
	f, err := os.Open(m.File)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, m.Length)
	if _, err := f.ReadAt(got, m.FileOffset); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%+v: the file has other bytes there (%v)", m, err)
	}
}

func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// smallDisk makes a dynamic disk with content at its edges, and returns it.
func smallDisk(t testing.TB, path string) []byte {
	t.Helper()
	writes := []write{
		{0, noise(1, 3*sectorSize)},
		{smallBlock - sectorSize, noise(2, 2*sectorSize)},
		{7*smallBlock + 1024, noise(3, 40*sectorSize)},
		{smallSize - sectorSize, noise(4, sectorSize)},
	}
	makeDisk(t, path, Spec{VirtualSize: smallSize, BlockSize: smallBlock, DiskID: baseID}, writes...)
	return apply(nil, smallSize, writes...)
}

func inDir(t testing.TB, names ...string) []string {
	t.Helper()
	dir := t.TempDir()
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = filepath.Join(dir, name)
	}
	return paths
}
