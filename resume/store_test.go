package resume_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"wanrep/diskio"
	"wanrep/diskio/digest"
	"wanrep/diskio/durable"
	"wanrep/diskio/durable/crashfs"
	"wanrep/resume"
)

func open(t *testing.T, fsys durable.FS) *resume.Store {
	t.Helper()
	now := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	s, err := resume.Open(fsys, resume.Config{
		Format: plain{}, Software: "wanrep v1", Now: func() time.Time { now = now.Add(time.Second); return now },
		Signer: signer,
	})
	must(t, err)
	t.Cleanup(func() { s.Close() })
	return s
}

func begin(t *testing.T, s *resume.Store, disks ...snapshot) *resume.Part {
	t.Helper()
	var specs []resume.DiskSpec
	for _, d := range disks {
		specs = append(specs, d.spec)
	}
	part, err := s.Begin("lyon", "sql01", specs)
	must(t, err)
	t.Cleanup(func() { part.Close() })
	return part
}

// commit commits a point of one disk.
func commit(t *testing.T, s *resume.Store, disk snapshot) resume.Manifest {
	t.Helper()
	part := begin(t, s, disk)
	must(t, sendAll(part.Disks()[0], disk))
	m, err := part.Commit()
	must(t, err)
	return m
}

// readAll returns what a file holds.
func readAll(t *testing.T, fsys durable.FS, name string) string {
	t.Helper()
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	b := make([]byte, info.Size())
	_, err = f.ReadAt(b, 0)
	must(t, err)
	return string(b)
}

func TestOnePartOfAVMAtATime(t *testing.T) {
	s := open(t, crashfs.New())
	disk := newSnapshot("os", "abc", block)
	part := begin(t, s, disk)
	if _, err := s.Begin("lyon", "sql01", []resume.DiskSpec{disk.spec}); !errors.Is(err, resume.ErrBusy) {
		t.Fatalf("got %v, want %v", err, resume.ErrBusy)
	}
	if _, err := s.Begin("lyon", "other", []resume.DiskSpec{disk.spec}); err != nil {
		t.Fatalf("another VM: %v", err)
	}
	must(t, part.Disks()[0].Write(0, disk.content[:block]))
	must(t, part.Close())
	must(t, part.Close())
	if err := part.Disks()[0].Write(block, disk.content[block:]); !errors.Is(err, resume.ErrClosed) {
		t.Errorf("write to a closed part: %v", err)
	}
	if _, err := part.Disks()[0].Sync(); !errors.Is(err, resume.ErrClosed) {
		t.Errorf("sync of a closed part: %v", err)
	}
	if _, err := part.Commit(); !errors.Is(err, resume.ErrClosed) {
		t.Errorf("commit of a closed part: %v", err)
	}
	again := begin(t, s, disk)
	if again.Generation() != 2 || again.Disks()[0].Durable() != 0 {
		t.Errorf("generation %d at %d, want 2 at 0", again.Generation(), again.Disks()[0].Durable())
	}
}

func TestWriteTakesBlocksInOrder(t *testing.T) {
	disk := newSnapshot("os", "abcd", 512)
	part := begin(t, open(t, crashfs.New()), disk)
	d := part.Disks()[0]
	must(t, d.Write(block, disk.content[block:2*block]))
	tests := []struct {
		name   string
		off, n int64
	}{
		{"below what was written", 0, block},
		{"the same again", block, block},
		{"inside a block", 2*block + 512, block},
		{"part of a block", 2 * block, 512},
		{"behind the end", 3 * block, block},
		{"far behind the end", 1 << 62, block},
		{"negative", -block, block},
		{"nothing", 2 * block, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := d.Write(test.off, make([]byte, test.n)); err == nil {
				t.Fatal("no error")
			}
		})
	}
	for _, off := range []int64{block + 1, 5 * block, 1 << 62} {
		if err := d.SkipTo(off); err == nil {
			t.Errorf("skipped to %d", off)
		}
	}
	if got := d.Unsynced(); got != block {
		t.Errorf("%d bytes are unsynced, want %d", got, int64(block))
	}
	// None of this spoils the disk.
	must(t, d.Write(3*block, disk.content[3*block:]))
	durable, err := d.Sync()
	must(t, err)
	if durable != disk.spec.Size || d.Unsynced() != 0 || part.Written() != block+512 {
		t.Errorf("durable %d, unsynced %d, written %d", durable, d.Unsynced(), part.Written())
	}
}

// TestFinishWithAnotherRoot sends something else than the source's root stands for: by
// promise 3 it never becomes a point.
func TestFinishWithAnotherRoot(t *testing.T) {
	s := open(t, crashfs.New())
	disk := newSnapshot("os", "abc", block)
	part := begin(t, s, disk)
	d := part.Disks()[0]
	must(t, d.Write(0, disk.content))
	_, err := d.Sync()
	must(t, err)
	if err := d.Finish(digest.Sum{1}); !errors.Is(err, resume.ErrDigest) {
		t.Fatalf("got %v, want %v", err, resume.ErrDigest)
	}
	if _, done := d.Root(); done || d.Durable() != 0 {
		t.Errorf("complete %v, durable %d", done, d.Durable())
	}
	if _, err := part.Commit(); err == nil {
		t.Error("committed")
	}
	part = begin(t, s, disk)
	must(t, part.Disks()[0].Write(0, disk.content))
	must(t, part.Disks()[0].Finish(disk.root))
	must(t, part.Disks()[0].Finish(disk.root))
	if durable, err := part.Disks()[0].Sync(); err != nil || durable != disk.spec.Size {
		t.Errorf("sync of a complete disk: %d, %v", durable, err)
	}
	_, err = part.Commit()
	must(t, err)
}

// TestCommitThatStaysOpen: while the disk fails, nobody can say whether the point is
// committed. Once it works again, it is.
func TestCommitThatStaysOpen(t *testing.T) {
	fsys := crashfs.New()
	s := open(t, fsys)
	disk := newSnapshot("os", "abc", block)
	part := begin(t, s, disk)
	must(t, part.Disks()[0].Write(0, disk.content))
	must(t, part.Disks()[0].Finish(disk.root))
	// 12 operations on, the manifest is there and its directory is not synced.
	fsys.Inject(crashfs.Fault{At: fsys.Ops() + 13, Sticky: true})
	if _, err := part.Commit(); !errors.Is(err, crashfs.ErrIO) {
		t.Fatalf("commit: got %v, want %v", err, crashfs.ErrIO)
	}
	if _, err := s.Position("lyon", "sql01"); !errors.Is(err, crashfs.ErrIO) {
		t.Errorf("position: got %v, want %v", err, crashfs.ErrIO)
	}
	if _, err := s.Begin("lyon", "sql01", []resume.DiskSpec{disk.spec}); !errors.Is(err, crashfs.ErrIO) {
		t.Errorf("begin: got %v, want %v", err, crashfs.ErrIO)
	}
	fsys.Inject(crashfs.Fault{})
	part = begin(t, s, disk)
	if part.Point() != "0000000000000002" {
		t.Errorf("the next point is %s", part.Point())
	}
	if p, err := s.Point("lyon", "sql01", "0000000000000001"); err != nil || p.State != resume.StateCommitted {
		t.Errorf("the point is %+v: %v", p, err)
	}
}

func TestReserveOfSpace(t *testing.T) {
	fsys := crashfs.New()
	s := open(t, fsys)
	disk := newSnapshot("os", strings.Repeat("x", 200), block)
	fsys.SetSpace(63 << 20)
	if _, err := s.Begin("lyon", "sql01", []resume.DiskSpec{disk.spec}); !errors.Is(err, durable.ErrFull) {
		t.Fatalf("begin: got %v, want %v", err, durable.ErrFull)
	}
	fsys.SetSpace(70 << 20)
	part := begin(t, s, disk)
	d := part.Disks()[0]
	off, err := int64(0), error(nil)
	for ; err == nil; off += block {
		err = d.Write(off, disk.content[off:off+block])
	}
	off -= block
	if !errors.Is(err, durable.ErrFull) {
		t.Fatalf("write: got %v, want %v", err, durable.ErrFull)
	}
	if free, _ := fsys.Free(); free < 60<<20 {
		t.Errorf("only %d bytes of the reserve are left", free)
	}
	// Nothing is lost: what was written can be synced, and more later.
	if durable, err := d.Sync(); err != nil || durable != off {
		t.Fatalf("synced up to %d of %d: %v", durable, off, err)
	}
	fsys.SetSpace(1 << 30)
	must(t, d.Write(off, disk.content[off:]))
	must(t, d.Finish(disk.root))
	_, err = part.Commit()
	must(t, err)
}

// TestDamagedPartStartsAgain: what the journal says is there and is not makes a
// disk start again, and only that disk.
func TestDamagedPartStartsAgain(t *testing.T) {
	os1, data := newSnapshot("os", "abc", block), newSnapshot("data", "xyz", block)
	dir := "lyon/sql01/parts/0000000000000001/"
	tests := []struct {
		name   string
		damage func(*crashfs.FS) error
	}{
		{"data file gone", func(f *crashfs.FS) error { return f.Remove(dir + "os.img") }},
		{"data file not of the format", func(f *crashfs.FS) error { return flip(f, dir+"os.img", 3, 8) }},
		{"digests gone", func(f *crashfs.FS) error { return f.Remove(dir + "os.digests") }},
		{"digests short", func(f *crashfs.FS) error {
			h, err := f.OpenFile(dir+"os.digests", os.O_RDWR, 0)
			if err != nil {
				return err
			}
			return errors.Join(h.Truncate(64+40), h.Close())
		}},
		{"head of the digests", func(f *crashfs.FS) error { return flip(f, dir+"os.digests", 20, 1) }},
		{"a digest", func(f *crashfs.FS) error { return flip(f, dir+"os.digests", 64+39, 0x80) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fsys := crashfs.New()
			s := open(t, fsys)
			part := begin(t, s, os1, data)
			for i, disk := range []snapshot{os1, data} {
				must(t, part.Disks()[i].Write(0, disk.content[:2*block]))
				_, err := part.Disks()[i].Sync()
				must(t, err)
			}
			fsys = fsys.Crash(0)
			must(t, test.damage(fsys))
			part = begin(t, open(t, fsys), os1, data)
			if got := part.Disks()[0].Durable(); got != 0 {
				t.Errorf("the damaged disk goes on at %d", got)
			}
			if got := part.Disks()[1].Durable(); got != 2*block {
				t.Errorf("the other disk goes on at %d, want %d", got, 2*block)
			}
			must(t, part.Disks()[0].Write(0, os1.content))
			must(t, part.Disks()[0].Finish(os1.root))
		})
	}
}

func TestOtherDisksStartAgain(t *testing.T) {
	old := newSnapshot("os", "abc", block)
	tests := []struct {
		name   string
		change func(*resume.DiskSpec)
	}{
		{"smaller", func(s *resume.DiskSpec) { s.Size -= block }},
		{"ID", func(s *resume.DiskSpec) { s.ID[3]++ }},
		{"sector size", func(s *resume.DiskSpec) { s.LogicalSectorSize = 4096 }},
		{"name in another case", func(s *resume.DiskSpec) { s.Name = "OS" }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fsys := crashfs.New()
			s := open(t, fsys)
			part := begin(t, s, old)
			must(t, part.Disks()[0].Write(0, old.content[:2*block]))
			_, err := part.Disks()[0].Sync()
			must(t, err)
			must(t, part.Close())

			changed := newSnapshot("os", "abcd", block)
			changed.spec = old.spec
			test.change(&changed.spec)
			part = begin(t, s, changed)
			if got := part.Disks()[0].Durable(); got != 0 || part.Point() != "0000000000000001" {
				t.Errorf("point %s goes on at %d", part.Point(), got)
			}
			names, err := fsys.ReadDir("lyon/sql01/parts/0000000000000001")
			must(t, err)
			if len(names) != 3 {
				t.Errorf("the part has %v", names)
			}
		})
	}
}

func TestDirectoriesThatAreNoStore(t *testing.T) {
	tests := []struct {
		name string
		make func(*crashfs.FS) error
		want string
	}{
		{"something else is there", func(f *crashfs.FS) error { return f.Mkdir("photos", 0o755) }, `but "photos"`},
		{"a later version", func(f *crashfs.FS) error {
			return durable.WriteFile(f, "store.json", []byte(`{"schema":"wanrep.store/2"}`), 0o644)
		}, `schema "wanrep.store/2"`},
		{"no JSON", func(f *crashfs.FS) error {
			return durable.WriteFile(f, "store.json", []byte("\x1b[2J"), 0o644)
		}, "store.json is damaged"},
		{"an endless file", func(f *crashfs.FS) error {
			h, err := f.OpenFile("store.json", os.O_RDWR|os.O_CREATE, 0o644)
			if err != nil {
				return err
			}
			return errors.Join(h.Truncate(1<<40), h.Close())
		}, "more than"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fsys := crashfs.New()
			must(t, test.make(fsys))
			_, err := resume.Open(fsys, resume.Config{Format: plain{}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
			if _, err := fsys.Lock("lock"); err != nil {
				t.Errorf("the lock was kept: %v", err)
			}
		})
	}
	fsys := crashfs.New()
	for _, name := range []string{"lost+found", ".snapshot", "System Volume Information"} {
		must(t, fsys.Mkdir(name, 0o700))
	}
	open(t, fsys)
}

// TestWhatIsNotAStore: a directory that is no store says what it is, to who reads and
// to who would make one.
func TestWhatIsNotAStore(t *testing.T) {
	tests := []struct {
		name  string
		make  func(*testing.T, *crashfs.FS)
		want  string
		makes bool // a store can be made there
	}{
		{"empty", func(*testing.T, *crashfs.FS) {}, "it is empty", true},
		{"a file system's root", func(t *testing.T, f *crashfs.FS) { must(t, f.Mkdir("lost+found", 0o700)) }, "it is empty", true},
		{"somebody's files", func(t *testing.T, f *crashfs.FS) { must(t, f.Mkdir("Music", 0o700)) }, `it has no store.json but "Music"`, false},
		{
			"without its name", func(t *testing.T, f *crashfs.FS) {
				s := open(t, f)
				commit(t, s, newSnapshot("os", "ab", 512))
				must(t, errors.Join(s.Close(), f.Remove("store.json")))
			},
			"it has 1 restore points and no store.json", false,
		},
		{
			"with another's name", func(t *testing.T, f *crashfs.FS) {
				must(t, open(t, f).Close())
				rewrite(t, f, "store.json", func(s string) string { return strings.Replace(s, `"id": "`, `"id": "x`, 1) })
			},
			"is no store's ID", false,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			fsys := crashfs.New()
			test.make(t, fsys)
			_, err := resume.OpenReadOnly(fsys, resume.Config{Format: plain{}})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("read: got %v, want %q", err, test.want)
			}
			s, err := resume.Open(fsys, resume.Config{Format: plain{}})
			if test.makes {
				must(t, errors.Join(err, s.Close()))
			} else if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("open: got %v, want %q", err, test.want)
			}
		})
	}
}

func TestStoreIsLocked(t *testing.T) {
	fsys := crashfs.New()
	s := open(t, fsys)
	var locked *durable.LockedError
	if _, err := resume.Open(fsys, resume.Config{Format: plain{}}); !errors.As(err, &locked) {
		t.Fatalf("got %v, want a LockedError", err)
	}
	must(t, s.Close())
	again := open(t, fsys)
	if again.ID() != s.ID() || len(s.ID()) != 32 {
		t.Errorf("the store's ID was %q and is %q", s.ID(), again.ID())
	}
}

func TestReadOnlyBesideARunningTarget(t *testing.T) {
	fsys := crashfs.New()
	s := open(t, fsys)
	disk := newSnapshot("os", "ab..c", 512)
	part := begin(t, s, disk)
	must(t, part.Disks()[0].Write(0, disk.content[:2*block]))
	_, err := part.Disks()[0].Sync()
	must(t, err)

	changes := 0
	fsys.Trace(func(op crashfs.Op) {
		if op.Changes {
			changes++
		}
	})
	ro, err := resume.OpenReadOnly(fsys, resume.Config{Format: plain{}})
	must(t, err)
	live, err := s.List()
	must(t, err)
	list, err := ro.List()
	must(t, err)
	if len(list) != 1 || list[0].State != resume.StatePart || list[0].Disks[0] != live[0].Disks[0] || list[0].Disks[0].Durable != 2*block {
		t.Errorf("got %+v, want %+v", list, live)
	}
	if _, err := ro.Begin("lyon", "x", []resume.DiskSpec{disk.spec}); !errors.Is(err, resume.ErrReadOnly) {
		t.Errorf("begin: %v", err)
	}
	if pos, err := ro.Position("lyon", "sql01"); err != nil || pos.Disks[0].Durable != 2*block {
		t.Errorf("position %+v: %v", pos, err)
	}
	must(t, ro.Close())
	if changes > 0 {
		t.Errorf("reading made %d changes", changes)
	}
	fsys.Trace(nil)
	must(t, part.Disks()[0].Write(2*block, disk.content[2*block:]))
	must(t, part.Disks()[0].Finish(disk.root))
	_, err = part.Commit()
	must(t, err)
	if list, err = ro.List(); err != nil || len(list) != 1 || list[0].State != resume.StateCommitted {
		t.Errorf("got %+v, %v", list, err)
	}
	if p, err := ro.Point("lyon", "sql01", part.Point()); err != nil || p.Disks[0].Root != disk.root.String() {
		t.Errorf("got %+v, %v", p, err)
	}
}

func TestListInJSON(t *testing.T) {
	s := open(t, crashfs.New())
	disk := newSnapshot("os", "ab", 512)
	part := begin(t, s, disk)
	must(t, part.Disks()[0].Write(0, disk.content))
	must(t, part.Disks()[0].Finish(disk.root))
	_, err := part.Commit()
	must(t, err)
	part = begin(t, s, disk)
	must(t, part.Disks()[0].Write(0, disk.content[:block]))
	_, err = part.Disks()[0].Sync()
	must(t, err)
	list, err := s.List()
	must(t, err)
	b, err := json.MarshalIndent(list, "", "  ")
	must(t, err)
	golden(t, "points.golden", string(b)+"\n")
	var back []resume.Point
	must(t, json.Unmarshal(b, &back))
	if !slices.EqualFunc(list, back, func(a, b resume.Point) bool {
		return a.Point == b.Point && a.Base == b.Base && a.State == b.State && a.Time.Equal(b.Time) && slices.Equal(a.Disks, b.Disks)
	}) {
		t.Errorf("read back %+v, want %+v", back, list)
	}
}

func TestManifestInJSON(t *testing.T) {
	fsys := crashfs.New()
	s := open(t, fsys)
	disk := newSnapshot("os", "ab", 512)
	disk.spec.ID = diskio.ID{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 1, 2, 3, 4, 5, 6, 7}
	commit(t, s, disk)
	m := commit(t, s, disk)
	golden(t, "manifest.golden", readAll(t, fsys, path.Join("lyon/sql01/points", m.Point, "manifest.json")))
	got, err := s.Manifest(resume.Point{Source: "lyon", VM: "sql01", Point: m.Point})
	must(t, err)
	if !reflect.DeepEqual(got, m) || diskio.ID(got.Disks[0].ID) != disk.spec.ID {
		t.Errorf("read back %+v, want %+v", got, m)
	}
}

// TestCommittedFilesAreReadOnly: nothing opens them for writing again.
func TestCommittedFilesAreReadOnly(t *testing.T) {
	fsys, dir := committed(t, newSnapshot("os", "ab", 512))
	for _, fsys := range []*crashfs.FS{fsys, fsys.Crash(0)} {
		entries, err := fsys.ReadDir(dir)
		must(t, err)
		var names []string
		for _, e := range entries {
			info, err := e.Info()
			must(t, err)
			names = append(names, e.Name())
			if info.Mode() != 0o444 {
				t.Errorf("%s has mode %v", e.Name(), info.Mode())
			}
			if _, err := fsys.OpenFile(path.Join(dir, e.Name()), os.O_RDWR, 0); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("%s can be opened for writing: %v", e.Name(), err)
			}
		}
		if want := []string{"manifest.json", "os.digests", "os.img"}; !slices.Equal(names, want) {
			t.Errorf("the point has %v, want %v", names, want)
		}
	}
}

// TestHugeSparseDisk: a disk of 64 TiB costs what it holds.
func TestHugeSparseDisk(t *testing.T) {
	fsys := crashfs.New()
	s := open(t, fsys)
	disk := newSnapshot("os", "a", block)
	spec := disk.spec
	spec.Size = diskio.MaxVirtualSize
	part, err := s.Begin("lyon", "huge", []resume.DiskSpec{spec})
	must(t, err)
	d := part.Disks()[0]
	tree := digest.NewTree(0)
	for _, off := range []int64{0, 1 << 40, 40 << 40, spec.Size - block} {
		must(t, d.Write(off, disk.content))
		tree.SkipTo(off / block)
		tree.Add(digest.Block(disk.content))
		if durable, err := d.Sync(); err != nil || durable != off+block {
			t.Fatalf("durable up to %d: %v", durable, err)
		}
		fsys = fsys.Crash(0)
		part, err = open(t, fsys).Begin("lyon", "huge", []resume.DiskSpec{spec})
		must(t, err)
		if d = part.Disks()[0]; d.Durable() != off+block {
			t.Fatalf("goes on at %d, want %d", d.Durable(), off+block)
		}
	}
	root, err := tree.Root(spec.Size)
	must(t, err)
	must(t, d.Finish(root))
	if info, err := fsys.Stat("lyon/huge/parts/0000000000000001/os.digests"); err != nil || info.Size() != 64+4*40 {
		t.Errorf("digests file: %v, %v", info.Size(), err)
	}
}
