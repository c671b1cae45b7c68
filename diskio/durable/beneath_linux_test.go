package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBeneath opens what is below the directory by one call, and nothing else.
func TestBeneath(t *testing.T) {
	if _, err := unix.Openat2(unix.AT_FDCWD, ".", &unix.OpenHow{}); errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		t.Skip("no openat2 here: ", err)
	}
	fsys, dir := openDir(t)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	outside := filepath.Join(t.TempDir(), "secret")
	check(os.WriteFile(outside, []byte("s"), 0o600))
	check(os.MkdirAll(filepath.Join(dir, "a/b"), 0o700))
	check(os.WriteFile(filepath.Join(dir, "a/b/file"), []byte("f"), 0o600))
	check(os.Symlink("b/file", filepath.Join(dir, "a/within")))
	check(os.Symlink("../../"+filepath.Base(filepath.Dir(outside))+"/secret", filepath.Join(dir, "a/relative")))
	check(os.Symlink(outside, filepath.Join(dir, "a/absolute")))
	check(os.Symlink(filepath.Join(dir, "a/b/file"), filepath.Join(dir, "a/back")))
	check(os.Symlink("/proc/self/fd/0", filepath.Join(dir, "a/magic")))
	for name, want := range map[string]bool{
		".": true, "a/b": true, "a/b/file": true, "a/within": true, "a/b/../within": true,
		"": false, "a/gone": false, "a/relative": false, "a/absolute": false, "a/back": false, "a/magic": false,
		"..": false, "a/../..": false, outside: false, dir + "/a/b/file": false, "/": false,
	} {
		f := fsys.(*osFS).open(name)
		if f != nil {
			f.Close()
		}
		if (f != nil) != want {
			t.Errorf("%q was opened: %v", name, !want)
		}
	}
	if f := fsys.(*osFS).open("a/b/file"); f == nil || f.Name() != filepath.Join(dir, "a/b/file") {
		t.Errorf("opened %v", f)
	}
}

// TestEntriesLookThemselvesUpBelow: whoever exchanges a directory for a link learns
// nothing through entries that were read before.
func TestEntriesLookThemselvesUpBelow(t *testing.T) {
	fsys, dir := openDir(t)
	other := t.TempDir()
	for _, d := range []string{filepath.Join(dir, "a"), other} {
		if err := errors.Join(os.MkdirAll(d, 0o700), os.WriteFile(filepath.Join(d, "f"), []byte(d), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := fsys.ReadDir("a")
	if err != nil || len(entries) != 1 || entries[0].Name() != "f" || entries[0].Type() != 0 {
		t.Fatalf("got %v, %v", entries, err)
	}
	info, err := entries[0].Info()
	if err != nil || info.Size() != int64(len(filepath.Join(dir, "a"))) {
		t.Errorf("got %v, %v", info, err)
	}
	if err := errors.Join(os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")), os.Symlink(other, filepath.Join(dir, "a"))); err != nil {
		t.Fatal(err)
	}
	if info, err := entries[0].Info(); err == nil {
		t.Errorf("it told of %v", info)
	}
	if _, err := fsys.ReadDir("a"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read a directory elsewhere: %v", err)
	}
}
