package vhd

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"wanrep/diskio"
)

// FuzzFooter parses any bytes. What is taken for a footer keeps the limits and
// says the same when it is written again.
func FuzzFooter(f *testing.F) {
	good := footer{kind: dynamic, dataOffset: 512, size: smallSize, geometry: geometryOf(smallSize / sectorSize), id: baseID}.encode()
	f.Add(good)
	f.Add(good[:oldFooterBytes])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != footerBytes && len(b) != oldFooterBytes {
			return
		}
		sealed := append([]byte(nil), b...)
		copy(sealed, footerCookie)
		reseal(sealed, footerChecksum)
		for _, b := range [][]byte{b, sealed} {
			got, wrong := parseFooter(b)
			if wrong != nil {
				continue
			}
			if got.size == 0 || got.size > maxSize || got.size%sectorSize != 0 {
				t.Fatalf("a size of %d", got.size)
			}
			if again, wrong := parseFooter(got.encode()); wrong != nil || again != got {
				t.Fatalf("%+v became %+v (%v)", got, again, wrong)
			}
		}
	})
}

// FuzzHeader parses any bytes as a header.
func FuzzHeader(f *testing.F) {
	f.Add(header{tableOffset: 1536, entries: 11, blockSize: smallBlock, parentID: baseID,
		locators: []locator{{code: [4]byte{'W', '2', 'r', 'u'}, length: 20, offset: 2048}}}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != headerBytes {
			return
		}
		b = append([]byte(nil), b...)
		copy(b, headerCookie)
		reseal(b, headerChecksum)
		h, wrong := parseHeader(b)
		if wrong == nil && (h.blockSize < sectorSize || h.blockSize > maxBlockBytes || h.blockSize&(h.blockSize-1) != 0) {
			t.Fatalf("blocks of %d bytes", h.blockSize)
		}
	})
}

// FuzzParentPath looks for parents under any name. Nothing outside the allowed
// directories is ever a place to look at.
func FuzzParentPath(f *testing.F) {
	for _, s := range []string{`.\base.vhd`, `..\..\..\etc\passwd`, `\\srv\share\a.vhd`, `\\?\C:\a`, `\\.\PhysicalDrive0`, `C:\a.vhd`,
		"/etc/passwd", "a/../../b", "a\x00b", `C:..\x`, "a:b", ".", "..", "", `gold\..\..\gold\x`} {
		f.Add(s)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, s string) {
		allowed := []string{filepath.Join(dir, "vm"), filepath.Join(dir, "gold")}
		for _, p := range places(allowed, []string{s}) {
			full := filepath.Join(p.dir, p.name)
			inside := false
			for _, a := range allowed {
				rel, err := filepath.Rel(a, full)
				inside = inside || err == nil && rel != "." && filepath.IsLocal(rel)
			}
			if !inside || !filepath.IsLocal(p.name) {
				t.Fatalf("%q leads to %q", s, full)
			}
		}
	})
}

// FuzzOpen opens whatever there is, and it with its checksums made right. A whole
// parent lies beside it.
func FuzzOpen(f *testing.F) {
	paths := inDir(f, "base.vhd", "disk.vhd")
	smallDisk(f, paths[0])
	path := paths[1]
	for _, s := range []Spec{
		{VirtualSize: 3*smallBlock - sectorSize, BlockSize: smallBlock},
		{VirtualSize: 4 << 10, Fixed: true},
	} {
		makeDisk(f, path, s, write{1024, []byte("content")})
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		// The structures are what matters, and a small input is mutated faster.
		f.Add(append(b[:min(len(b), 4096):min(len(b), 4096)], b[len(b)-footerBytes:]...))
	}
	makeChild(f, path, child{id: childID, parentID: baseID, size: smallSize, parentName: "base.vhd", relative: `.\base.vhd`})
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, b := range [][]byte{data, sealedAgain(data)} {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			survive(t, path)
		}
	})
}

// sealedAgain returns a file whose checksums are right.
func sealedAgain(b []byte) []byte {
	b = append([]byte(nil), b...)
	if len(b) >= footerBytes {
		reseal(b[len(b)-footerBytes:], footerChecksum)
		reseal(b[:footerBytes], footerChecksum)
	}
	if len(b) >= footerBytes+headerBytes {
		reseal(b[footerBytes:footerBytes+headerBytes], headerChecksum)
	}
	return b
}

// survive opens a file that may be broken in any way. It is refused with an
// error that says where and why, or else can be walked and read.
func survive(t testing.TB, path string) {
	t.Helper()
	if _, err := Check(path, Options{}); err != nil {
		t.Fatalf("check: %v", err)
	}
	img, err := Open(path, Options{})
	if err != nil {
		if !isRefusal(err) {
			t.Fatalf("%v is neither a FormatError nor a ParentError", err)
		}
		return
	}
	defer img.Close()
	if size := img.Size(); size <= 0 || size > maxSize {
		t.Fatalf("opened with %d bytes", size)
	}
	off := int64(0)
	buffer := make([]byte, 4096)
	for range 1000 {
		m, err := img.Map(off)
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("map at %d: %v", off, err)
		}
		if m.Start != off || m.Length <= 0 || m.End() > img.Size() {
			t.Fatalf("mapping %+v at %d of %d", m, off, img.Size())
		}
		if _, err := img.ReadAt(buffer[:min(m.Length, 4096)], off); err != nil {
			t.Fatalf("read at %d: %v", off, err)
		}
		off = m.End()
	}
}

func isRefusal(err error) bool {
	var broken *diskio.FormatError
	var parent *diskio.ParentError
	return errors.As(err, &broken) || errors.As(err, &parent)
}

// TestMutations damages the structures of real disks where it hurts: fields get
// values at the limits of their type, with the checksums right again.
func TestMutations(t *testing.T) {
	paths, _ := chain(t)
	values := []uint32{0, 1, 2, 3, 4, 511, 512, 513, 1 << 20, 1 << 21, 1 << 30, 1<<31 - 1, 1 << 31, 1<<32 - 2, 1<<32 - 1}
	r := rand.New(rand.NewPCG(1, 2))
	for _, path := range paths {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			b := append([]byte(nil), whole...)
			for range 1 + r.IntN(3) {
				// The copy, the header, the table, or the footer at the end.
				at := r.IntN(footerBytes+headerBytes+12*entryBytes) &^ 3
				if r.IntN(4) == 0 {
					at = len(b) - footerBytes + r.IntN(footerBytes)&^3
				}
				binary.BigEndian.PutUint32(b[at:], values[r.IntN(len(values))])
			}
			if r.IntN(5) == 0 {
				b = b[:r.IntN(len(b))]
			}
			if err := os.WriteFile(path, sealedAgain(b), 0o600); err != nil {
				t.Fatal(err)
			}
			survive(t, path)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// hugeDisk makes a sparse file with a disk of n blocks of smallBlock bytes, of
// which sector tells the places.
func hugeDisk(t *testing.T, n int64, sector func(block int64) uint32) string {
	t.Helper()
	path := inDir(t, "huge.vhd")[0]
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ft := footer{kind: dynamic, dataOffset: footerBytes, size: uint64(n * smallBlock)}
	h := header{tableOffset: footerBytes + headerBytes, entries: uint32(n), blockSize: smallBlock}
	b := append(ft.encode(), h.encode()...)
	var end int64
	for block := range n {
		s := sector(block)
		b = binary.BigEndian.AppendUint32(b, s)
		if s != noBlock {
			end = max(end, int64(s+1)*sectorSize+smallBlock)
		}
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(ft.encode(), end); err != nil {
		t.Skip("no sparse file of this size: ", err)
	}
	return path
}

// strideSectors is how many sectors a block and its bitmap take.
const strideSectors = smallBlock/sectorSize + 1

// The largest table there is, full and in the worst order, is looked at in a
// short time and little memory.
func TestLargestTable(t *testing.T) {
	const n = maxBlocks - 20_000 // all of them would not fit below 2 TiB
	path := hugeDisk(t, n, func(block int64) uint32 { return uint32((n-block)*strideSectors + 1<<16) })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	began := time.Now()
	img := openDisk(t, path)
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if got := img.Info().Allocated; got != n*smallBlock {
		t.Errorf("%d bytes are stored, want all", got)
	}
	if total := after.TotalAlloc - before.TotalAlloc; total > 200<<20 {
		t.Errorf("it took %d MiB of memory, one thing after the other", total>>20)
	}
	if took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Blocks that overlap are found wherever in the file and in the table they are.
func TestOverlapAcrossWindows(t *testing.T) {
	const border = surveyPlaces * strideSectors
	for _, overlap := range []uint32{0, 1, strideSectors - 1} {
		places := map[int64]uint32{70: border - 1, 3: border - 1 + strideSectors - overlap, 9: 4096}
		path := hugeDisk(t, 100, func(block int64) uint32 {
			if s, ok := places[block]; ok {
				return s
			}
			return noBlock
		})
		img, err := Open(path, Options{})
		if err == nil {
			img.Close()
		}
		if (err != nil) != (overlap > 0) {
			t.Errorf("blocks that share %d sectors: %v", overlap, err)
		}
	}
}
