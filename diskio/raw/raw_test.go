package raw

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wanrep/diskio"
)

// sparse makes a file of size bytes that holds one run of data.
func sparse(t *testing.T, size, off int64, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(data, off); err != nil {
		t.Fatal(err)
	}
	return path
}

func openDisk(t *testing.T, path string) diskio.Image {
	t.Helper()
	img, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { img.Close() })
	return img
}

func TestReadAt(t *testing.T) {
	data := bytes.Repeat([]byte{0xa5}, 1000)
	img := openDisk(t, sparse(t, 10_000, 9_000, data))
	tests := []struct {
		name    string
		off     int64
		length  int
		want    []byte
		wantErr error
	}{
		{name: "zeros", off: 0, length: 4, want: make([]byte, 4)},
		{name: "across the edge", off: 8_998, length: 4, want: []byte{0, 0, 0xa5, 0xa5}},
		{name: "up to the end", off: 9_998, length: 2, want: []byte{0xa5, 0xa5}},
		{name: "over the end", off: 9_998, length: 3, want: []byte{0xa5, 0xa5}, wantErr: io.EOF},
		{name: "at the end", off: 10_000, length: 1, wantErr: io.EOF},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := make([]byte, tt.length)
			n, err := img.ReadAt(p, tt.off)
			if !bytes.Equal(p[:n], tt.want) || err != tt.wantErr {
				t.Errorf("got %v, %v; want %v, %v", p[:n], err, tt.want, tt.wantErr)
			}
		})
	}
	if _, err := img.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("a negative offset is read")
	}
}

func TestHolesAreTold(t *testing.T) {
	const size, at = 64 << 30, 32 << 30
	path := sparse(t, size, at, make([]byte, 4096))
	img := openDisk(t, path)
	start, length, err := img.NextData(0)
	if err != nil {
		t.Fatal(err)
	}
	if start == 0 && length == size {
		t.Skip("the file system of the temporary folder does not tell holes")
	}
	if start > at || start+length < at+4096 || length > 1<<20 {
		t.Errorf("data [%d, +%d), want about [%d, +4096)", start, length, int64(at))
	}
	if _, _, err := img.NextData(start + length); err != io.EOF {
		t.Errorf("behind the data: %v, want EOF", err)
	}
	m, err := img.Map(0)
	if err != nil || m.Kind != diskio.Hole || m.End() != start {
		t.Errorf("map of the start: %+v, %v; want a hole up to %d", m, err, start)
	}
	m, err = img.Map(start + 10)
	if err != nil || m.Kind != diskio.Data || m.FileOffset != start+10 || m.File != path {
		t.Errorf("map of the data: %+v, %v", m, err)
	}
	if got := img.Info().Allocated; got > 1<<20 {
		t.Errorf("%d bytes are allocated", got)
	}
}

func TestCheckNoticesAWriter(t *testing.T) {
	tests := []struct {
		name  string
		touch func(path string) error
		want  string
	}{
		{name: "untouched", touch: func(string) error { return nil }},
		{name: "written", want: "modification time", touch: func(path string) error {
			return os.Chtimes(path, time.Time{}, time.Unix(1e9, 0))
		}},
		{name: "grown", want: "size", touch: func(path string) error { return os.Truncate(path, 20_000) }},
		{name: "cut", want: "size", touch: func(path string) error { return os.Truncate(path, 100) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := sparse(t, 10_000, 0, []byte("x"))
			img := openDisk(t, path)
			before, err := img.Identity()
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.touch(path); err != nil {
				t.Fatal(err)
			}
			after, err := img.Identity()
			if err != nil {
				t.Fatal(err)
			}
			if (before != after) != (tt.want != "") {
				t.Errorf("identity before %q, after %q", before, after)
			}
			var changed *diskio.ChangedError
			err = img.Check()
			if tt.want == "" {
				if err != nil {
					t.Errorf("got %v, want nil", err)
				}
			} else if !errors.As(err, &changed) || changed.What != tt.want {
				t.Errorf("got %v, want a change of the %s", err, tt.want)
			}
		})
	}
}

func TestReadOfACutFileIsAnError(t *testing.T) {
	path := sparse(t, 10_000, 0, []byte("x"))
	img := openDisk(t, path)
	if err := os.Truncate(path, 5_000); err != nil {
		t.Fatal(err)
	}
	n, err := img.ReadAt(make([]byte, 100), 4_950)
	var changed *diskio.ChangedError
	if n != 50 || !errors.As(err, &changed) {
		t.Errorf("got %d, %v; want 50 bytes and a ChangedError", n, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	tests := []struct{ name, path string }{
		{name: "directory", path: t.TempDir()},
		{name: "nothing there", path: filepath.Join(t.TempDir(), "no")},
		{name: "character device", path: os.DevNull},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if img, err := Open(tt.path, Options{}); err == nil {
				img.Close()
				t.Error("it opens")
			}
		})
	}
}

func TestOpenFollowsTheOperatorsLinks(t *testing.T) {
	path := sparse(t, 10_000, 0, []byte("x"))
	link := filepath.Join(t.TempDir(), "link.raw")
	if err := os.Symlink(path, link); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	if got := openDisk(t, link).Size(); got != 10_000 {
		t.Errorf("size %d, want 10000", got)
	}
}

// A device is read by whole sectors; the rest of the code can't tell.
func TestDeviceReadsAreAligned(t *testing.T) {
	data := make([]byte, 8192)
	for i := range data {
		data[i] = byte(i * 7)
	}
	path := sparse(t, 8192, 0, data)
	img := openDisk(t, path).(*disk)
	img.device, img.logical = true, 4096
	for _, e := range []diskio.Extent{{Start: 1, Length: 10}, {Start: 4000, Length: 200}, {Start: 4096, Length: 4096}, {Start: 8191, Length: 1}} {
		p := make([]byte, e.Length)
		if n, err := img.ReadAt(p, e.Start); n != len(p) || err != nil || !bytes.Equal(p, data[e.Start:e.End()]) {
			t.Errorf("%+v: read %d bytes, %v", e, n, err)
		}
	}
}

func TestBlockDevice(t *testing.T) {
	data := bytes.Repeat([]byte("block device "), 6000)[:64<<10]
	path := sparse(t, 1<<20, 512<<10, data)
	out, err := exec.Command("losetup", "--find", "--show", "--read-only", path).Output()
	if err != nil {
		t.Skip("no loop device to be had: ", err)
	}
	device := strings.TrimSpace(string(out))
	defer exec.Command("losetup", "--detach", device).Run()
	img := openDisk(t, device)
	if info := img.Info(); img.Size() != 1<<20 || info.LogicalSectorSize != 512 || info.Allocated != 1<<20 {
		t.Errorf("size %d, info %+v", img.Size(), info)
	}
	p := make([]byte, len(data))
	if _, err := img.ReadAt(p, 512<<10); err != nil || !bytes.Equal(p, data) {
		t.Errorf("its content differs (%v)", err)
	}
	if m, err := img.Map(512); err != nil || m.Kind != diskio.Data || m.End() != 1<<20 {
		t.Errorf("map: %+v, %v", m, err)
	}
	if id, err := img.Identity(); err != nil || !strings.Contains(id, "node=7:") {
		t.Errorf("identity %q, %v; want loop's major number", id, err)
	}
	if err := img.Check(); err != nil {
		t.Error(err)
	}
}
