package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func openDir(t *testing.T) (FS, string) {
	t.Helper()
	dir := t.TempDir()
	fsys, err := OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fsys.Close() })
	return fsys, dir
}

func TestWriteFile(t *testing.T) {
	fsys, dir := openDir(t)
	if err := fsys.Mkdir("a", 0o755); err != nil {
		t.Fatal(err)
	}
	// What a crash left: longer than the new content, and not writable.
	if err := os.WriteFile(filepath.Join(dir, "a/m.part"), make([]byte, 100), 0o444); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"first", "2nd"} {
		if err := WriteFile(fsys, "a/m", []byte(want), 0o444); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join(dir, "a/m"))
		if err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	entries, err := fsys.ReadDir("a")
	if err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
	if err := WriteFile(fsys, "gone/m", nil, 0o444); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
}

func TestOperations(t *testing.T) {
	fsys, dir := openDir(t)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(fsys.Mkdir("d", 0o755))
	if err := fsys.Mkdir("d", 0o755); !errors.Is(err, fs.ErrExist) {
		t.Errorf("mkdir again: %v", err)
	}
	f, err := fsys.OpenFile("d/x", os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	check(err)
	_, err = f.WriteAt([]byte("content"), 1<<20)
	check(err)
	check(f.Truncate(1<<20 + 3))
	check(f.Sync())
	b := make([]byte, 10)
	if n, err := f.ReadAt(b, 1<<20); n != 3 || err != io.EOF || string(b[:3]) != "con" {
		t.Errorf("read %q: %v", b[:n], err)
	}
	check(f.Close())
	check(fsys.SyncDir("d"))
	check(fsys.SyncDir("."))
	check(fsys.Chmod("d/x", 0o444))
	check(fsys.Rename("d", "e"))
	info, err := fsys.Stat("e/x")
	check(err)
	if info.Size() != 1<<20+3 || info.Mode()&0o222 != 0 {
		t.Errorf("%v with %d bytes", info.Mode(), info.Size())
	}
	free, err := fsys.Free()
	if err != nil || free <= 0 {
		t.Errorf("%d bytes free: %v", free, err)
	}
	check(fsys.RemoveAll("e"))
	if _, err := os.Stat(filepath.Join(dir, "e")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left e: %v", err)
	}
	if err := fsys.Remove("e"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove: %v", err)
	}
}

// TestNothingLeavesTheDirectory: whatever name came through, promise 7 holds here too.
func TestNothingLeavesTheDirectory(t *testing.T) {
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o644); err != nil {
		t.Fatal(err)
	}
	fsys, dir := openDir(t)
	names := []string{"../" + filepath.Base(outside) + "/secret", filepath.ToSlash(filepath.Join(outside, "secret"))}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err == nil {
		names = append(names, "link/secret")
	}
	for _, name := range names {
		if f, err := fsys.OpenFile(name, os.O_RDONLY, 0); err == nil {
			f.Close()
			t.Errorf("opened %s", name)
		}
		if err := fsys.Remove(name); err == nil {
			t.Errorf("removed %s", name)
		}
		if err := fsys.Rename(name, "mine"); err == nil {
			t.Errorf("renamed %s", name)
		}
		if err := WriteFile(fsys, name, nil, 0o644); err == nil {
			t.Errorf("wrote %s", name)
		}
	}
	if _, err := os.Stat(filepath.Join(outside, "secret")); err != nil {
		t.Error(err)
	}
}

func TestFullDiskIsToldApart(t *testing.T) {
	for _, errno := range fullErrnos {
		err := full(&os.PathError{Op: "write", Path: "x", Err: errno})
		if !errors.Is(err, ErrFull) || !errors.Is(err, errno) || !errors.As(err, new(*os.PathError)) {
			t.Errorf("%v is not told apart", err)
		}
	}
	for _, err := range []error{nil, io.EOF, &os.PathError{Op: "write", Path: "x", Err: fs.ErrPermission}} {
		if got := full(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

const lockEnv = "WANREP_TEST_LOCK"

// TestLockHelper is the other process of TestLock.
func TestLockHelper(t *testing.T) {
	dir := os.Getenv(lockEnv)
	if dir == "" {
		return // not asked for by TestLock
	}
	fsys, err := OS(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fsys.Lock("lock"); err != nil {
		t.Fatal(err)
	}
	fmt.Println("locked")
	io.Copy(io.Discard, os.Stdin) // until it is killed
}

func TestLock(t *testing.T) {
	fsys, dir := openDir(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockHelper$")
	cmd.Env = append(os.Environ(), lockEnv+"="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, len("locked"))
	if _, err := io.ReadFull(out, line); err != nil || string(line) != "locked" {
		t.Fatalf("%q: %v", line, err)
	}

	var locked *LockedError
	if _, err := fsys.Lock("lock"); !errors.As(err, &locked) {
		t.Fatalf("got %v, want a LockedError", err)
	}
	host, _ := os.Hostname()
	want := fmt.Sprintf("wanrep, pid %d on host %s, since 2", cmd.Process.Pid, host)
	if !strings.HasPrefix(locked.Owner, want) || locked.Name != filepath.Join(dir, "lock") {
		t.Errorf("got %+v, want the owner %q", locked, want)
	}

	// The kernel frees the lock of a process that is killed.
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	lock, err := fsys.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	// Two stores of one process exclude each other as well.
	if _, err := fsys.Lock("lock"); !errors.As(err, &locked) || !strings.Contains(locked.Owner, fmt.Sprintf("pid %d ", os.Getpid())) {
		t.Errorf("got %v, want that this process has it", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if lock, err = fsys.Lock("lock"); err != nil {
		t.Fatal(err)
	}
	lock.Close()
}
