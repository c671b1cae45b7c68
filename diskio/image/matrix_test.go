package image

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"wanrep/diskio"
	"wanrep/diskio/vhd"
	"wanrep/diskio/vhdx"
)

// A sealer is a format's writer.
type sealer interface {
	io.WriterAt
	Seal() error
}

// A shape is one way to write a disk.
type shape struct {
	format string
	fixed  bool
	block  int64 // bytes; 0 is the format's default
	sector int   // logical
}

func (s shape) String() string {
	sub := "dynamic"
	if s.fixed {
		sub = "fixed"
	}
	return fmt.Sprintf("%s %s, blocks of %d KiB, sectors of %d", s.format, sub, s.block>>10, s.sector)
}

func (s shape) create(f *os.File, size int64) (sealer, error) {
	if s.format == VHD {
		return vhd.Create(f, vhd.Spec{VirtualSize: size, BlockSize: s.block, Fixed: s.fixed, DiskID: diskio.ID{1}})
	}
	return vhdx.Create(f, vhdx.Spec{VirtualSize: size, BlockSize: s.block, Fixed: s.fixed, LogicalSectorSize: s.sector})
}

// TestMatrix writes each shape at the sizes where its structures have edges, and
// has the result read by whoever can be trusted with it: qemu-img knows no
// sectors of 4096 bytes, 7zz does.
func TestMatrix(t *testing.T) {
	shapes := []shape{
		{VHD, true, 0, 512},
		{VHD, false, 0, 512},
		{VHD, false, 512 << 10, 512},
		{VHD, false, 16 << 20, 512},
		{VHDX, true, 0, 512},
		{VHDX, false, 1 << 20, 512},
		{VHDX, false, 0, 512},
		{VHDX, false, 32 << 20, 512},
		{VHDX, false, 256 << 20, 512},
		{VHDX, true, 0, 4096},
		{VHDX, false, 1 << 20, 4096},
		{VHDX, false, 32 << 20, 4096},
	}
	for _, s := range shapes {
		for _, size := range s.sizes() {
			t.Run(fmt.Sprintf("%v, %d bytes", s, size), func(t *testing.T) { s.check(t, size) })
		}
	}
}

func (s shape) blockSize() int64 {
	if s.block == 0 {
		return 2 << 20
	}
	return s.block
}

// sizes are one sector, one block and a little less or more, and the largest.
func (s shape) sizes() []int64 {
	block, sector := s.blockSize(), int64(s.sector)
	step := sector
	if sector == 4096 {
		step = 8192 // 7zz wants disks of 4096-byte sectors to have an even number
	}
	switch {
	case s.fixed:
		return []int64{sector, 3<<20 + 5*step}
	case block == 256<<20:
		return []int64{sector, block + step}
	}
	list := []int64{sector, block - step, block, block + step, 3*block + 5*step}
	if s.format == VHD && block >= 2<<20 {
		list = append(list, vhd.MaxVirtualSize)
	} else if s.format == VHDX && block >= 32<<20 {
		list = append(list, diskio.MaxVirtualSize)
	}
	return list
}

// edges are the places of a disk where content is put.
func (s shape) edges(size int64) []int64 {
	block, sector := s.blockSize(), int64(s.sector)
	var list []int64
	for _, at := range []int64{0, block - sector, block, 2*block + 7*sector, size/2 - size/2%sector, size - sector} {
		if at < size && !slices.Contains(list, at) {
			list = append(list, at)
		}
	}
	slices.Sort(list)
	return list
}

// A model is a disk that has content in a few sectors; it stands for disks that
// are too large for any file.
type model struct {
	size   int64
	sector int64
	at     []int64 // ascending
}

func (m model) Size() int64 { return m.size }

func (m model) content(i int) []byte { return noise(uint64(i), int(m.sector)) }

func (m model) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for i, at := range m.at {
		if from := at - off; from >= 0 && from < int64(len(p)) {
			copy(p[from:], m.content(i))
		} else if from < 0 && -from < m.sector {
			copy(p, m.content(i)[-from:])
		}
	}
	return len(p), nil
}

func (m model) NextData(off int64) (start, length int64, err error) {
	for _, at := range m.at {
		if end := at + m.sector; off < end {
			start = max(at, off)
			return start, end - start, nil
		}
	}
	return 0, 0, io.EOF
}

func (s shape) check(t *testing.T, size int64) {
	path := filepath.Join(t.TempDir(), "disk."+s.format)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := s.create(f, size)
	if err != nil {
		t.Fatal(err)
	}
	want := model{size, int64(s.sector), s.edges(size)}
	for i, at := range want.at {
		if _, err := w.WriteAt(want.content(i), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Seal(); err != nil {
		t.Fatal(err)
	}
	img := open(t, path)
	same(t, img, want)
	if problems, err := Check(path); err != nil || len(problems) > 0 {
		t.Errorf("check: %v, %v", problems, err)
	}
	if info := img.Info(); info.LogicalSectorSize != s.sector || (info.Subformat == "fixed") != s.fixed {
		t.Errorf("info: %+v", info)
	}
	s.askOthers(t, path, want)
}

// askOthers has the file read by a program that is not ours. The largest disks
// are too much for a copy; of them qemu-img tells the size.
func (s shape) askOthers(t *testing.T, path string, want disk) {
	t.Helper()
	const toCopy = 1 << 30
	size := want.Size()
	if s.sector == 4096 {
		if size <= toCopy && size%8192 == 0 {
			sevenZip(t, path, want)
		}
		return
	}
	if got := qemuSize(t, path, s.format); got != size {
		t.Errorf("qemu-img says %d bytes, want %d", got, size)
	}
	if size <= toCopy {
		compareWithQEMU(t, path, s.format, want)
	}
}

// qemuSize asks qemu-img for the virtual size.
func qemuSize(t *testing.T, path, format string) int64 {
	t.Helper()
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("qemu-img is not installed (Debian: qemu-utils)")
	}
	out, err := exec.Command(tool, "info", "-f", qemuFormats[format], "--output=json", path).Output()
	if err != nil {
		t.Fatalf("qemu-img info: %v", err)
	}
	var info struct {
		Size int64 `json:"virtual-size"`
	}
	if err := json.Unmarshal(out, &info); err != nil {
		t.Fatal(err)
	}
	return info.Size
}

// sevenZip checks that 7zz reads a VHDX as we read want.
func sevenZip(t *testing.T, path string, want disk) {
	t.Helper()
	tool, err := exec.LookPath("7zz")
	if err != nil {
		t.Skip("7zz is not installed (Debian: 7zip)")
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "7zz.raw"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(tool, "x", "-tVHDX", "-so", path)
	cmd.Stdout = out
	if err := cmd.Run(); err != nil {
		t.Fatalf("7zz: %v", err)
	}
	same(t, open(t, out.Name()), want)
}

// TestReadWhatQEMUWrites has qemu-img make images from a raw disk.
func TestReadWhatQEMUWrites(t *testing.T) {
	tests := []struct {
		format, options string
		grows           bool // to a size that has a geometry
	}{
		{format: VHD, options: "subformat=dynamic", grows: true},
		{format: VHD, options: "subformat=fixed", grows: true},
		{format: VHD, options: "subformat=dynamic,force_size=on"},
		{format: VHD, options: "subformat=fixed,force_size=on"},
		{format: VHDX, options: "subformat=dynamic,block_size=1M"},
		{format: VHDX, options: "subformat=dynamic,block_size=64M"},
		{format: VHDX, options: "subformat=dynamic,block_state_zero=off"},
		{format: VHDX, options: "subformat=fixed"},
	}
	in := rawDisk(t, 9<<20+1536)
	for _, tt := range tests {
		t.Run(tt.format+" "+tt.options, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "qemu."+tt.format)
			qemu(t, "convert", "-f", "raw", "-O", qemuFormats[tt.format], "-o", tt.options, in, path)
			img, want := open(t, path), open(t, in)
			if got := qemuSize(t, path, tt.format); img.Size() != got {
				t.Fatalf("%d bytes, qemu-img says %d", img.Size(), got)
			}
			if tt.grows {
				// What qemu added are zeros.
				grown := filepath.Join(t.TempDir(), "grown.img")
				if err := Convert(t.Context(), want, grown, Raw); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(grown, img.Size()); err != nil {
					t.Fatal(err)
				}
				want = open(t, grown)
			}
			same(t, img, want)
			if problems, err := Check(path); err != nil || len(problems) > 0 {
				t.Errorf("check: %v, %v", problems, err)
			}
		})
	}
}
