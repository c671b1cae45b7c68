package vhdx

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wanrep/diskio"
)

// tool returns the path of an independent reader, or skips the test.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// create makes a file with a disk in it.
func create(t testing.TB, path string, s Spec, fill func(w *Writer)) *Writer {
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
	if fill != nil {
		fill(w)
	}
	if err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	return w
}

func put(t testing.TB, w *Writer, p []byte, off int64) {
	t.Helper()
	if _, err := w.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
}

// noise returns n bytes that are not zeros and differ by seed.
func noise(n int, seed uint64) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), 1})
	p := make([]byte, n)
	r.Read(p)
	return p
}

func open(t testing.TB, path string, o Options) *disk {
	t.Helper()
	d, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d.(*disk)
}

// readAll returns the whole content of a small disk, read in uneven pieces.
func readAll(t testing.TB, d diskio.Image) []byte {
	t.Helper()
	b := make([]byte, d.Size())
	for at := 0; at < len(b); at += 777777 { // of no power of two
		piece := b[at:min(at+777777, len(b))]
		if n, err := d.ReadAt(piece, int64(at)); n < len(piece) {
			t.Fatal(err)
		}
	}
	return b
}

// firstDiff words where two contents differ.
func firstDiff(got, want []byte) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d bytes, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Sprintf("byte %d is %02x, want %02x", i, got[i], want[i])
		}
	}
	return "equal"
}

// checkMap compares the disk's mappings with its content: what is not data must be
// zeros, and mappings must follow each other to the end.
func checkMap(t testing.TB, d diskio.Image, content []byte) {
	t.Helper()
	for off := int64(0); off < d.Size(); {
		m, err := d.Map(off)
		if err != nil {
			t.Fatal(err)
		}
		if m.Start != off || m.Length <= 0 || m.End() > d.Size() {
			t.Fatalf("mapping at %d is %+v", off, m)
		}
		if m.Kind != diskio.Data && !allZero(content[off:m.End()]) {
			t.Fatalf("mapping %+v is not zeros", m)
		}
		off = m.End()
	}
	if _, err := d.Map(d.Size()); err != io.EOF {
		t.Fatalf("mapping behind the end: %v", err)
	}
}

var matrix = []Spec{
	{VirtualSize: 512},
	{VirtualSize: 4096, LogicalSectorSize: 4096},
	{VirtualSize: 3*mib + 512, BlockSize: mib},
	{VirtualSize: 40 * mib, BlockSize: mib},
	{VirtualSize: 40 * mib, BlockSize: mib, Fixed: true},
	{VirtualSize: 33*mib + 8192, BlockSize: 2 * mib, LogicalSectorSize: 4096, PhysicalSectorSize: 4096},
	{VirtualSize: 33*mib + 8192, BlockSize: 32 * mib, PhysicalSectorSize: 512},
	{VirtualSize: 20 * mib, BlockSize: 256 * mib},
	{VirtualSize: 20 * mib, BlockSize: 16 * mib, Fixed: true},
}

func (s Spec) title() string {
	kind := "dynamic"
	if s.Fixed {
		kind = "fixed"
	}
	return fmt.Sprintf("%s-%d-block%d-sector%d", kind, s.VirtualSize, s.BlockSize, s.LogicalSectorSize)
}

// scribble writes to random places of the disk and of its model. The pieces are
// whole sectors.
func scribble(t testing.TB, w *Writer, model []byte, r *rand.Rand, times int) {
	t.Helper()
	sector := int(w.sector)
	for range times {
		n := min(len(model)/sector, 1+r.IntN(1<<r.IntN(12))) * sector
		off := r.IntN((len(model)-n)/sector+1) * sector
		switch r.IntN(4) {
		case 0:
			if err := w.WriteZeros(int64(off), int64(n)); err != nil {
				t.Fatal(err)
			}
			clear(model[off : off+n])
		case 1:
			put(t, w, make([]byte, n), int64(off))
			clear(model[off : off+n])
		default:
			p := noise(n, r.Uint64())
			put(t, w, p, int64(off))
			copy(model[off:], p)
		}
	}
}

// What is written is read back, by us and by QEMU.
func TestWriteMatrix(t *testing.T) {
	for i, s := range matrix {
		t.Run(s.title(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.vhdx")
			model := make([]byte, s.VirtualSize)
			create(t, path, s, func(w *Writer) {
				scribble(t, w, model, rand.New(rand.NewPCG(uint64(i), 7)), 60)
			})
			d := open(t, path, Options{})
			got := readAll(t, d)
			if !bytes.Equal(got, model) {
				t.Fatal(firstDiff(got, model))
			}
			checkMap(t, d, model)
			fi, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if fi.Size()%mib != 0 || fi.Size() < d.layers[0].census.end {
				t.Errorf("the file has %d bytes, the last block ends at %d", fi.Size(), d.layers[0].census.end)
			}
			if s.LogicalSectorSize != 4096 { // QEMU refuses those
				qemuReads(t, path, model)
			} else if s.VirtualSize%8192 == 0 { // 7-Zip refuses an odd number of those sectors
				sevenZipReads(t, path, model)
			}
		})
	}
}

// qemuReads fails the test unless QEMU finds the file sound and reads want from it.
func qemuReads(t testing.TB, path string, want []byte) {
	t.Helper()
	img, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Log("qemu-img is not installed: not compared with it")
		return
	}
	if out, err := exec.Command(img, "check", "-f", "vhdx", path).CombinedOutput(); err != nil {
		t.Errorf("qemu-img check: %v\n%s", err, out)
	}
	raw := path + ".raw"
	if out, err := exec.Command(img, "convert", "-f", "vhdx", "-O", "raw", path, raw).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img convert: %v\n%s", err, out)
	}
	defer os.Remove(raw)
	got, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("qemu-img reads: %s", firstDiff(got, want))
	}
}

// sevenZipReads fails the test unless 7-Zip, which follows chains, reads want.
func sevenZipReads(t testing.TB, path string, want []byte) {
	t.Helper()
	zz, err := exec.LookPath("7zz")
	if err != nil {
		t.Log("7zz is not installed: not compared with it")
		return
	}
	var stderr strings.Builder
	cmd := exec.Command(zz, "x", "-tVHDX", "-so", filepath.Base(path))
	cmd.Dir = filepath.Dir(path)
	cmd.Stderr = &stderr
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("7zz: %v\n%s", err, stderr.String())
	}
	if !bytes.Equal(got, want) {
		t.Errorf("7zz reads: %s", firstDiff(got, want))
	}
}

// A file that is not sealed is refused, by us and by QEMU.
func TestIncompleteIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.vhdx")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := Create(f, Spec{VirtualSize: 10 * mib, Incomplete: true})
	if err != nil {
		t.Fatal(err)
	}
	put(t, w, noise(64*kib, 1), mib)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Options{}); err == nil || !strings.Contains(err.Error(), "not received whole") {
		t.Errorf("got %v, want that the disk is not whole", err)
	}
	open(t, path, Options{AllowIncomplete: true})
	if out, err := exec.Command(tool(t, "qemu-img"), "check", "-f", "vhdx", path).CombinedOutput(); err == nil {
		t.Errorf("qemu-img check accepts it: %s", out)
	}
	if err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	model := make([]byte, 10*mib)
	copy(model[mib:], noise(64*kib, 1))
	qemuReads(t, path, model)
}
