package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// qemuFormats are the names that qemu-img has for ours.
var qemuFormats = map[string]string{VHDX: "vhdx", VHD: "vpc", Raw: "raw"}

// qemu runs qemu-img, an independent reader of plain files.
func qemu(t *testing.T, args ...string) {
	t.Helper()
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("qemu-img is not installed (Debian: qemu-utils)")
	}
	if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
		t.Errorf("qemu-img %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// compareWithQEMU checks that qemu-img reads a file as we read want.
func compareWithQEMU(t *testing.T, path, format string, want disk) {
	t.Helper()
	asRaw := filepath.Join(t.TempDir(), "qemu.raw")
	qemu(t, "convert", "-f", qemuFormats[format], "-O", "raw", path, asRaw)
	same(t, open(t, asRaw), want)
	if format == VHDX {
		qemu(t, "check", "-f", "vhdx", path)
	}
}

// A disk is what two images are compared by.
type disk interface {
	io.ReaderAt
	Size() int64
	NextData(off int64) (start, length int64, err error)
}

// same checks that two disks have the same content, without reading what is a
// hole in both.
func same(t *testing.T, got, want disk) {
	t.Helper()
	if got.Size() != want.Size() {
		t.Fatalf("%d bytes, want %d", got.Size(), want.Size())
	}
	a, b := make([]byte, copyBytes), make([]byte, copyBytes)
	next := func(img disk, off int64) int64 {
		start, _, err := img.NextData(off)
		if err == io.EOF {
			return img.Size()
		}
		if err != nil {
			t.Fatal(err)
		}
		return start
	}
	for off := int64(0); ; off += copyBytes {
		off = min(next(got, off), next(want, off))
		n := min(copyBytes, got.Size()-off)
		if n == 0 {
			return
		}
		for _, r := range []struct {
			img disk
			p   []byte
		}{{got, a[:n]}, {want, b[:n]}} {
			if k, err := r.img.ReadAt(r.p, off); k < len(r.p) {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(a[:n], b[:n]) {
			t.Fatalf("the %d bytes at %d differ", n, off)
		}
	}
}

// noise returns n random bytes that depend on seed alone.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// rawDisk writes a raw disk with some blocks of content.
func rawDisk(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(uint64(size), 1))
	for i := range 5 {
		b := noise(uint64(i), int(min(size, 512*(1+r.Int64N(400)))))
		at := r.Int64N(size-int64(len(b))+1) / 512 * 512
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// TestConvertThereAndBack takes disks of odd sizes through all formats.
func TestConvertThereAndBack(t *testing.T) {
	for _, size := range []int64{512, 1 << 20, 2<<20 - 512, 2 << 20, 33<<20 + 512, 5 << 30} {
		first := open(t, rawDisk(t, size))
		img := first
		for _, format := range []string{VHDX, VHD, VHDX, Raw} {
			out := filepath.Join(t.TempDir(), "next."+format)
			if err := Convert(t.Context(), img, out, format); err != nil {
				t.Fatalf("%d bytes to %s: %v", size, format, err)
			}
			img = open(t, out)
			same(t, img, first)
			if format != Raw {
				compareWithQEMU(t, out, format, first)
			}
			if info, err := os.Stat(out); err != nil || format != Raw && info.Size() > 20<<20 {
				t.Errorf("%s of %d bytes with a megabyte of content has %d (%v)", format, size, info.Size(), err)
			}
		}
	}
}

func TestConvertLeavesNothingHalf(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.vhdx")
	img := open(t, rawDisk(t, 8<<20))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Convert(ctx, img, out, VHDX); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	if entries, err := os.ReadDir(filepath.Dir(out)); err != nil || len(entries) != 0 {
		t.Errorf("%v and %v are left behind", entries, err)
	}
	if err := Convert(t.Context(), img, out, "qcow2"); err == nil || !strings.Contains(err.Error(), `"qcow2" is unknown`) {
		t.Errorf("got %v", err)
	}
}

func TestDetection(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	link := func(name, to string) string {
		path := filepath.Join(dir, name)
		if err := os.Symlink(to, path); err != nil {
			t.Skip("no symbolic links here: ", err)
		}
		return path
	}
	zeros := make([]byte, 4096)
	tests := []struct {
		name, path string
		options    Options
		want       string // the format, or a part of the error
	}{
		{"raw by its name", file("disk.img", zeros), Options{}, "raw"},
		{"raw with no name ending", file("disk", zeros), Options{}, "raw"},
		{"damaged VHDX", file("damaged.vhdx", zeros), Options{}, "file type identifier"},
		{"damaged AVHDX", file("damaged.AVHDX", zeros), Options{}, "file type identifier"},
		{"damaged VHD", file("damaged.vhd", zeros), Options{}, "footer"},
		{"forced", file("forced.vhdx", zeros), Options{AllowRaw: true}, "raw"},
		{"another's", file("other.qcow2", zeros), Options{}, "not a disk image of a known format"},
		{"a directory", dir, Options{}, "neither a file nor a block device"},
		{"a character device", os.DevNull, Options{}, "neither a file nor a block device"},
		{"the operator's link", link("link", rawDisk(t, 4096)), Options{}, "raw"},
		{"VHDX under any name", file("renamed.img", append([]byte("vhdxfile"), zeros...)), Options{}, "header"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			img, err := Open(test.path, test.options)
			if err != nil {
				if !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q in it", err, test.want)
				}
				return
			}
			defer img.Close()
			if got := img.Info().Format; got != test.want {
				t.Errorf("opened as %s, want %s", got, test.want)
			}
		})
	}
	if _, err := Open(filepath.Join(dir, "missing"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestCheckFindsDamage(t *testing.T) {
	for _, format := range []string{VHDX, VHD} {
		out := filepath.Join(t.TempDir(), "disk."+format)
		if err := Convert(t.Context(), open(t, rawDisk(t, 8<<20)), out, format); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		at := 192<<10 + 5 // in the region table's checksum
		if format == VHD {
			at = 512 + 30 // in the dynamic disk header
		}
		b[at] ^= 0xff
		if err := os.WriteFile(out, b, 0o600); err != nil {
			t.Fatal(err)
		}
		problems, err := Check(out)
		if err != nil || len(problems) == 0 || problems[0].Section == "" || problems[0].Path != out {
			t.Errorf("%s: got %+v and %v", format, problems, err)
		}
	}
}

// TestFileSystems takes real file systems through conversion and lets their own
// checkers look at the result.
func TestFileSystems(t *testing.T) {
	files := t.TempDir()
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(files, fmt.Sprint("file", i)), noise(uint64(i), i*50_000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name  string
		size  int64
		make  []string
		check []string
	}{
		{"ext4", 32 << 20, []string{"mkfs.ext4", "-q", "-F", "-d", files}, []string{"e2fsck", "-fn"}},
		{"NTFS", 32 << 20, []string{"mkntfs", "-q", "-F", "-Q"}, []string{"ntfsfix", "-n"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "fs.img")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, test.size); err != nil {
				t.Fatal(err)
			}
			run(t, append(test.make, path)...)
			before := open(t, path)
			img := before
			for _, format := range []string{VHDX, VHD, Raw} {
				next := filepath.Join(t.TempDir(), "fs."+format)
				if err := Convert(t.Context(), img, next, format); err != nil {
					t.Fatal(err)
				}
				img, path = open(t, next), next
			}
			same(t, img, before)
			run(t, append(test.check, path)...)
		})
	}
}

func run(t *testing.T, args ...string) {
	t.Helper()
	tool, err := exec.LookPath(args[0])
	if err != nil {
		t.Skipf("%s is not installed (Debian: e2fsprogs, ntfs-3g)", args[0])
	}
	var out bytes.Buffer
	cmd := exec.Command(tool, args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
}
