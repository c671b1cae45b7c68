package crashfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"wanrep/diskio/durable"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, f *FS, name, content string) durable.File {
	t.Helper()
	h, err := f.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	must(t, err)
	_, err = h.WriteAt([]byte(content), 0)
	must(t, err)
	return h
}

// tree describes all files and directories.
func tree(t testing.TB, f *FS, dir string) []string {
	entries, err := f.ReadDir(dir)
	must(t, err)
	var list []string
	for _, e := range entries {
		name := strings.TrimPrefix(dir+"/"+e.Name(), "./")
		if e.IsDir() {
			list = append(list, name+"/")
			list = append(list, tree(t, f, name)...)
			continue
		}
		h, err := f.OpenFile(name, os.O_RDONLY, 0)
		must(t, err)
		b, err := io.ReadAll(io.NewSectionReader(h, 0, 1<<20))
		must(t, errors.Join(err, h.Close()))
		list = append(list, name+"="+string(b))
	}
	return list
}

// TestWhatACrashMayLeave lists every state that a crash leaves after some steps.
func TestWhatACrashMayLeave(t *testing.T) {
	tests := []struct {
		name  string
		steps func(f *FS)
		want  []string
	}{
		{
			name:  "a file that is not synced",
			steps: func(f *FS) { create(t, f, "a", "x") },
			want:  []string{"", "a=", "a=x", "a=\x00"},
		},
		{
			name:  "a synced file in a directory that is not",
			steps: func(f *FS) { must(t, create(t, f, "a", "x").Sync()) },
			want:  []string{"", "a=x"},
		},
		{
			name:  "a synced directory with a file that is not",
			steps: func(f *FS) { create(t, f, "a", "x"); must(t, f.SyncDir(".")) },
			want:  []string{"a=", "a=x", "a=\x00"},
		},
		{
			name: "a synced file in a synced directory",
			steps: func(f *FS) {
				must(t, create(t, f, "a", "x").Sync())
				must(t, f.SyncDir("."))
			},
			want: []string{"a=x"},
		},
		{
			name: "renamed over another",
			steps: func(f *FS) {
				for _, name := range []string{"a", "b"} {
					h := create(t, f, name, name)
					must(t, errors.Join(h.Sync(), h.Close()))
				}
				must(t, f.SyncDir("."))
				must(t, f.Rename("a", "b"))
			},
			want: []string{"a=a b=b", "b=a"},
		},
		{
			name: "two names, independent",
			steps: func(f *FS) {
				must(t, f.Mkdir("a", 0o755))
				must(t, f.Mkdir("b", 0o755))
			},
			want: []string{"", "a/", "b/", "a/ b/"},
		},
		{
			name: "made and renamed keep their order",
			steps: func(f *FS) {
				must(t, f.Mkdir("a", 0o755))
				must(t, f.Rename("a", "b"))
			},
			want: []string{"", "a/", "b/"},
		},
		{
			name: "moved between directories, one of them synced",
			steps: func(f *FS) {
				must(t, f.Mkdir("a", 0o755))
				must(t, f.Mkdir("b", 0o755))
				must(t, f.Mkdir("a/x", 0o755))
				must(t, f.SyncDir("."))
				must(t, f.SyncDir("a"))
				must(t, f.Rename("a/x", "b/x"))
				must(t, f.SyncDir("a"))
			},
			want: []string{"a/ a/x/ b/", "a/ b/ b/x/"},
		},
		{
			name: "a failed sync, and one that then succeeds",
			steps: func(f *FS) {
				h := create(t, f, "a", "x")
				must(t, f.SyncDir("."))
				f.Inject(Fault{At: f.Ops() + 1})
				if err := h.Sync(); !errors.Is(err, ErrIO) {
					t.Fatalf("got %v", err)
				}
				must(t, h.Sync())
			},
			want: []string{"a=x", "a=\x00"},
		},
		{
			name: "cut off and not synced",
			steps: func(f *FS) {
				h := create(t, f, "a", "xyz")
				must(t, errors.Join(h.Sync(), f.SyncDir("."), h.Truncate(1)))
			},
			want: []string{"a=x", "a=xyz"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := map[string]bool{}
			for run := range 40 { // a failed sync depends on when it is
				f := New()
				for range run % 5 {
					_, err := f.Free()
					must(t, err)
				}
				test.steps(f)
				for seed := range uint64(60) {
					got[strings.Join(tree(t, f.Crash(seed), "."), " ")] = true
				}
			}
			for state := range got {
				if !slices.Contains(test.want, state) {
					t.Errorf("left %q", state)
				}
			}
			for _, state := range test.want {
				if !got[state] {
					t.Errorf("never left %q", state)
				}
			}
		})
	}
}

func TestSectorsAreTornOneByOne(t *testing.T) {
	f := New()
	h := create(t, f, "a", strings.Repeat("o", 4096))
	must(t, errors.Join(h.Sync(), f.SyncDir(".")))
	_, err := h.WriteAt([]byte(strings.Repeat("n", 4096)), 0)
	must(t, err)
	mixed, ragged := 0, 0
	for seed := range uint64(200) {
		left, err := f.Crash(seed).OpenFile("a", os.O_RDONLY, 0)
		must(t, err)
		b := make([]byte, 4096)
		_, err = left.ReadAt(b, 0)
		must(t, err)
		if s := string(b); strings.Contains(s, "on") || strings.Contains(s, "no") {
			mixed++
		}
		for s := range slices.Chunk(b, 512) {
			if strings.Contains(string(s), "no") {
				ragged++
			} else if strings.Contains(string(s), "on") {
				t.Fatalf("seed %d: a sector has its end and not its beginning", seed)
			}
		}
	}
	if mixed < 20 || ragged < 20 || ragged > 400 {
		t.Errorf("%d mixed files, %d ragged sectors", mixed, ragged)
	}
}

func TestCrashLeavesTheOriginalAlone(t *testing.T) {
	f := New()
	h := create(t, f, "a", "xyz")
	must(t, errors.Join(h.Sync(), f.SyncDir(".")))
	left := f.Crash(0)
	g, err := left.OpenFile("a", os.O_RDWR, 0)
	must(t, err)
	for _, c := range []struct {
		h durable.File
		s string
	}{{h, "1"}, {g, "2"}} {
		_, err := c.h.WriteAt([]byte(c.s), 1)
		must(t, err)
		must(t, c.h.Truncate(2))
		must(t, c.h.Sync())
	}
	again := left.Crash(0)
	for want, f := range map[string]*FS{"a=x1": f, "a=x2": left} {
		if got := tree(t, f, "."); got[0] != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := tree(t, again, "."); got[0] != "a=x2" {
		t.Errorf("the second crash left %q", got)
	}
}

func TestHugeSparseFile(t *testing.T) {
	f := New()
	h := create(t, f, "a", "")
	must(t, h.Truncate(64<<40))
	_, err := h.WriteAt([]byte("end"), 64<<40-3)
	must(t, err)
	must(t, errors.Join(h.Sync(), f.SyncDir(".")))
	left, err := f.Crash(0).OpenFile("a", os.O_RDONLY, 0)
	must(t, err)
	b := make([]byte, 10)
	if n, err := left.ReadAt(b, 64<<40-6); n != 6 || err != io.EOF || string(b[:6]) != "\x00\x00\x00end" {
		t.Errorf("read %q: %v", b[:n], err)
	}
}

func TestFaults(t *testing.T) {
	f := New()
	h := create(t, f, "a", "")
	write := func(fault Fault) (int, error) {
		fault.At = f.Ops() + 1
		f.Inject(fault)
		return h.WriteAt([]byte("abcd"), 0)
	}
	if n, err := write(Fault{}); n != 0 || !errors.Is(err, ErrIO) {
		t.Errorf("fail: %d, %v", n, err)
	}
	if n, err := write(Fault{Kind: Short, Err: ErrFull}); n != 2 || !errors.Is(err, durable.ErrFull) {
		t.Errorf("short: %d, %v", n, err)
	}
	if n, err := write(Fault{Kind: Late}); n != 4 || !errors.Is(err, ErrIO) {
		t.Errorf("late: %d, %v", n, err)
	}
	_, err := write(Fault{Sticky: true})
	if _, err2 := h.WriteAt([]byte("x"), 0); !errors.Is(err, ErrIO) || !errors.Is(err2, ErrIO) {
		t.Errorf("sticky: %v, %v", err, err2)
	}
	if _, err := h.ReadAt(make([]byte, 1), 0); err != nil {
		t.Errorf("sticky read: %v", err)
	}
	if _, err := write(Fault{Kind: Crash}); !errors.Is(err, ErrCrashed) || !f.Crashed() {
		t.Errorf("crash: %v", err)
	}
	if _, err := f.Stat("a"); !errors.Is(err, ErrCrashed) {
		t.Errorf("after the crash: %v", err)
	}
}

func TestKill(t *testing.T) {
	f := New()
	h := create(t, f, "a", "x")
	_, err := f.Lock("lock")
	must(t, err)
	var locked *durable.LockedError
	if _, err := f.Lock("lock"); !errors.As(err, &locked) {
		t.Fatalf("got %v, want a LockedError", err)
	}
	f.Kill()
	if _, err := h.WriteAt([]byte("y"), 0); !errors.Is(err, ErrKilled) {
		t.Errorf("write by a dead process: %v", err)
	}
	if _, err := f.Lock("lock"); err != nil {
		t.Errorf("the lock of a dead process: %v", err)
	}
	if got := tree(t, f, "."); got[0] != "a=x" {
		t.Errorf("left %q", got)
	}
	if got := tree(t, f.Crash(0), "."); len(got) != 0 {
		t.Errorf("a kill made %q durable", got)
	}
}

func TestStricterThanAnySystem(t *testing.T) {
	f := New()
	must(t, f.Mkdir("d", 0o755))
	h := create(t, f, "d/a", "x")
	if err := f.Rename("d", "e"); !errors.Is(err, errOpen) {
		t.Errorf("renamed above an open file: %v", err)
	}
	if err := f.Remove("d/a"); !errors.Is(err, errOpen) {
		t.Errorf("removed an open file: %v", err)
	}
	must(t, h.Close())
	must(t, f.Chmod("d/a", 0o444))
	if _, err := f.OpenFile("d/a", os.O_RDWR, 0); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("opened a read-only file for writing: %v", err)
	}
	must(t, f.Rename("d", "e"))
	for _, name := range []string{"../x", "/x", "a//b", ""} {
		if _, err := f.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestContentIsThatOfAFile compares a file with a plain slice, over random steps.
func TestContentIsThatOfAFile(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 0))
		f := New()
		h, err := f.OpenFile("a", os.O_RDWR|os.O_CREATE, 0o644)
		must(t, errors.Join(err, f.SyncDir(".")))
		var model, synced []byte
		check := func(h durable.File, want []byte) {
			t.Helper()
			got, err := io.ReadAll(io.NewSectionReader(h, 0, 1<<20))
			if err != nil || string(got) != string(want) {
				t.Fatalf("seed %d: got %d bytes, want %d: %v", seed, len(got), len(want), err)
			}
		}
		for range 40 {
			switch rng.IntN(4) {
			case 0, 1:
				off := rng.IntN(20000)
				p := []byte(strings.Repeat(fmt.Sprint(off), 1+rng.IntN(1500)))
				_, err := h.WriteAt(p, int64(off))
				must(t, err)
				model = append(slices.Clone(model), make([]byte, max(0, off+len(p)-len(model)))...)
				copy(model[off:], p)
			case 2:
				n := rng.IntN(30000)
				must(t, h.Truncate(int64(n)))
				model = append(slices.Clone(model), make([]byte, max(0, n-len(model)))...)[:n]
			case 3:
				must(t, h.Sync())
				synced = model
			}
			check(h, model)
			left, err := f.Crash(0).OpenFile("a", os.O_RDONLY, 0)
			must(t, err)
			check(left, synced)
		}
	}
}
